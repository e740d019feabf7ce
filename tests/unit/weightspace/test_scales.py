"""Layer scales, and distances of networks from reference networks."""

from __future__ import annotations

import math

import pytest
import torch
from tests.conftest import random_batch

from dws.inr.siren import init_siren
from dws.weightspace import (
    Permutation,
    ScaleReference,
    SignFlip,
    WeightBatch,
    WeightSpaceSpec,
    layer_scales,
)

SPEC = WeightSpaceSpec((2, 8, 8, 1))
NETWORKS = random_batch(SPEC, 200)
REFERENCE = ScaleReference.fit([NETWORKS])


def test_layer_scale_is_the_root_mean_square() -> None:
    batch = random_batch(SPEC, 3)
    expected = [
        [math.sqrt(sum(x * x for x in t[i].flatten().tolist()) / t[i].numel())
         for t in batch.tensors()]
        for i in range(3)
    ]  # fmt: skip
    assert torch.allclose(layer_scales(batch), torch.tensor(expected, dtype=torch.float64))


def test_distance_is_in_standard_deviations_for_independent_layers() -> None:
    nothing = torch.zeros(2, dtype=torch.float64)
    precision = torch.diag(1 / torch.tensor([0.5, 2.0], dtype=torch.float64) ** 2)
    weight = torch.full((1, 1, 1, 1), math.exp(1.5), dtype=torch.float64)
    bias = torch.full((1, 1, 1), math.exp(8.0), dtype=torch.float64)
    reference = ScaleReference(nothing, nothing, precision, 9.0)
    assert float(reference.distance(WeightBatch((weight,), (bias,)))) == pytest.approx(5.0)


def test_distance_is_invariant_to_permutations_and_sign_flips() -> None:
    generator = torch.Generator().manual_seed(0)
    for kind in (Permutation, SignFlip):
        moved = kind.random(SPEC, generator).apply(NETWORKS)
        assert torch.allclose(REFERENCE.distance(moved), REFERENCE.distance(NETWORKS))


def test_reference_does_not_depend_on_the_batches() -> None:
    parts = ScaleReference.fit([NETWORKS[:150], NETWORKS[150:]])
    assert torch.allclose(parts.precision, REFERENCE.precision)
    assert parts.limit == pytest.approx(REFERENCE.limit)


def test_reference_networks_do_not_exceed_the_limit() -> None:
    outlier = WeightBatch.cat([NETWORKS, NETWORKS[:1].map(lambda t: 5 * t)])
    reference = ScaleReference.fit([outlier])
    assert bool((reference.distance(outlier) <= reference.limit).all())
    assert reference.limit == pytest.approx(float(reference.distance(outlier)[-1]))


@pytest.mark.parametrize("factor", [0.25, 4.0])
def test_rescaled_networks_exceed_the_limit(factor: float) -> None:
    rescaled = random_batch(SPEC, 50, seed=1).map(lambda t: factor * t)
    assert bool((REFERENCE.distance(rescaled) > REFERENCE.limit).all())
    others = random_batch(SPEC, 50, seed=1)
    assert bool((REFERENCE.distance(others) <= REFERENCE.limit).all())


def test_changes_of_constant_layers_exceed_the_limit() -> None:
    untrained = init_siren(SPEC, range(20))  # hidden biases are 0
    reference = ScaleReference.fit([untrained])
    assert bool((reference.distance(init_siren(SPEC, range(20, 40))) < reference.limit).all())
    first, second, third = untrained.biases
    moved = WeightBatch(untrained.weights, (first + 0.01, second, third))
    assert bool((reference.distance(moved) > reference.limit).all())


def test_network_with_nan_is_not_within_the_limit() -> None:
    bad = NETWORKS[:1].map(lambda t: t * math.nan)
    assert not bool(REFERENCE.distance(bad) <= REFERENCE.limit)


@pytest.mark.parametrize(
    "networks", [[], [NETWORKS[:1]], [NETWORKS[:2].map(lambda t: t * math.inf)]]
)
def test_reference_needs_two_finite_networks(networks: list[WeightBatch]) -> None:
    with pytest.raises(ValueError, match="at least two networks"):
        ScaleReference.fit(networks)


def test_networks_with_another_number_of_layers_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"have 3 layers, but these networks have 2"):
        REFERENCE.distance(random_batch(WeightSpaceSpec((2, 8, 1)), 2))
