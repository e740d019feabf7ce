"""From weights to node features to invariants, and what pooling does to a second moment.

Every neuron of hidden level l has three groups of features: its *bias*; what is *incoming*, the
d_0 input weights at the first level and elsewhere one pooled column of W_l; what is *outgoing*,
the d_M output weights at the last level and elsewhere one pooled row of W_{l+1}. The input and
output levels do not move under the group, so their neurons are channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.weightspace import WeightBatch, WeightSpaceSpec

Reduction = Literal["mean", "sum", "max"]


def check_reduction(reduction: str) -> None:
    """Raise a ``ValueError`` that lists the choices if ``reduction`` is none of them."""
    if reduction not in get_args(Reduction):
        raise UserError(f"expected reduction in {get_args(Reduction)}, got {reduction!r}")


def check_widths(**widths: int) -> None:
    """Raise a ``ValueError`` if a layer is to have no channels, or none come in."""
    for name, width in widths.items():
        if width < 1:
            raise UserError(f"expected {name} >= 1, got {width}")


def pool(x: Tensor, dim: int, reduction: Reduction) -> Tensor:
    """Reduce one dimension by its mean, sum or maximum."""
    if reduction == "max":
        return _Max.apply(x, dim)  # type: ignore[no-any-return]
    return x.mean(dim) if reduction == "mean" else x.sum(dim)


class _Max(torch.autograd.Function):
    """``Tensor.amax`` with the same gradient, shared between equal maxima, at less cost.

    PyTorch turns the comparison into numbers and multiplies with them; here it stays a mask, which
    compilers fuse with what follows.
    """

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


def num_own_features(spec: WeightSpaceSpec) -> tuple[int, ...]:
    """Node features of each hidden level that no other level repeats once they are pooled.

    The outgoing row pool of W_{l+1} and the incoming column pool of the next level have the same
    pool, so that each level but the last leaves its outgoing feature to the next one.
    """
    *inner, last = spec.num_node_features
    return (*(n - 1 for n in inner), last)


def node_features(batch: WeightBatch, reduction: Reduction) -> list[Float[Tensor, "b _ _"]]:
    """Features [bias | incoming | outgoing] of the neurons of each hidden level l = 1..M-1.

    Returns:
        (B, d_l, n_l C) for each level, feature by feature, with channels last.
    """
    weights = batch.weights
    incoming = [weights[0].transpose(1, 2).flatten(2)]  # (B, d_1, d_0 C)
    incoming += [pool(w, 1, reduction) for w in weights[1:-1]]
    outgoing = [pool(w, 2, reduction) for w in weights[1:-1]]
    outgoing += [weights[-1].flatten(2)]  # (B, d_{M-1}, d_M C)
    return [
        torch.cat(features, dim=-1)
        for features in zip(batch.biases[:-1], incoming, outgoing, strict=True)
    ]


def invariants(
    batch: WeightBatch, nodes: Sequence[Tensor], reduction: Reduction
) -> Float[Tensor, "b i_c"]:
    """All I invariants: the pools of each level's own features, and b_M.

    Args:
        batch: The networks.
        nodes: Their ``node_features``, so that weights are pooled once.
        reduction: As for the nodes.

    Returns:
        (B, I C) with I = ``spec.num_invariants``.
    """
    channels = batch.num_channels
    own = [
        pool(x[..., : n * channels], 1, reduction)
        for x, n in zip(nodes, num_own_features(batch.spec), strict=True)
    ]
    return torch.cat([*own, batch.biases[-1].flatten(1)], dim=-1)


def second_moment(count: int, reduction: Reduction) -> float:
    """E[pool(z_1, ..., z_count)²] of independent standard normal z: 1/n, n, or E[max²].

    Used to start layers at unit variance.
    """
    if reduction != "max":
        return 1 / count if reduction == "mean" else float(count)
    # the maximum has density n φ(z) Φ(z)^(n-1)
    z = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    density = count * torch.exp(-(z**2) / 2) / (2 * torch.pi) ** 0.5
    cdf = torch.special.ndtr(z)
    return float(torch.trapezoid(z**2 * density * cdf ** (count - 1), z))


def node_second_moments(spec: WeightSpaceSpec, reduction: Reduction) -> list[list[float]]:
    """E[x²] of each node feature of each hidden level, for standard normal weights and biases."""
    moments = []
    last = spec.num_layers - 1
    for level in range(1, last + 1):
        incoming = [1.0] * spec.dims[0]
        if level > 1:
            incoming = [second_moment(spec.dims[level - 1], reduction)]
        outgoing = [1.0] * spec.dims[-1]
        if level < last:
            outgoing = [second_moment(spec.dims[level + 1], reduction)]
        moments.append([1.0, *incoming, *outgoing])
    return moments


def invariant_second_moments(spec: WeightSpaceSpec, reduction: Reduction) -> list[float]:
    """E[x²] of each of the I invariants, for standard normal weights and biases."""
    moments = []
    for level, own in enumerate(num_own_features(spec), start=1):
        counts = [spec.dims[level]] * own
        if level > 1:  # the incoming feature is already pooled over the level before
            counts[1] *= spec.dims[level - 1]
        moments += [second_moment(count, reduction) for count in counts]
    return moments + [1.0] * spec.dims[-1]
