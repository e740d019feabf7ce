"""The fast layer and network equal a blockwise reference with the same coefficients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.block_linear import BlockwiseLinear, copy_coefficients
from tests.conftest import random_batch, randomise
from tests.strategies import specs

from dws.metanets import DWSNet
from dws.metanets.layers import EquivariantLinear
from dws.weightspace import WeightBatch, WeightSpaceSpec

reductions = pytest.mark.parametrize("reduction", ["mean", "sum", "max"])


def assert_same(got: WeightBatch, expected: WeightBatch) -> None:
    for g, e in zip(got.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(g, e, rtol=1e-10, atol=1e-10)


def blockwise(layer: EquivariantLinear) -> BlockwiseLinear:
    blocks = BlockwiseLinear(
        layer.spec, layer.in_channels, layer.out_channels, reduction=layer.reduction
    ).double()
    copy_coefficients(layer, blocks)
    return blocks


@reductions
@given(specs(1, 5), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_layer_equals_the_blockwise_reference(
    reduction: str, spec: WeightSpaceSpec, seed: int
) -> None:
    layer = EquivariantLinear(spec, 2, 3, reduction=reduction)
    randomise(layer.double(), seed=seed)
    blocks = blockwise(layer)
    coefficients = sum(f.weight.numel() for f in blocks.blocks.values())
    if min(spec.hidden_dims) > 1:
        assert coefficients == 2 * 3 * spec.num_equivariant_maps
    batch = random_batch(spec, 3, 2, seed=seed)
    assert_same(layer(batch), blocks(batch))


@reductions
def test_network_equals_the_blockwise_reference(reduction: str) -> None:
    spec = WeightSpaceSpec((2, 5, 4, 3))
    net = DWSNet(spec, out_features=3, hidden_channels=4, num_layers=3, reduction=reduction)
    randomise(net.double())
    batch = random_batch(spec, 6)
    expected = net(batch)
    net.trunk.layers = torch.nn.ModuleList(blockwise(layer) for layer in net.trunk.layers)
    torch.testing.assert_close(net(batch), expected, rtol=1e-9, atol=1e-9)
