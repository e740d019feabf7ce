"""The encoder of inr2vec (De Luigi et al., ICLR 2023), a baseline without symmetry."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from dws.metanets.checks import check_widths
from dws.metanets.mlp import hidden_layers
from dws.weightspace import WeightBatch, WeightSpaceSpec


class INR2Vec(nn.Module):
    """A shared MLP on the rows of the stacked weights, followed by the maximum over rows.

    The rows are the rows of W_1, b_1, W_2, b_2, ..., and for the last layer the columns of W_M and
    b_M. Shorter rows are padded with zeros.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        hidden_features: Widths of the shared layers (linear, batch norm, ReLU), at least one.

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
        hidden_features: Sequence[int] = (256, 256, 512, 512),
    ) -> None:
        super().__init__()
        self.width = max(spec.dims[1:])  # length of a row
        check_widths(in_channels=in_channels, out_features=out_features)
        self.spec = spec
        self.in_channels = in_channels
        self.body = hidden_layers(self.width * in_channels, hidden_features)
        self.head = nn.Linear(hidden_features[-1], out_features)

    def rows(self, batch: WeightBatch) -> Float[Tensor, "b r w c"]:
        """Stack the rows of all layers, (B, R, width, C)."""
        weights = [*batch.weights[:-1], batch.weights[-1].transpose(1, 2)]
        blocks = [b for w, b in zip(weights, batch.biases, strict=True) for b in (w, b[:, None])]
        return torch.cat([pad(b, (0, 0, 0, self.width - b.shape[2])) for b in blocks], dim=1)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the maximum over rows, (B, hidden_features[-1])."""
        batch.check_fits(self.spec, self.in_channels)
        rows = self.rows(batch).flatten(2)  # (B, R, width * C)
        features = self.body(rows.flatten(0, 1))
        return features.unflatten(0, rows.shape[:2]).amax(dim=1)  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]
