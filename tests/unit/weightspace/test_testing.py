"""The assertions fail for broken functions and vacuous checks."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import random_batch

from dws.weightspace import (
    Permutation,
    WeightBatch,
    WeightSpaceSpec,
    assert_equivariant,
    assert_invariant,
)

SPEC = WeightSpaceSpec((2, 5, 5, 1))
G = Permutation.random(SPEC, torch.Generator().manual_seed(0))


def test_function_of_one_neuron_fails_the_invariance_check() -> None:
    with pytest.raises(AssertionError, match="not invariant"):
        assert_invariant(lambda x: x.biases[0][:, :1], random_batch(SPEC), G)


def test_sum_over_neurons_passes_the_invariance_check() -> None:
    assert_invariant(lambda x: x.biases[0].sum(1), random_batch(SPEC), G)


def test_map_with_a_special_neuron_fails_the_equivariance_check() -> None:
    def broken(batch: WeightBatch) -> WeightBatch:
        first, *others = batch.biases
        factors = torch.arange(1.0, 6.0, dtype=first.dtype)[:, None]
        return WeightBatch(batch.weights, (first * factors, *others))

    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(broken, random_batch(SPEC), G)


@pytest.mark.parametrize("function", [lambda x: 0 * x.biases[0], lambda x: 0 * x.biases[0] + 1])
def test_zero_or_constant_outputs_fail_the_check(function: object) -> None:
    with pytest.raises(AssertionError, match="the check is vacuous"):
        assert_invariant(function, random_batch(SPEC), G)


def test_identity_element_fails_the_check() -> None:
    identity = Permutation.identity(SPEC)
    with pytest.raises(AssertionError, match="does not change any network"):
        assert_invariant(lambda x: x.biases[0].sum(1), random_batch(SPEC), identity)
    with pytest.raises(AssertionError, match="does not change any network"):
        assert_equivariant(lambda x: x, random_batch(SPEC), identity)


def test_check_requires_two_networks() -> None:
    with pytest.raises(ValueError, match="expected at least 2 networks"):
        assert_invariant(lambda x: x.biases[0].sum(1), random_batch(SPEC, 1), G)
