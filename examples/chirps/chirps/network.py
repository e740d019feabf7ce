"""A metanet: a network whose input is the weights of others."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import glu

from dws.metanets.layers import EquivariantLinear, InvariantLinear
from dws.weightspace import WeightBatch, WeightSpaceSpec


class GatedNet(nn.Module):
    """Equivariant layers with gated linear units between, then an invariant layer.

    Hidden neurons in another order give the same output: each layer commutes with the order, the
    units treat all neurons alike, and the last layer ignores it.

    Args:
        spec: Widths of the networks; given by dws.
        in_channels: Channels of the input; 1 for plain weights.
        out_features: Size of the output; given by dws, which asks the task.
        hidden_channels: Channels between the layers.
        num_layers: Number of equivariant layers.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_channels: int = 16,
        num_layers: int = 3,
    ) -> None:
        super().__init__()
        channels = [in_channels] + [hidden_channels] * num_layers
        # twice the channels, since half of them gate the other half
        self.layers = nn.ModuleList(
            EquivariantLinear(spec, c_in, 2 * c_out) for c_in, c_out in pairwise(channels)
        )
        self.head = InvariantLinear(spec, hidden_channels, out_features)

    def embed(self, batch: WeightBatch) -> Tensor:
        """Features of each network, (B, E), which the report draws."""
        for layer in self.layers:
            batch = layer(batch).map(glu)  # over channels, which come last
        return self.head.pool(batch)

    def forward(self, batch: WeightBatch) -> Tensor:
        """Outputs of each network, (B, out_features)."""
        output: Tensor = self.head.map(self.embed(batch))
        return output
