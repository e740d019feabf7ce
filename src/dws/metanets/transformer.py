"""A transformer on neurons (after Schürholt et al., NeurIPS 2021), a baseline without symmetry."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.checks import check_dropout, check_widths
from dws.weightspace import WeightBatch, WeightSpaceSpec

Encoding = Literal["neuron", "layer"]


class Transformer(nn.Module):
    """A transformer encoder whose tokens are neurons with their incoming weights and bias.

    A linear map for each layer projects tokens to the same width, and learned positional encodings
    are added.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        hidden_features: Width of a token.
        num_layers: Number of encoder layers.
        num_heads: Number of attention heads; must divide ``hidden_features``.
        dropout: Dropout probability of the encoder layers, in training.
        encoding: ``"neuron"`` learns an encoding for each neuron, with which the entries of a token
            can be matched to the neurons that they come from; ``"layer"`` learns one per layer.

    Raises:
        ValueError: If a size is below 1, ``num_heads`` does not divide ``hidden_features``, the
            encoding is unknown, or a batch does not match the architecture.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_features: int = 64,
        num_layers: int = 3,
        num_heads: int = 4,
        dropout: float = 0.0,
        encoding: Encoding = "neuron",
    ) -> None:
        super().__init__()
        check_widths(
            in_channels=in_channels,
            out_features=out_features,
            hidden_features=hidden_features,
            num_layers=num_layers,
            num_heads=num_heads,
        )
        check_dropout(dropout)
        if hidden_features % num_heads:
            raise UserError(
                f"expected num_heads to divide hidden_features={hidden_features}, got {num_heads}"
            )
        if encoding not in get_args(Encoding):
            raise UserError(f"expected encoding in {get_args(Encoding)}, got {encoding!r}")
        self.spec = spec
        self.in_channels = in_channels
        self.tokenize = nn.ModuleList(
            nn.Linear((d_in + 1) * in_channels, hidden_features, bias=False)
            for d_in, _ in spec.weight_shapes
        )
        rows = [d if encoding == "neuron" else 1 for d in spec.dims[1:]]
        self.encodings = nn.ParameterList(
            0.02 * torch.randn(num_rows, hidden_features) for num_rows in rows
        )
        # The output for this token is the embedding.
        self.summary = nn.Parameter(0.02 * torch.randn(hidden_features))
        layer = nn.TransformerEncoderLayer(
            hidden_features,
            num_heads,
            dim_feedforward=2 * hidden_features,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(hidden_features)
        self.head = nn.Linear(hidden_features, out_features)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the output for the summary token, (B, hidden_features)."""
        batch.check_fits(self.spec, self.in_channels)
        tokens = [self.summary.expand(batch.batch_size, 1, -1)]
        for to_token, encoding, weight, bias in zip(
            self.tokenize, self.encodings, batch.weights, batch.biases, strict=True
        ):
            neurons = torch.cat([weight, bias[:, None]], dim=1).transpose(1, 2)
            tokens.append(to_token(neurons.flatten(2)) + encoding)
        sequence = torch.cat(tokens, dim=1)
        return self.norm(self.encoder(sequence)[:, 0])  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]
