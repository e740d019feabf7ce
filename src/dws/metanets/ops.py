"""Operations of PyTorch in a form that compilers or libraries turn into faster code.

Each is equal to what its first line names, in values and gradients, and can be replaced by it. The
paragraph says what it buys: by how much a training step of a DWSNet is longer without it (2-32-32-1
networks, 3 layers of 32 channels, batch 64, torch 2.14, one thread of a loaded two-core machine;
CPU time, variants in turns, medians of 25 steps compiled in bf16 and of 15 eager in fp32). Where
only compiled code gains, eager code calls PyTorch's operation, which has derivatives in both modes.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def relu(x: Tensor) -> Tensor:
    """``torch.relu``, whose compiled gradient is a product with the sign of the output.

    PyTorch's own gradient selects by a mask, which inductor would keep for the backward pass and
    read back slowly: 14 %. Eager it would gain nothing. An infinite gradient becomes NaN where the
    output is 0.
    """
    if not torch.compiler.is_compiling():
        return torch.relu(x)
    return _Relu.apply(x)  # type: ignore[no-any-return]


class _Relu(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.relu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (output,) = ctx.saved_tensors
        return gradient * output.sign()  # type: ignore[no-any-return]


def maximum(x: Tensor, dim: int) -> Tensor:
    """``Tensor.amax`` with the same gradient, shared between equal maxima.

    PyTorch turns the comparison with the maximum into numbers and multiplies with them. Compiled,
    it stays a mask here, which is fused with what follows: 14 %. Eager it would cost 2 to 3 %.
    """
    if not torch.compiler.is_compiling():
        return x.amax(dim)
    return _Max.apply(x, dim)  # type: ignore[no-any-return]


class _Max(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, dim: int) -> Tensor:
        return x.amax(dim)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        x, ctx.dim = inputs
        ctx.save_for_backward(x, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, largest = ctx.saved_tensors
        is_largest = x == largest.unsqueeze(ctx.dim)
        share = gradient / is_largest.sum(ctx.dim, dtype=gradient.dtype)
        return torch.where(is_largest, share.unsqueeze(ctx.dim), 0), None


def first_maximum(x: Tensor, dim: int) -> Tensor:
    """``Tensor.amax``, whose gradient goes to one of equal maxima, by position.

    It is for correctness: ``amax`` and ``maximum`` compare values with their maximum in the
    backward pass, which a compiler may recompute with another rounding than the values had in bf16,
    so that none is equal. A step of a SignDWSNet takes as long with any of the three: the others
    take 0.97 and 0.98 of the time eager, which is noise.
    """
    return x.max(dim).values


def standardize_rows(
    x: Float[Tensor, "n c"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], eps: float
) -> tuple[Float[Tensor, "n c"], Float[Tensor, " c"], Float[Tensor, " c"]]:
    """``torch.nn.functional.batch_norm`` in training, with the mean and variance of the rows.

    PyTorch's batch norm compiles to Welford's recurrence, which is slow, and its gradient to more
    passes over full-size tensors. Here the statistics are two sums, of differences from the first
    row, so that little cancels in the variance wherever the mean lies. ``BatchNorm`` calls it in
    compiled training only. It was not measured alone: with the compiled forms of ``relu`` and
    ``EdgeLinear``, and freed memory kept, a step at batch 128 in bf16 went from 115 to 73 ms (two
    cores of Sapphire Rapids). It has first derivatives only, and none of the mean and variance.
    """
    normed, mean, variance, _ = _Standardize.apply(x, weight, bias, eps)
    return normed, mean, variance


class _Standardize(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, ...]:
        first = x[0].to(weight.dtype)
        y = x.to(weight.dtype) - first
        shift = y.mean(0)
        variance = (y.square().mean(0) - shift.square()).clamp(min=0)
        scale = weight * torch.rsqrt(variance + eps)
        normed = y * scale + (bias - shift * scale)
        return normed.to(x.dtype), first + shift, variance, shift

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, _, ctx.eps = inputs
        _, mean, variance, shift = output
        ctx.save_for_backward(x, weight, variance, shift)
        ctx.mark_non_differentiable(mean, variance, shift)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, variance, shift = ctx.saved_tensors
        y = x.to(weight.dtype) - x[0].to(weight.dtype)
        inverse = torch.rsqrt(variance + ctx.eps)
        of_bias = gradient.sum(0, dtype=weight.dtype)
        of_weight = ((gradient * y).sum(0) - shift * of_bias) * inverse
        # what remains of the gradient without its part along the constant and along y
        scale = weight * inverse
        along_y = -scale * inverse * of_weight / len(x)
        constant = -scale * of_bias / len(x) - along_y * shift
        return (gradient * scale + y * along_y + constant).to(x.dtype), of_weight, of_bias, None


class EdgeLinear(nn.Linear):
    """``nn.Linear`` without bias on weights, as one product for each network.

    As one product with B d_in d_out rows, the gradient of the coefficients would be a sum of that
    many terms, which libraries compute slowly: 7 % compiled, 4 % eager.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, bias=False)

    def forward(self, x: Float[Tensor, "b d_in d_out c_in"]) -> Float[Tensor, "b d_in d_out c_out"]:
        """Map the channels."""
        mapped = torch.bmm(x.flatten(1, 2), self.weight.t().expand(x.shape[0], -1, -1))
        return mapped.unflatten(1, x.shape[1:3])  # type: ignore[no-any-return]
