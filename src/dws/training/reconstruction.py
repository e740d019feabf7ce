"""Auxiliary reconstruction loss: values of the input networks on a grid as additional targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.inr import siren_apply
from dws.settings import ReconstructionConfig
from dws.weightspace import WeightBatch

NUM_AT_ONCE = 1024  # number of networks in a batch when the statistics of values are computed


class ReconstructionLoss:
    """Standardised values of SIRENs on a grid, as targets of an auxiliary loss.

    inr2vec (De Luigi et al. 2023) and other autoencoders of weights learn an embedding from which
    the function can be reconstructed. Here reconstruction accompanies supervised training, because
    many values per network are a richer training signal than one class. The input of the metanet is
    weights only, in training and evaluation. The values are computed from these weights, also for
    augmented networks, and are not needed after training.

    Args:
        config: Weight and resolution.
        reference: n networks, for the mean and standard deviation of the values.
        low: Lower end of the domain along each axis, d_0 numbers.
        high: Upper end of the domain along each axis, d_0 numbers.
        omega_0: ω0 of the networks.
        output_offset: Constant added to their outputs, see ``siren_apply``.

    Attributes:
        mean: Mean of the values of the reference networks at each point, (P d_M,).
        std: Standard deviation of all these values from the means, a scalar.

    Raises:
        ValueError: If all networks have the same values.
    """

    def __init__(
        self,
        config: ReconstructionConfig,
        reference: WeightBatch,
        *,
        low: Sequence[float],
        high: Sequence[float],
        omega_0: float,
        output_offset: float = 0.5,
    ) -> None:
        self.weight = config.weight
        self.omega_0, self.output_offset = omega_0, output_offset
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
                f"The {n} training networks all have the same values on the grid, so the loss of "
                f"reconstruction.weight={self.weight} is undefined. Set reconstruction.weight=0."
            )

    @torch.no_grad()
    def targets(self, networks: WeightBatch) -> Float[Tensor, "b v"]:
        """Compute the standardised values of B networks at P points, (B, P d_M)."""
        return (self._values(networks) - self.mean) / self.std

    def _values(self, networks: WeightBatch) -> Tensor:
        values = siren_apply(
            networks, self.points, omega_0=self.omega_0, output_offset=self.output_offset
        )
        return values.flatten(1)
