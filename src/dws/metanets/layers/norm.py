"""Normalisation of weight-space features."""

from __future__ import annotations

from torch import Tensor, nn

from dws.weightspace import WeightBatch, WeightSpaceSpec


class BatchNorm(nn.Module):
    """Batch normalisation of each weight matrix and each bias by itself, channel by channel.

    Statistics run over networks and entries, so the layer is equivariant.

    Args:
        spec: The architecture of the networks that are read.
        num_channels: C.

    Shape:
        WeightBatch with C channels -> the same.
    """

    def __init__(self, spec: WeightSpaceSpec, num_channels: int) -> None:
        super().__init__()
        self.weights = nn.ModuleList(nn.BatchNorm1d(num_channels) for _ in range(spec.num_layers))
        self.biases = nn.ModuleList(nn.BatchNorm1d(num_channels) for _ in range(spec.num_layers))

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Normalise each tensor over all its dimensions but the last."""
        return WeightBatch(
            tuple(_over_entries(f, w) for f, w in zip(self.weights, batch.weights, strict=True)),
            tuple(_over_entries(f, b) for f, b in zip(self.biases, batch.biases, strict=True)),
        )


def _over_entries(norm: nn.Module, tensor: Tensor) -> Tensor:
    return norm(tensor.reshape(-1, tensor.shape[-1])).view(tensor.shape)  # type: ignore[no-any-return]
