"""Features of a weight space: ``pool`` computes them, and its adjoint ``broadcast`` maps them back.

The group does not permute inputs and outputs, so these are channels. Pooling has two stages: inner
weights are pooled to the neurons at their ends, and neurons are pooled to invariants.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain, pairwise
from typing import Literal, NamedTuple, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad
from torch.utils._pytree import tree_map

from dws.errors import UserError
from dws.metanets.ops import maximum
from dws.weightspace import WeightBatch, WeightSpaceSpec

Reduction = Literal["mean", "sum", "max"]


class Features(NamedTuple):
    """Invariants, node features and edge features, with C channels each.

    Attributes:
        invariants: (B, I C): every bias and weight, pooled over its hidden levels.
        nodes: (B, d_l, n_l C) for each hidden level l = 1..M-1: the concatenated groups of a
            ``Node``.
        edges: (B, d_{m-1}, d_m, C) for each inner weight m = 2..M-1.
    """

    invariants: Float[Tensor, "b i_c"]
    nodes: Sequence[Float[Tensor, "b _ _"]]
    edges: Sequence[Float[Tensor, "b _ _ c"]]


class Node(NamedTuple):
    """The features of the neurons of a hidden level, (B, d_l, ·), see ``spec.node_groups``."""

    bias: Float[Tensor, "b d _"]
    incoming: Float[Tensor, "b d _"]
    outgoing: Float[Tensor, "b d _"]


def pool(batch: WeightBatch, reduction: Reduction) -> Features:
    """Pool weights to node features and node features to invariants.

    Pooling the pooled rows of an inner weight is equal to pooling its pooled columns. Each inner
    weight therefore has one invariant, which belongs to the level of the weight's outputs.
    """
    first, *inner, last = batch.weights
    *biases, last_bias = batch.biases
    incoming = [first.transpose(1, 2).flatten(2), *(reduce(w, 1, reduction) for w in inner)]
    outgoing = [*(reduce(w, 2, reduction) for w in inner), last.flatten(2)]
    nodes = [torch.cat(node, dim=-1) for node in map(Node, biases, incoming, outgoing)]
    sizes = [n * batch.num_channels for n in num_own_features(batch.spec)]
    levels = [reduce(x[..., :n], 1, reduction) for x, n in zip(nodes, sizes, strict=True)]
    return Features(torch.cat([*levels, last_bias.flatten(1)], dim=-1), nodes, inner)


def invariants(batch: WeightBatch, reduction: Reduction) -> Float[Tensor, "b i_c"]:
    """Compute only the invariants of ``pool``, at half the cost."""
    first, *inner, last = batch.weights
    *biases, last_bias = batch.biases
    incoming = [first.transpose(1, 2).flatten(2), *(w.flatten(1, 2) for w in inner)]
    sets = [*chain.from_iterable(zip(biases, incoming, strict=True)), last.flatten(2)]
    return torch.cat([*(reduce(x, 1, reduction) for x in sets), last_bias.flatten(1)], dim=-1)


def broadcast(features: Features, spec: WeightSpaceSpec) -> WeightBatch:
    """Broadcast invariants to nodes and nodes to weights; the adjoint of ``pool`` for ``"sum"``."""
    d_0, d_out = spec.dims[0], spec.dims[-1]
    c = features.invariants.shape[-1] // spec.num_invariants
    sizes = [n * c for n in (*num_own_features(spec), d_out)]
    *to_levels, last_bias = features.invariants.split(sizes, dim=-1)
    nodes = []
    for x, own, groups in zip(features.nodes, to_levels, spec.node_groups, strict=True):
        total = x + pad(own, (0, x.shape[-1] - own.shape[-1])).unsqueeze(1)
        nodes.append(Node(*total.split([n * c for n in groups], dim=-1)))
    weights = [
        nodes[0].incoming.unflatten(-1, (d_0, c)).transpose(1, 2),
        *(
            edges + before.outgoing.unsqueeze(2) + after.incoming.unsqueeze(1)
            for edges, (before, after) in zip(features.edges, pairwise(nodes), strict=True)
        ),
        nodes[-1].outgoing.unflatten(-1, (d_out, c)),
    ]
    biases = [*(node.bias for node in nodes), last_bias.unflatten(-1, (d_out, c))]
    return WeightBatch.from_tensors(chain.from_iterable(zip(weights, biases, strict=True)))


def reduce(x: Tensor, dim: int, reduction: Reduction) -> Tensor:
    """Compute the mean, sum or maximum over one dimension."""
    if reduction == "max":
        return maximum(x, dim)
    return x.mean(dim) if reduction == "mean" else x.sum(dim)


def num_own_features(spec: WeightSpaceSpec) -> list[int]:
    """Number of node features of each hidden level that ``pool`` maps to separate invariants."""
    *inner, last = spec.node_groups
    return [*(groups.bias + groups.incoming for groups in inner), sum(last)]


def second_moments(spec: WeightSpaceSpec, reduction: Reduction) -> Features:
    """Compute E[x²] of each feature for standard normal weights and biases.

    All neurons of a level have the same moments, so the result has one neuron for each level, and
    one channel.
    """
    ones = WeightBatch.from_flat(spec, torch.ones(1, spec.num_params, 1, dtype=torch.float64))
    counts = pool(ones, "sum")  # number of entries that each feature is pooled from
    nodes, edges = counts.nodes, counts.edges
    counts = Features(counts.invariants, [x[:, :1] for x in nodes], [x[:, :1, :1] for x in edges])
    return cast(Features, tree_map(partial(second_moment, reduction=reduction), counts))


def second_moment(count: Tensor, reduction: Reduction) -> Tensor:
    """Compute E[reduce(z_1, ..., z_n)²] for independent standard normal z: 1/n, n, or E[max²]."""
    if reduction != "max":
        return 1 / count if reduction == "mean" else count
    # The maximum has density n φ(z) Φ(z)^(n-1).
    n, z = count.unsqueeze(-1), torch.linspace(-12, 12, 4001, dtype=torch.float64)
    density = n * torch.exp(-(z**2) / 2) / (2 * torch.pi) ** 0.5 * torch.special.ndtr(z) ** (n - 1)
    return torch.trapezoid(z**2 * density, z)


def check_reduction(reduction: str) -> None:
    """Raise a ``ValueError`` with the choices if ``reduction`` is unknown."""
    if reduction not in get_args(Reduction):
        raise UserError(f"expected reduction in {get_args(Reduction)}, got {reduction!r}")
