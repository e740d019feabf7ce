"""A metanet: a network whose input is the weights of other networks."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import glu

from dws.metanets.layers import EquivariantLinear, InvariantLinear
from dws.weightspace import WeightBatch, WeightSpaceSpec


class GatedNet(nn.Module):
    """Equivariant layers with gated linear units, followed by an invariant layer.

    The output is invariant to permutations of hidden neurons: each layer and the gated linear units
    are equivariant to them, and the last layer is invariant.

    Args:
        spec: Architecture of the input networks; passed by dws.
        in_channels: Channels of the input; 1 for plain weights.
        out_features: Number of outputs; passed by dws, depending on the task.
        hidden_channels: Channels of the equivariant layers.
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
        # twice the channels, as half of them gate the other half
        self.layers = nn.ModuleList(
            EquivariantLinear(spec, c_in, 2 * c_out) for c_in, c_out in pairwise(channels)
        )
        self.head = InvariantLinear(spec, hidden_channels, out_features)

    def embed(self, batch: WeightBatch) -> Tensor:
        """Embedding of each network, (B, E), which the report shows as t-SNE."""
        for layer in self.layers:
            batch = layer(batch).map(glu)  # over channels, the last axis
        return self.head.pool(batch)

    def forward(self, batch: WeightBatch) -> Tensor:
        """Outputs of each network, (B, out_features)."""
        output: Tensor = self.head.map(self.embed(batch))
        return output
