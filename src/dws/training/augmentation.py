"""Which random changes training networks go through at every step."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.weightspace.transforms import (
    add_noise,
    drop_smallest,
    flip_signs,
    mask_entries,
    move_images,
    permute_neurons,
    shift_phases,
)


@dataclass(frozen=True)
class AugmentConfig:
    """Strengths of the augmentations, in the order in which they are applied; see their functions.

    Attributes:
        max_angle: Largest rotation of a picture either way, in degrees.
        max_shift: Largest shift along each axis; a picture is 2 wide.
        max_scale: Largest relative change of size.
        noise: Standard deviation of Gaussian noise, relative to each layer's own.
        quantile_dropout: Up to which quantile the smallest entries of a tensor are set to 0.
        mask: Probability of setting an entry to 0; the others keep their values.
        flip_signs: Turn around random sine neurons, which changes no function.
        shift_phases: Largest number of half periods by which sine neurons are moved either way,
            which changes no function.
        omega_0: ω0 of the SIRENs, for ``shift_phases``.
        permute: Reorder hidden neurons, which changes no function.
        until: Which part of the training's steps has all this; networks of the rest stay as they
            are, as those of other splits are. What is moved and noisy is harder to read than they.

    Raises:
        ValueError: If a number is out of range.
    """

    max_angle: float = 0.0
    max_shift: float = 0.0
    max_scale: float = 0.0
    noise: float = 0.0
    quantile_dropout: float = 0.0
    mask: float = 0.0
    flip_signs: bool = False
    shift_phases: int = 0
    omega_0: float = 30.0
    permute: bool = False
    until: float = 1.0

    def __post_init__(self) -> None:
        below_1 = (self.max_scale, self.quantile_dropout, self.mask)
        if not all(0 <= x < math.inf for x in asdict(self).values()) or max(below_1) >= 1:
            raise UserError(
                "expected strengths >= 0 in augment, and max_scale, quantile_dropout and mask "
                f"below 1, got {asdict(self)}"
            )
        if self.until > 1:
            raise UserError(f"expected augment.until between 0 and 1, got {self.until}")

    def check_fits(self, spec: WeightSpaceSpec, num_views: int, omega_0: float) -> None:
        """Make sure that this makes sense for some networks and a task.

        Args:
            spec: Architecture of the networks.
            num_views: See ``Task``.
            omega_0: ω0 of the networks.

        Raises:
            ValueError: If pictures are to move and the networks do not have two inputs, phases are
                to be shifted and their ω0 is another, or two views would be the same.
        """
        moves = {k: v for k, v in asdict(self).items() if k.startswith("max_") and v}
        if moves and spec.dims[0] != 2:
            raise UserError(
                f"expected networks with two inputs for augment.{next(iter(moves))}, got "
                f"{spec.dims[0]}; use augment=none"
            )
        if self.shift_phases and self.omega_0 != omega_0:
            raise UserError(
                f"expected augment.omega_0={omega_0}, that of the zoo, got {self.omega_0}"
            )
        if num_views > 1 and self.until < 1:
            raise UserError(
                "expected augment.until=1 for a task that compares two views of a network, got "
                f"{self.until}"
            )
        if num_views > 1 and replace(self, omega_0=AugmentConfig.omega_0) == AugmentConfig():
            raise UserError(
                "expected augmentations for a task that compares two views of a network, got none; "
                "use augment=contrastive"
            )

    def apply(
        self,
        batch: WeightBatch,
        generator: torch.Generator,
        *,
        layer_std: Float[Tensor, " two_m"],
        progress: float = 0.0,
    ) -> WeightBatch:
        """Change every network of a batch in its own way.

        Args:
            batch: B networks.
            generator: Source of all draws, on the batch's device.
            layer_std: Standard deviations of weight.0, bias.0, weight.1, ... in the training split.
            progress: Which part of the training's steps is done.
        """
        if progress >= self.until:
            return batch
        angle, shift, scale = self.max_angle, self.max_shift, self.max_scale
        if angle or shift or scale:
            batch = move_images(batch, generator, max_angle=angle, max_shift=shift, max_scale=scale)
        if self.noise:
            batch = add_noise(batch, generator, std=self.noise * layer_std)
        if self.quantile_dropout:
            batch = drop_smallest(batch, generator, max_quantile=self.quantile_dropout)
        if self.mask:
            batch = mask_entries(batch, generator, probability=self.mask)
        if self.flip_signs:
            batch = flip_signs(batch, generator)
        if self.shift_phases:
            batch = shift_phases(
                batch, generator, omega_0=self.omega_0, max_shift=self.shift_phases
            )
        if self.permute:
            batch = permute_neurons(batch, generator)
        return batch
