"""Normalisation of weight-space features."""

from __future__ import annotations

from itertools import chain
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from dws.errors import UserError
from dws.metanets.ops import standardize_rows
from dws.weightspace import WeightBatch, WeightSpaceSpec

NormKind = Literal["batch", "layer"]


class Norm(nn.Module):
    """Batch or layer normalisation, applied separately to each weight matrix and each bias.

    ``"batch"`` computes statistics of each channel over networks and entries; ``"layer"`` computes
    statistics of each entry over channels. Both are equivariant, because they apply the same map to
    all entries of a tensor.

    Args:
        spec: The architecture of the input networks.
        num_channels: Number of channels, C.
        kind: ``"batch"`` or ``"layer"``.

    Shape:
        WeightBatch with C channels -> WeightBatch of the same shapes.

    Raises:
        ValueError: If the kind is unknown.
    """

    def __init__(self, spec: WeightSpaceSpec, num_channels: int, kind: NormKind = "batch") -> None:
        super().__init__()
        if kind not in ("batch", "layer"):
            raise UserError(f"expected norm in ('batch', 'layer'), got {kind!r}")
        layer = BatchNorm if kind == "batch" else nn.LayerNorm
        self.weights = nn.ModuleList(layer(num_channels) for _ in range(spec.num_layers))
        self.biases = nn.ModuleList(layer(num_channels) for _ in range(spec.num_layers))

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Normalise every tensor."""
        norms = chain.from_iterable(zip(self.weights, self.biases, strict=True))
        pairs = zip(norms, batch.tensors(), strict=True)
        return WeightBatch.from_tensors(_over_entries(f, t) for f, t in pairs)


def _over_entries(norm: nn.Module, tensor: Tensor) -> Tensor:
    return norm(tensor.reshape(-1, tensor.shape[-1])).view(tensor.shape)  # type: ignore[no-any-return]


class BatchNorm(nn.BatchNorm1d):
    """``BatchNorm1d`` in a form that compiles to fewer and faster loops.

    In distributed training, the statistics are computed over the batches of all processes.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel of an input of shape (rows, channels)."""
        if self.training and dist.is_initialized():
            return self._over_processes(x)
        if not (self.training and torch.compiler.is_compiling()) or len(x) < 2:
            return super().forward(x)
        normed, mean, variance = standardize_rows(x, self.weight, self.bias, self.eps)
        self._track(mean, variance, len(x))
        return normed

    def _over_processes(self, x: Tensor) -> Tensor:
        """Normalise with statistics over all processes, which must have equal numbers of rows."""
        count = len(x) * dist.get_world_size()
        values = x.to(self.weight.dtype)
        mean = all_reduce(values.sum(0)) / count
        centred = values - mean
        variance = all_reduce(centred.square().sum(0)) / count
        self._track(mean, variance, count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normed: Tensor = centred * scale + self.bias
        return normed.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Update the running statistics with those of a batch of ``count`` rows."""
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        self.num_batches_tracked.add_(1)
