"""The layer spans all equivariant maps: its rank equals an independent count."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from tests.strategies import specs
from torch.func import functional_call, jacrev

from dws.metanets.layers import EquivariantLinear, InvariantLinear
from dws.weightspace import Permutation, WeightBatch, WeightSpaceSpec

linear = pytest.mark.parametrize("reduction", ["mean", "sum"])


def rank_and_size(layer: torch.nn.Module, spec: WeightSpaceSpec) -> tuple[int, int]:
    """Rank of the map from parameters to the layer's matrix, and number of parameters."""
    layer = layer.double()
    units = WeightBatch.from_flat(spec, torch.eye(spec.num_params, dtype=torch.float64)[..., None])

    def matrix(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        columns = functional_call(layer, parameters, (units,))
        return (columns.flatten() if isinstance(columns, WeightBatch) else columns).flatten()

    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    jacobian = torch.cat([j.flatten(1) for j in jacrev(matrix)(parameters).values()], dim=1)
    return int(torch.linalg.matrix_rank(jacobian)), jacobian.shape[1]


@linear
@given(specs(1, 4))
@settings(max_examples=15, deadline=None)
def test_equivariant_layer_is_complete_and_minimal(reduction: str, spec: WeightSpaceSpec) -> None:
    layer = EquivariantLinear(spec, 1, 1, reduction=reduction, bias=False)
    rank, size = rank_and_size(layer, spec)
    assert rank == spec.num_equivariant_maps
    if min(spec.hidden_dims) > 1:  # otherwise some features are invariants too
        assert size == rank


@linear
@given(specs(1, 4))
@settings(max_examples=10, deadline=None)
def test_invariant_layer_is_complete_and_minimal(reduction: str, spec: WeightSpaceSpec) -> None:
    layer = InvariantLinear(spec, 1, 1, reduction=reduction, bias=False)
    assert rank_and_size(layer, spec) == (spec.num_invariants, spec.num_invariants)


def test_number_of_parameters_scales_with_channels() -> None:
    spec = WeightSpaceSpec((2, 8, 8, 3))
    layer = EquivariantLinear(spec, 3, 5)
    sizes = {name: p.numel() for name, p in layer.named_parameters()}
    assert sizes.pop("invariant_map.bias") == spec.num_invariants * 5
    assert sum(sizes.values()) == spec.num_equivariant_maps * 3 * 5


SMALL = [
    (1, 1, 1),
    (2, 1, 2, 1),
    (1, 2, 1),
    (2, 3, 1),
    (1, 2, 2, 1),
    (2, 2, 2, 1),
    (1, 2, 2, 2),
    (1, 2, 2, 2, 1),
]


@pytest.mark.parametrize("dims", SMALL)
def test_number_of_orbits_equals_the_closed_form(dims: tuple[int, ...]) -> None:
    spec = WeightSpaceSpec(dims)
    assert len(set(orbits(_moves(spec)))) == spec.num_invariants
    assert len(set(orbits(_pair_moves(spec)))) == spec.num_equivariant_maps


@linear
@pytest.mark.parametrize("dims", SMALL)
def test_layer_is_a_combination_of_orbit_indicators(reduction: str, dims: tuple[int, ...]) -> None:
    spec = WeightSpaceSpec(dims)
    layer = EquivariantLinear(spec, 1, 1, reduction=reduction, bias=False).double()
    units = torch.eye(spec.num_params, dtype=torch.float64)[..., None]
    matrix = layer(WeightBatch.from_flat(spec, units)).flatten().squeeze(-1).detach()
    values = matrix.flatten()
    orbit = torch.tensor(orbits(_pair_moves(spec)))
    assembled = values[orbit]  # each orbit's indicator times the value at its first pair
    torch.testing.assert_close(values, assembled, rtol=1e-12, atol=1e-12)
    assert len(values.round(decimals=9).unique()) == spec.num_equivariant_maps


def _moves(spec: WeightSpaceSpec) -> list[list[int]]:
    """Permutations of a network's entries by swaps of adjacent neurons (group generators)."""
    index = WeightBatch.from_flat(spec, torch.arange(spec.num_params)[None, :, None])
    moves = [list(range(spec.num_params))]
    for level, d in enumerate(spec.hidden_dims):
        for neuron in range(d - 1):
            levels = [torch.arange(n) for n in spec.hidden_dims]
            levels[level][[neuron, neuron + 1]] = levels[level][[neuron + 1, neuron]]
            moves.append(Permutation(tuple(levels)).apply(index).flatten().flatten().tolist())
    return moves


def _pair_moves(spec: WeightSpaceSpec) -> list[list[int]]:
    """The permutations on pairs of entries; pair (i, j) has the index i * num_params + j."""
    n = spec.num_params
    return [
        [move[i] * n + move[j] for i, j in product(range(n), repeat=2)] for move in _moves(spec)
    ]


def orbits(moves: list[list[int]]) -> list[int]:
    """For each point, the smallest point of its orbit under the permutations."""
    parent = list(range(len(moves[0])))

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for move in moves:
        for x in range(len(parent)):
            a, b = root(x), root(move[x])
            parent[max(a, b)] = min(a, b)
    return [root(x) for x in range(len(parent))]
