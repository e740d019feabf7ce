"""An MLP on the flattened weights, a baseline without symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.checks import check_widths
from dws.metanets.layers.norm import BatchNorm
from dws.weightspace import WeightBatch, WeightSpaceSpec


def hidden_layers(d_in: int, hidden_features: Sequence[int]) -> nn.Sequential:
    """Construct layers of linear map, batch norm and ReLU.

    Args:
        d_in: Number of input features.
        hidden_features: Widths of the layers, at least one.

    Raises:
        ValueError: If there is no width, or a width is below 1.
    """
    if not hidden_features or min(hidden_features) < 1:
        raise UserError(
            f"expected hidden_features to be at least one width >= 1, got {tuple(hidden_features)}"
        )
    layers = nn.Sequential()
    for n_in, n_out in pairwise((d_in, *hidden_features)):
        layers.extend([nn.Linear(n_in, n_out, bias=False), BatchNorm(n_out), nn.ReLU()])
    return layers


class MLP(nn.Module):
    """An MLP with batch norm on the flattened weights and biases (Navon et al. 2023, Section 7).

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        hidden_features: Widths of the hidden layers, at least one.

    Raises:
        ValueError: If there is no hidden layer, a size is below 1, or a batch does not match the
            architecture.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_features: Sequence[int] = (256, 256, 256),
    ) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, out_features=out_features)
        self.spec = spec
        self.in_channels = in_channels
        self.body = hidden_layers(spec.num_params * in_channels, hidden_features)
        self.head = nn.Linear(hidden_features[-1], out_features)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the last hidden layer, (B, hidden_features[-1])."""
        batch.check_fits(self.spec, self.in_channels)
        return self.body(batch.flatten().flatten(1))  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]
