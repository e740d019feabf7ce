"""Augmentation of training networks by random transformations at every step."""

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
    CoordinateTransform,
    add_noise,
    drop_smallest,
    flip_signs,
    mask_entries,
    permute_neurons,
    shift_phases,
)

COORDINATES = ("square_symmetries", "mirror", "max_angle", "max_shift", "max_scale")  # settings
ROTATIONS = ("square_symmetries", "max_angle")


@runtime_checkable
class Augmentation(Protocol):
    """The protocol of user-defined augmentations, which ``augment.extra`` names.

    The input is networks as stored in the zoo, before standardisation. It must not be changed in
    place, because a task may use two views of one batch.
    """

    def __call__(self, batch: WeightBatch, generator: torch.Generator) -> WeightBatch:
        """Transform every network of a batch independently.

        Args:
            batch: B networks.
            generator: Random generator on the batch's device.

        Returns:
            B networks of the same widths, in the same order.
        """


class Augmentations:
    """The built-in augmentations followed by user-defined ones.

    Args:
        config: Strengths of the built-in augmentations, and the user-defined ones in ``extra``.

    Raises:
        UserError: If a user-defined augmentation cannot be constructed or is not callable.
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
        """Check that the augmentations are applicable to networks and a task.

        Args:
            spec: The architecture of the networks.
            num_views: Number of views of the task, see ``Task``.
            omega_0: ω0 of the networks; None if they are not SIRENs.

        Raises:
            UserError: If images are rotated and the networks do not have two inputs; if an
                augmentation for SIRENs is set and these are other networks; if phases are
                shifted with a different ω0; if the two views of a network would be equal; or if a
                user-defined augmentation does not return networks of the same shape.
        """
        config = self.config
        active = [name for name, value in asdict(config).items() if value]
        for_sines = (*COORDINATES, "flip_signs", "shift_phases")
        needs_sines = [name for name in active if name in for_sines]
        rotations = [name for name in active if name in ROTATIONS]
        if omega_0 is None and needs_sines:
            raise UserError(
                f"augment.{needs_sines[0]} needs SIRENs, but these are other networks. Use "
                "augment=none or augment=permute."
            )
        if rotations and spec.dims[0] != 2:
            raise UserError(
                f"augment.{rotations[0]} needs networks with two inputs, but these have "
                f"{spec.dims[0]}. Use augment=none."
            )
        if config.shift_phases and config.omega_0 != omega_0:
            raise UserError(
                f"augment.omega_0={config.omega_0} differs from that of the zoo. Set "
                f"augment.omega_0={omega_0}."
            )
        if num_views > 1 and config.until < 1:
            raise UserError(
                "A task that compares two views of a network needs augmentation in all steps, but "
                f"augment.until={config.until}. Set augment.until=1."
            )
        if num_views > 1 and replace(config, omega_0=AugmentConfig.omega_0) == AugmentConfig():
            raise UserError(
                "A task that compares two views of a network needs augmentation, but there is "
                "none. Use augment=contrastive."
            )
        for each in self.extra:
            _check_shape(each, spec)

    def are_active(self, progress: float) -> bool:
        """Return whether augmentation is active after a fraction of the training steps."""
        return progress < self.config.until

    def apply(
        self,
        batch: WeightBatch,
        generator: torch.Generator,
        *,
        layer_std: Float[Tensor, " two_m"],
    ) -> tuple[WeightBatch, CoordinateTransform | None]:
        """Transform every network of a batch independently.

        Args:
            batch: B networks.
            generator: Random generator on the batch's device.
            layer_std: Scales of weight.0, bias.0, weight.1, ... over the training split, see
                ``Standardize``, (2M,).

        Returns:
            The transformed networks, and the transformation of their coordinates, or None.
        """
        config, transform = self.config, None
        settings = {name: getattr(config, name) for name in COORDINATES}
        if any(settings.values()):
            transform = CoordinateTransform.random(batch, generator, **settings)
            batch = transform.apply(batch)
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
        return batch, transform


def _check_shape(augmentation: Augmentation, spec: WeightSpaceSpec) -> None:
    """Apply a user-defined augmentation to two networks and check the result.

    Raises:
        UserError: If it does not return two networks of the same widths and dtype.
    """
    generator = torch.Generator().manual_seed(0)
    batch = WeightBatch.from_flat(spec, torch.randn(2, spec.num_params, 1, generator=generator))
    expected, actual = _describe(batch), _describe(augmentation(batch, generator))
    if actual != expected:
        raise UserError(
            f"augment.extra: {type(augmentation).__name__} returned {actual} for {expected}. "
            "Return the same number of networks, with the same widths and dtype."
        )


def _describe(batch: object) -> str:
    if not isinstance(batch, WeightBatch):
        return f"a {type(batch).__name__}"
    dtypes = {str(tensor.dtype).removeprefix("torch.") for tensor in batch.tensors()}
    return (
        f"a WeightBatch of {batch.batch_size} networks of widths {batch.spec.dims} with "
        f"{batch.num_channels} channels in {' and '.join(sorted(dtypes))}"
    )
