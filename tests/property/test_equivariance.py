"""Symmetry for random architectures, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import random_batch, randomise
from tests.strategies import specs

from dws.metanets import DWSNet, EquivariantDWSNet, EquivariantSignDWSNet, SignDWSNet
from dws.metanets.layers import (
    EquivariantAttention,
    EquivariantLinear,
    InvariantLinear,
    Norm,
)
from dws.weightspace import (
    Permutation,
    SignedPermutation,
    Symmetry,
    WeightBatch,
    WeightSpaceSpec,
    assert_equivariant,
    assert_invariant,
)

seeds = st.integers(0, 2**32)
reductions = pytest.mark.parametrize("reduction", ["mean", "sum", "max"])


def draw(
    spec: WeightSpaceSpec, seed: int, kind: type[Symmetry] = Permutation
) -> tuple[WeightBatch, Symmetry]:
    """Draw networks with at least two neurons on each hidden level and a nontrivial symmetry."""
    generator = torch.Generator().manual_seed(seed)
    return random_batch(spec, 3, 2, seed=seed), kind.random(spec, generator, nontrivial=True)


@reductions
@given(specs(2, 6), seeds)
@settings(max_examples=25, deadline=None)
def test_equivariant_linear_is_equivariant(
    reduction: str, spec: WeightSpaceSpec, seed: int
) -> None:
    layer = randomise(EquivariantLinear(spec, 2, 3, reduction=reduction), seed=seed).double()
    assert_equivariant(layer, *draw(spec, seed))


@reductions
@given(specs(2, 6), seeds)
@settings(max_examples=25, deadline=None)
def test_invariant_linear_is_invariant(reduction: str, spec: WeightSpaceSpec, seed: int) -> None:
    layer = randomise(InvariantLinear(spec, 2, 3, reduction=reduction), seed=seed).double()
    assert_invariant(layer, *draw(spec, seed))


@reductions
@given(specs(2, 6), seeds)
@settings(max_examples=15, deadline=None)
def test_attention_is_equivariant(reduction: str, spec: WeightSpaceSpec, seed: int) -> None:
    layer = EquivariantAttention(spec, 2, 4, reduction=reduction, num_heads=2)
    assert_equivariant(randomise(layer, seed=seed).double(), *draw(spec, seed))


@pytest.mark.parametrize("kind", ["batch", "layer"])
@given(specs(2, 6), seeds)
@settings(max_examples=25, deadline=None)
def test_norm_is_equivariant(kind: str, spec: WeightSpaceSpec, seed: int) -> None:
    batch, permutation = draw(spec, seed)
    # layer norm maps two channels to plus and minus one; with three, networks differ
    batch = batch.map(lambda t: torch.cat([t, t[..., :1] * t[..., 1:]], dim=-1))
    assert_equivariant(randomise(Norm(spec, 3, kind), seed=seed).double(), batch, permutation)


@pytest.mark.parametrize("set_layer", ["deepsets", "attention"])
@given(specs(2, 6), seeds)
@settings(max_examples=15, deadline=None)
def test_network_to_network_dwsnet_is_equivariant(
    set_layer: str, spec: WeightSpaceSpec, seed: int
) -> None:
    net = EquivariantDWSNet(
        spec, in_channels=2, hidden_channels=4, num_layers=3, skip=True, set_layer=set_layer
    )
    assert_equivariant(randomise(net, seed=seed).double().eval(), *draw(spec, seed))


@reductions
@given(specs(2, 6), seeds)
@settings(max_examples=15, deadline=None)
def test_dwsnet_is_invariant(reduction: str, spec: WeightSpaceSpec, seed: int) -> None:
    net = DWSNet(
        spec, in_channels=2, out_features=3, hidden_channels=4, num_layers=3, reduction=reduction
    )
    assert_invariant(randomise(net, seed=seed).double().eval(), *draw(spec, seed))


@given(specs(3, 6), seeds)  # every cyclic shift of two neurons is a permutation
@settings(max_examples=25, deadline=None)
def test_broken_layer_fails_the_check(spec: WeightSpaceSpec, seed: int) -> None:
    layer = randomise(EquivariantLinear(spec, 2, 2), seed=seed).double()

    def broken(batch: WeightBatch) -> WeightBatch:
        first, *others = layer(batch).biases
        weights = layer(batch).weights
        return WeightBatch(weights, (first + first.roll(1, dims=1) ** 2, *others))

    batch, _ = draw(spec, seed)
    swap_first_two = Permutation(
        tuple(torch.tensor([1, 0, *range(2, d)]) for d in spec.hidden_dims)
    )
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(broken, batch, swap_first_two)


@given(specs(2, 6), seeds)
@settings(max_examples=15, deadline=None)
def test_sign_dwsnet_is_invariant(spec: WeightSpaceSpec, seed: int) -> None:
    net = SignDWSNet(spec, in_channels=2, out_features=3, hidden_channels=4, num_layers=2)
    net = randomise(net, seed=seed).double().eval()
    assert_invariant(net, *draw(spec, seed, SignedPermutation))


@given(specs(2, 6), seeds)
@settings(max_examples=15, deadline=None)
def test_network_to_network_sign_dwsnet_is_equivariant(spec: WeightSpaceSpec, seed: int) -> None:
    net = EquivariantSignDWSNet(
        spec, in_channels=2, out_channels=3, hidden_channels=4, num_layers=2
    )
    net = randomise(net, seed=seed).double()
    assert_equivariant(net, *draw(spec, seed, SignedPermutation))
