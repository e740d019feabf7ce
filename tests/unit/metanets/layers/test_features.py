from __future__ import annotations

from typing import get_args

import pytest
import torch
from tests.conftest import random_batch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from dws.metanets.layers.features import Features, Reduction, broadcast, invariants, pool
from dws.weightspace import WeightSpaceSpec

dims = pytest.mark.parametrize("dims", [(2, 4, 1), (2, 4, 3, 1), (3, 2, 4, 3, 2), (1, 1, 5, 2)])


def inner(x: object, y: object) -> Tensor:
    pairs = zip(tree_leaves(x), tree_leaves(y), strict=True)
    return torch.stack([(a * b).sum() for a, b in pairs]).sum()


def random_like(features: Features) -> Features:
    generator = torch.Generator().manual_seed(1)
    return tree_map(lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype), features)


@dims
def test_broadcast_is_the_adjoint_of_the_sum(dims: tuple[int, ...]) -> None:
    spec = WeightSpaceSpec(dims)
    x = random_batch(spec, 3, 2)
    pooled = pool(x, "sum")
    y = random_like(pooled)
    torch.testing.assert_close(inner(pooled, y), inner(x, broadcast(y, spec)))


@dims
@pytest.mark.parametrize("reduction", get_args(Reduction))
def test_invariants_function_equals_pool(dims: tuple[int, ...], reduction: Reduction) -> None:
    batch = random_batch(WeightSpaceSpec(dims), 3, 2)
    torch.testing.assert_close(invariants(batch, reduction), pool(batch, reduction).invariants)


@dims
def test_invariants_are_pooled_weights_and_biases(dims: tuple[int, ...]) -> None:
    spec = WeightSpaceSpec(dims)
    batch = random_batch(spec, 3, 2)
    first, *others, last = batch.weights
    expected = [batch.biases[0].amax(1), first.transpose(1, 2).flatten(2).amax(1)]
    for bias, weight in zip(batch.biases[1:-1], others, strict=True):
        expected += [bias.amax(1), weight.amax((1, 2))]
    expected += [last.flatten(2).amax(1), batch.biases[-1].flatten(1)]
    assert torch.equal(pool(batch, "max").invariants, torch.cat(expected, dim=1))


def test_node_groups_have_the_order_of_the_spec() -> None:
    spec = WeightSpaceSpec((3, 4, 5, 2))
    nodes = pool(random_batch(spec, 2, 7), "mean").nodes
    assert [x.shape for x in nodes] == [(2, 4, 7 * 5), (2, 5, 7 * 4)]
    assert [tuple(groups) for groups in spec.node_groups] == [(1, 3, 1), (1, 1, 2)]
