"""Auxiliary loss beside the task's: values that the input networks compute on a grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.inr import siren_apply
from dws.settings import ReconstructionConfig
from dws.weightspace import WeightBatch

NUM_AT_ONCE = 1024  # networks evaluated together when values are standardised


class ReconstructionLoss:
    """Values of SIRENs at a grid as targets, which hold for every augmented copy too.

    An embedding from which the function can be reconstructed is what inr2vec (De Luigi et al. 2023)
    and other autoencoders of weights learn. Here it accompanies the learning from labels: a metanet
    learns more of what weights mean from many values a network than from one class.
    Weights are all that a metanet gets, in training and afterwards; the values are computed from
    these weights alone, and no longer needed once it is trained.

    Args:
        config: Weight and resolution.
        reference: n networks, whose mean and standard deviation make values comparable.
        low: Lower end of the domain along each axis, d_0 numbers.
        high: Upper end.
        omega_0: ω0 of the networks.

    Raises:
        ValueError: If all of them compute the same.
    """

    def __init__(
        self,
        config: ReconstructionConfig,
        reference: WeightBatch,
        *,
        low: Sequence[float],
        high: Sequence[float],
        omega_0: float,
    ) -> None:
        self.weight, self.omega_0 = config.weight, omega_0
        cells = (torch.arange(config.resolution) + 0.5) / config.resolution
        axes = [a + (b - a) * cells for a, b in zip(low, high, strict=True)]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
        self.points = points.to(reference.weights[0])
        n = reference.batch_size
        parts = [reference[start : start + NUM_AT_ONCE] for start in range(0, n, NUM_AT_ONCE)]
        self.mean = torch.stack([self._values(part).sum(dim=0) for part in parts]).sum(dim=0) / n
        squares = [(self._values(part) - self.mean).square().mean(dim=1).sum() for part in parts]
        self.std = (torch.stack(squares).sum() / n).sqrt()
        if not self.std > 0:
            raise UserError(
                f"The {n} training networks all compute the same, which reconstruction.weight="
                f"{self.weight} cannot learn from. Use reconstruction.weight=0."
            )

    @torch.no_grad()
    def targets(self, networks: WeightBatch) -> Float[Tensor, "b v"]:
        """What B networks compute at P points, (B, P d_M); the reference has a variance of 1."""
        return (self._values(networks) - self.mean) / self.std

    def _values(self, networks: WeightBatch) -> Tensor:
        return siren_apply(networks, self.points, omega_0=self.omega_0).flatten(1)
