"""Augmentation of training networks: which random changes they undergo at every step."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.settings import AugmentConfig
from dws.targets import build
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.weightspace.transforms import (
    ImageMove,
    add_noise,
    drop_smallest,
    flip_signs,
    mask_entries,
    permute_neurons,
    shift_phases,
)

MOVES = ("square_symmetries", "max_angle", "max_shift", "max_scale")  # settings


@runtime_checkable
class Augmentation(Protocol):
    """An augmentation of the user's, to be named in ``augment.extra``.

    It gets networks as they are in the zoo, before they are standardised, and does not change them
    in place: a task may ask for two views of one batch.
    """

    def __call__(self, batch: WeightBatch, generator: torch.Generator) -> WeightBatch:
        """Change every network of a batch in its own way.

        Args:
            batch: B networks.
            generator: Source of all draws, on the batch's device.

        Returns:
            As many networks of the same widths, in the same order.
        """


class Augmentations:
    """The built-in augmentations, then those of the user.

    Args:
        config: Strengths of the built-in ones, and what ``extra`` ones to construct.

    Raises:
        UserError: If an extra one cannot be constructed, or is not callable.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self.config = config
        self.extra: list[Augmentation] = [
            build(each, what="an augmentation", methods=["__call__"]) for each in config.extra
        ]
        for each, settings in zip(self.extra, config.extra, strict=True):
            if not callable(each):
                raise UserError(
                    f"augment.extra: {settings['_target_']} has no __call__(batch, generator). "
                    "Define it."
                )

    def check_fits(self, spec: WeightSpaceSpec, num_views: int, omega_0: float | None) -> None:
        """Make sure that this makes sense for some networks and a task.

        Args:
            spec: Architecture of the networks.
            num_views: See ``Task``.
            omega_0: ω0 of the networks; None if they are ReLU networks.

        Raises:
            UserError: If images are to move and the networks do not have two inputs, signs are to
                be flipped, phases shifted or images moved and they are ReLU networks, phases are
                to be shifted and their ω0 is another, two views would be the same, or an extra
                augmentation does not return networks of the same shape.
        """
        config = self.config
        moves = {k: v for k, v in asdict(config).items() if k in MOVES and v}
        of_sines = {**moves, "flip_signs": config.flip_signs, "shift_phases": config.shift_phases}
        needs_sines = [name for name, value in of_sines.items() if value]
        if omega_0 is None and needs_sines:
            raise UserError(
                f"expected sine networks for augment.{needs_sines[0]}, got ReLU networks; use "
                "augment=none or augment=permute"
            )
        if moves and spec.dims[0] != 2:
            raise UserError(
                f"expected networks with two inputs for augment.{next(iter(moves))}, got "
                f"{spec.dims[0]}; use augment=none"
            )
        if config.shift_phases and config.omega_0 != omega_0:
            raise UserError(
                f"expected augment.omega_0={omega_0}, that of the zoo, got {config.omega_0}"
            )
        if num_views > 1 and config.until < 1:
            raise UserError(
                "expected augment.until=1 for a task that compares two views of a network, got "
                f"{config.until}"
            )
        if num_views > 1 and replace(config, omega_0=AugmentConfig.omega_0) == AugmentConfig():
            raise UserError(
                "expected augmentations for a task that compares two views of a network, got none; "
                "use augment=contrastive"
            )
        for each in self.extra:
            _check_shape(each, spec)

    def are_active(self, progress: float) -> bool:
        """Whether networks are augmented after this fraction of the training's steps."""
        return progress < self.config.until

    def apply(
        self,
        batch: WeightBatch,
        generator: torch.Generator,
        *,
        layer_std: Float[Tensor, " two_m"],
    ) -> tuple[WeightBatch, ImageMove | None]:
        """Change every network of a batch in its own way.

        Args:
            batch: B networks.
            generator: Source of all draws, on the batch's device.
            layer_std: Standard deviations of weight.0, bias.0, weight.1, ... in the training split.

        Returns:
            The changed networks, and how their images were moved, if they were.
        """
        config, move = self.config, None
        moves = {name: getattr(config, name) for name in MOVES}
        if any(moves.values()):
            move = ImageMove.random(batch, generator, **moves)
            batch = move.apply(batch)
        if config.noise:
            batch = add_noise(batch, generator, std=config.noise * layer_std)
        if config.quantile_dropout:
            batch = drop_smallest(batch, generator, max_quantile=config.quantile_dropout)
        if config.mask:
            batch = mask_entries(batch, generator, probability=config.mask)
        if config.flip_signs:
            batch = flip_signs(batch, generator)
        if config.shift_phases:
            batch = shift_phases(
                batch, generator, omega_0=config.omega_0, max_shift=config.shift_phases
            )
        if config.permute:
            batch = permute_neurons(batch, generator)
        for augmentation in self.extra:
            batch = augmentation(batch, generator)
        return batch, move


def _check_shape(augmentation: Augmentation, spec: WeightSpaceSpec) -> None:
    """Let an augmentation of the user's change two networks before it is trained with.

    Raises:
        UserError: If it returns something else than two networks of the same widths and dtype.
    """
    generator = torch.Generator().manual_seed(0)
    batch = WeightBatch.from_flat(spec, torch.randn(2, spec.num_params, 1, generator=generator))
    expected, got = _described(batch), _described(augmentation(batch, generator))
    if got != expected:
        raise UserError(
            f"augment.extra: {type(augmentation).__name__} returned {got} for {expected}. Return "
            "as many networks, of the same widths and dtype."
        )


def _described(batch: object) -> str:
    if not isinstance(batch, WeightBatch):
        return f"a {type(batch).__name__}"
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in batch.tensors()}
    return (
        f"a WeightBatch of {batch.batch_size} networks of widths {batch.spec.dims} with "
        f"{batch.num_channels} channels in {' and '.join(sorted(dtypes))}"
    )
