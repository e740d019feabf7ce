"""All affine maps from a weight space to vectors that are invariant to permutations of neurons."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.metanets.checks import check_widths
from dws.metanets.layers.features import (
    Reduction,
    check_reduction,
    invariants,
    second_moments,
)
from dws.weightspace import WeightBatch, WeightSpaceSpec


class InvariantLinear(nn.Module):
    """Pooling to the I invariants and a dense map (Navon et al. 2023, Section 4 and Eq. (6)).

    With ``reduction="mean"`` or ``"sum"`` the layer spans all invariant affine maps with
    ``spec.num_invariants * in_channels * out_features`` weights.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels, C_in.
        out_features: Number of outputs, F.
        reduction: Pooling of features: ``"mean"``, ``"sum"`` or ``"max"``.
        bias: Whether to add a constant.

    Shape:
        WeightBatch with C_in channels -> (B, F).

    Raises:
        ValueError: If the reduction is unknown, a size is below 1, or a batch does not match the
            spec or the number of channels.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        in_channels: int,
        out_features: int,
        *,
        reduction: Reduction = "mean",
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_widths(in_channels=in_channels, out_features=out_features)
        self.spec = spec
        self.in_channels = in_channels
        self.reduction: Reduction = reduction
        self.map = nn.Linear(spec.num_invariants * in_channels, out_features, bias=bias)
        self.reset_parameters()

    def pool(self, batch: WeightBatch) -> Float[Tensor, "b i_c"]:
        """Compute the invariants, (B, I C_in)."""
        batch.check_fits(self.spec, self.in_channels)
        return invariants(batch, self.reduction)

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Pool and map."""
        return self.map(self.pool(batch))  # type: ignore[no-any-return]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise for unit variance on standard normal input, see ``EquivariantLinear``."""
        moment = self.in_channels * second_moments(self.spec, self.reduction).invariants.sum()
        self.map.weight.normal_().mul_(moment.rsqrt().to(self.map.weight))
        if self.map.bias is not None:
            nn.init.zeros_(self.map.bias)
