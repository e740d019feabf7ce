"""Normalisation of weight-space features."""

from __future__ import annotations

from typing import Any, Literal

import torch
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
        make = _BatchNorm if kind == "batch" else nn.LayerNorm
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


class _BatchNorm(nn.BatchNorm1d):
    """``BatchNorm1d``, in a form that compiles to fewer and faster loops."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.compiler.is_compiling()) or len(x) < 2:
            return super().forward(x)
        normed, mean, variance = _Standardized.apply(x, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (len(x) / (len(x) - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        return normed  # type: ignore[no-any-return]


class _Standardized(torch.autograd.Function):
    """Rows with the mean and deviation of a batch norm, and the statistics they had.

    PyTorch's batch norm compiles to Welford's recurrence, four times as slow as the two sums here,
    and its gradient writes two full-size tensors in float32 where this one reads two in x's type.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        y = x.to(weight.dtype)
        mean = y.mean(0)
        variance = (y.square().mean(0) - mean.square()).clamp(min=0)
        scale = weight * torch.rsqrt(variance + eps)
        return (y * scale + (bias - mean * scale)).to(x.dtype), mean, variance

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, _, ctx.eps = inputs
        _, mean, variance = output
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.mark_non_differentiable(mean, variance)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        inverse = torch.rsqrt(variance + ctx.eps)
        of_bias = gradient.sum(0, dtype=weight.dtype)
        of_weight = ((gradient * x.to(weight.dtype)).sum(0) - mean * of_bias) * inverse
        # d/dx of the output is linear in x: what remains of the gradient without its part along
        # the constant and along x itself
        scale = weight * inverse
        along_x = -scale * inverse * of_weight / len(x)
        constant = -scale * of_bias / len(x) - along_x * mean
        return (gradient * scale + x * along_x + constant).to(x.dtype), of_weight, of_bias, None
