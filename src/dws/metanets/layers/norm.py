"""Normalisation of weight-space features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from dws.weightspace import WeightBatch, WeightSpaceSpec

NormKind = Literal["batch", "layer"]


class Norm(nn.Module):
    """Batch or layer normalisation of each weight matrix and each bias by itself.

    ``"batch"`` takes its statistics over networks and entries, channel by channel; ``"layer"`` over
    the channels of each entry. Both are equivariant: they treat all entries of a tensor alike.

    Args:
        spec: The architecture of the networks that are read.
        num_channels: C.
        kind: Which normalisation.

    Shape:
        WeightBatch with C channels -> the same.

    Raises:
        ValueError: On another kind.
    """

    def __init__(self, spec: WeightSpaceSpec, num_channels: int, kind: NormKind = "batch") -> None:
        super().__init__()
        if kind not in ("batch", "layer"):
            raise ValueError(f"expected norm in ('batch', 'layer'), got {kind!r}")
        make = nn.BatchNorm1d if kind == "batch" else nn.LayerNorm
        self.weights = nn.ModuleList(make(num_channels) for _ in range(spec.num_layers))
        self.biases = nn.ModuleList(make(num_channels) for _ in range(spec.num_layers))

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Normalise every tensor."""
        return WeightBatch(
            tuple(_over_entries(f, w) for f, w in zip(self.weights, batch.weights, strict=True)),
            tuple(_over_entries(f, b) for f, b in zip(self.biases, batch.biases, strict=True)),
        )


def _over_entries(norm: nn.Module, tensor: Tensor) -> Tensor:
    return norm(tensor.reshape(-1, tensor.shape[-1])).view(tensor.shape)  # type: ignore[no-any-return]
