"""The plain baseline: an MLP on the flattened weights, without any symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.layers.norm import BatchNorm
from dws.weightspace import WeightBatch, WeightSpaceSpec


def hidden_layers(d_in: int, hidden_features: Sequence[int]) -> nn.Sequential:
    """Linear, batch norm and ReLU for each width.

    Args:
        d_in: Features of the input.
        hidden_features: Widths, at least one.

    Raises:
        ValueError: On no width, or one below 1.
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
    """Linear, batch norm, ReLU on all weights and biases in a row (Navon et al. 2023, Section 7).

    Args:
        spec: The architecture of the input networks.
        in_channels: Channels of the input; 1 for plain weights.
        out_features: Size of the output.
        hidden_features: Widths of the hidden layers, at least one.

    Raises:
        ValueError: On no hidden layer, a size below 1, or a batch that does not fit.
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
        if min(in_channels, out_features) < 1:
            raise UserError(
                f"expected in_channels and out_features >= 1, got {in_channels} and {out_features}"
            )
        self.spec = spec
        self.in_channels = in_channels
        self.body = hidden_layers(spec.num_params * in_channels, hidden_features)
        self.head = nn.Linear(hidden_features[-1], out_features)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """The last hidden layer, (B, hidden_features[-1])."""
        batch.check_fits(self.spec, self.in_channels)
        return self.body(batch.flatten().flatten(1))  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]
