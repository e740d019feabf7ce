"""The layer spans all equivariant maps: its rank, and a count that knows nothing of the layer."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, jacrev

from dws.metanets.layers import EquivariantLinear, InvariantLinear
from dws.weightspace import Permutation, WeightBatch, WeightSpaceSpec

ends = st.integers(1, 4)
specs = st.builds(
    lambda first, hidden, last: WeightSpaceSpec((first, *hidden, last)),
    ends,
    st.lists(st.integers(2, 4), min_size=1, max_size=4),
    ends,
)
linear = pytest.mark.parametrize("reduction", ["mean", "sum"])


def rank_and_size(layer: torch.nn.Module, spec: WeightSpaceSpec) -> tuple[int, int]:
    """Rank of the layer's matrix as a function of its parameters, and their number."""
    layer = layer.double()
    units = WeightBatch.from_flat(spec, torch.eye(spec.num_params, dtype=torch.float64)[..., None])

    def matrix(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        columns = functional_call(layer, parameters, (units,))
        return (columns.flatten() if isinstance(columns, WeightBatch) else columns).flatten()

    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    jacobian = torch.cat([j.flatten(1) for j in jacrev(matrix)(parameters).values()], dim=1)
    return int(torch.linalg.matrix_rank(jacobian)), jacobian.shape[1]


@linear
@given(specs)
@settings(max_examples=10, deadline=None)
def test_the_equivariant_layer_is_complete_and_minimal(
    reduction: str, spec: WeightSpaceSpec
) -> None:
    layer = EquivariantLinear(spec, 1, 1, reduction=reduction, bias=False)
    expected = spec.num_equivariant_maps
    assert rank_and_size(layer, spec) == (expected, expected)


@linear
@given(specs)
@settings(max_examples=10, deadline=None)
def test_the_invariant_layer_is_complete_and_minimal(reduction: str, spec: WeightSpaceSpec) -> None:
    layer = InvariantLinear(spec, 1, 1, reduction=reduction, bias=False)
    assert rank_and_size(layer, spec) == (spec.num_invariants, spec.num_invariants)


def test_parameters_scale_with_channels() -> None:
    spec = WeightSpaceSpec((2, 8, 8, 3))
    layer = EquivariantLinear(spec, 3, 5)
    sizes = {name: p.numel() for name, p in layer.named_parameters()}
    assert sizes.pop("invariant_map.bias") == spec.num_invariants * 5
    assert sum(sizes.values()) == spec.num_equivariant_maps * 3 * 5


@pytest.mark.parametrize(
    "dims", [(1, 2, 1), (2, 3, 1), (1, 2, 2, 1), (2, 2, 2, 1), (1, 2, 2, 2), (1, 2, 2, 2, 1)]
)
def test_orbits_of_index_pairs_are_as_many_as_the_closed_form_says(dims: tuple[int, ...]) -> None:
    spec = WeightSpaceSpec(dims)
    # how each generator of the group moves the entries of a flat network
    index = WeightBatch.from_flat(spec, torch.arange(spec.num_params)[None, :, None])
    moves = []
    for level, d in enumerate(spec.hidden_dims):
        for neuron in range(d - 1):  # neighbouring swaps generate all permutations
            levels = [torch.arange(n) for n in spec.hidden_dims]
            levels[level][[neuron, neuron + 1]] = levels[level][[neuron + 1, neuron]]
            moves.append(Permutation(tuple(levels)).apply(index).flatten().flatten().tolist())
    assert _count_orbits(range(spec.num_params), moves) == spec.num_invariants
    pairs = list(product(range(spec.num_params), repeat=2))
    n = spec.num_params
    pair_moves = [[move[i] * n + move[j] for i, j in pairs] for move in moves]
    assert _count_orbits(range(n * n), pair_moves) == spec.num_equivariant_maps


def _count_orbits(points: range, moves: list[list[int]]) -> int:
    parent = list(points)

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for move in moves:
        for x in points:
            parent[root(x)] = root(move[x])
    return sum(root(x) == x for x in points)
