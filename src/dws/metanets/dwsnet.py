"""DWSNet: equivariant layers, then an invariant one (Navon et al. 2023, Section 5)."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from dws.metanets.layers import BatchNorm, EquivariantLinear, InvariantLinear
from dws.metanets.layers.pooling import Reduction
from dws.weightspace import WeightBatch, WeightSpaceSpec


class DWSNet(nn.Module):
    """A network on weights that no reordering of hidden neurons can change.

    ``num_layers`` times [equivariant layer, norm, ReLU], then the invariant layer.

    Args:
        spec: The architecture of the networks that are read.
        in_channels: Channels of the input; 1 for plain weights.
        out_features: Size of the output.
        hidden_channels: Channels between the layers.
        num_layers: Number of equivariant layers.
        reduction: How features are pooled in every layer.
        norm: ``"batch"`` for ``BatchNorm`` after each layer, or ``"none"``.

    Raises:
        ValueError: On sizes below 1, an unknown reduction or norm, or a batch that does not fit.

    >>> net = DWSNet(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_channels: int = 32,
        num_layers: int = 5,
        reduction: Reduction = "max",
        norm: Literal["batch", "none"] = "batch",
    ) -> None:
        super().__init__()
        if min(in_channels, out_features, hidden_channels, num_layers) < 1:
            raise ValueError(
                "expected in_channels, out_features, hidden_channels and num_layers >= 1, got "
                f"{(in_channels, out_features, hidden_channels, num_layers)}"
            )
        if norm not in ("batch", "none"):
            raise ValueError(f"expected norm in ('batch', 'none'), got {norm!r}")
        channels = [in_channels] + [hidden_channels] * num_layers
        self.layers = nn.ModuleList(
            EquivariantLinear(spec, c_in, c_out, reduction=reduction)
            for c_in, c_out in pairwise(channels)
        )
        self.norms = nn.ModuleList(
            BatchNorm(spec, hidden_channels) if norm == "batch" else nn.Identity()
            for _ in range(num_layers)
        )
        self.head = InvariantLinear(spec, hidden_channels, out_features, reduction=reduction)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """The pooled features before the last linear map, (B, I hidden_channels)."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            batch = norm(layer(batch)).map(nn.functional.relu)
        return self.head.pool(batch)

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Read a batch of networks."""
        return self.head.map(self.embed(batch))  # type: ignore[no-any-return]
