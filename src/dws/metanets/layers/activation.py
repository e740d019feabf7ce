"""The activation between equivariant layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def relu(x: Tensor) -> Tensor:
    """``torch.relu``, whose gradient is a product with the sign of the output.

    PyTorch's own gradient selects by a mask, which inductor would keep for the backward pass and
    read back slowly. Differs: an infinite gradient becomes NaN where the output is 0.
    """
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
