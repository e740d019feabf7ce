"""PyTorch operations reformulated so that compilers or libraries generate faster code.

Each operation has the same values and gradients as the PyTorch operation that its first line names,
and can be replaced by it. The docstrings state by how much a training step of a DWSNet is longer
without the reformulation (2-32-32-1 networks, 3 layers of 32 channels, batch 64, torch 2.14, one
thread of a loaded two-core machine; CPU time, alternating variants, medians of 25 steps compiled in
bf16 and of 15 eager steps in fp32). If only compiled code is faster, eager code calls PyTorch's
operation, which supports forward and reverse mode.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


def relu(x: Tensor) -> Tensor:
    """``torch.relu``, with a compiled gradient that is a product with the sign of the output.

    PyTorch's gradient selects by a mask, which inductor stores for the backward pass and reads back
    slowly: 14 %. Eager steps would not be faster. An infinite gradient becomes NaN where the output
    is 0.
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
    """``Tensor.amax``, with the same gradient, which is divided between equal maxima.

    PyTorch converts the comparison with the maximum to numbers and multiplies by them. The compiled
    form of this function keeps the comparison as a mask, which is fused with subsequent operations:
    14 %. Eager steps would be 2 to 3 % slower.
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
    """``Tensor.amax``, with a gradient that goes to a single position among equal maxima.

    This function is required for correctness. ``amax`` and ``maximum`` compare values with their
    maximum in the backward pass. A compiler may recompute the values with a different rounding than
    they had in bf16, and then none of them equals the maximum. A step of a SignDWSNet takes the
    same time with all three: eager, the other two take 0.97 and 0.98 of the time, which is noise.
    """
    return x.max(dim).values


def standardize_rows(
    x: Float[Tensor, "n c"], weight: Float[Tensor, " c"], bias: Float[Tensor, " c"], eps: float
) -> tuple[Float[Tensor, "n c"], Float[Tensor, " c"], Float[Tensor, " c"]]:
    """``torch.nn.functional.batch_norm`` in training; also returns mean and variance of the rows.

    PyTorch's batch norm compiles to Welford's recurrence, which is slow, and its gradient to more
    passes over full-size tensors. This function computes the statistics by two sums of differences
    from the first row, which avoids cancellation in the variance for any mean. ``BatchNorm`` calls
    it in compiled training only. It was not measured separately: together with the compiled forms
    of ``relu`` and ``EdgeLinear`` and reuse of freed memory, it reduced a step at batch size 128 in
    bf16 from 115 to 73 ms (two cores of Sapphire Rapids). Only first derivatives are supported.
    Mean and variance are not differentiable.
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
        grad_bias = gradient.sum(0, dtype=weight.dtype)
        grad_weight = ((gradient * y).sum(0) - shift * grad_bias) * inverse
        # Remove the components of the gradient along the constant vector and along y.
        scale = weight * inverse
        along_y = -scale * inverse * grad_weight / len(x)
        constant = -scale * grad_bias / len(x) - along_y * shift
        grad_x = (gradient * scale + y * along_y + constant).to(x.dtype)
        return grad_x, grad_weight, grad_bias, None


class EdgeLinear(nn.Linear):
    """``nn.Linear`` without bias, applied to weight features by one matrix product per network.

    With a single product of B d_in d_out rows, the gradient of the coefficients would be a sum of
    B d_in d_out terms, which libraries compute slowly: 7 % compiled, 4 % eager.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, bias=False)

    def forward(self, x: Float[Tensor, "b d_in d_out c_in"]) -> Float[Tensor, "b d_in d_out c_out"]:
        """Map the channels."""
        mapped = torch.bmm(x.flatten(1, 2), self.weight.t().expand(x.shape[0], -1, -1))
        return mapped.unflatten(1, x.shape[1:3])  # type: ignore[no-any-return]
