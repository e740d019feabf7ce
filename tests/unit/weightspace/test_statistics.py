from __future__ import annotations

import pytest
import torch
from tests.conftest import random_batch

from dws.weightspace import (
    Permutation,
    SignFlip,
    Standardize,
    WeightBatch,
    WeightSpaceSpec,
    assert_equivariant,
    layer_moments,
)

SPEC = WeightSpaceSpec((2, 5, 5, 1))


def test_standardised_reference_has_mean_0_and_deviation_1() -> None:
    reference = random_batch(SPEC, 50).map(lambda t: 3 * t + 2)
    standardized = Standardize(SPEC).double().fit(reference)(reference)
    _, std = layer_moments([standardized])
    torch.testing.assert_close(std, torch.ones(6, dtype=torch.float64))
    assert all(abs(float(t.mean())) < 1e-6 for t in standardized.tensors())


def test_standardisation_commutes_with_permutations() -> None:
    reference = random_batch(SPEC, 50).map(lambda t: 3 * t + 2)
    layer = Standardize(SPEC).double().fit(reference)
    g = Permutation.random(SPEC, torch.Generator().manual_seed(0))
    assert_equivariant(layer, random_batch(SPEC), g)


def test_state_dict_contains_the_statistics() -> None:
    fitted = Standardize(SPEC).fit(random_batch(SPEC, 50, dtype=torch.float32))
    loaded = Standardize(SPEC)
    loaded.load_state_dict(fitted.state_dict())
    batch = random_batch(SPEC, dtype=torch.float32)
    assert torch.equal(loaded(batch).flatten(), fitted(batch).flatten())


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_nonfinite_weights_are_rejected(value: float) -> None:
    batch = random_batch(SPEC)
    batch.weights[1][2, 0, 0] = value
    with pytest.raises(ValueError, match=r"NaN or infinite.*dws-zoo verify"):
        Standardize(SPEC).fit(batch)


@pytest.mark.parametrize(("value", "keep_signs"), [(0.0, False), (0.0, True), (0.1, False)])
def test_constant_layer_is_not_scaled(value: float, keep_signs: bool) -> None:
    batch = random_batch(SPEC, 50).map(lambda t: 3 * t + 2)
    biases = tuple(torch.full_like(b, value) for b in batch.biases)
    reference = WeightBatch(batch.weights, biases)
    layer = Standardize(SPEC).double().fit(reference, keep_signs=keep_signs)
    other = layer(batch)
    for i, bias in enumerate(other.biases):
        torch.testing.assert_close(bias, batch.biases[i] - value, rtol=1e-6, atol=1e-6)
    assert layer(reference).flatten().isfinite().all()
    assert layer.std[1::2].tolist() == [0.0] * 3  # so proportional noise is zero


def test_moments_of_batches_equal_moments_of_all_networks() -> None:
    spec = WeightSpaceSpec((2, 3, 1))
    batches = [
        random_batch(spec, n, seed=n).map(lambda t, n=n: (1 + n) * t + 5 * n) for n in (1, 4, 2)
    ]
    whole = WeightBatch.from_flat(spec, torch.cat([b.flatten() for b in batches]))
    mean, std = layer_moments(batches)
    torch.testing.assert_close(mean, torch.stack([t.mean() for t in whole.tensors()]))
    torch.testing.assert_close(std, torch.stack([t.std() for t in whole.tensors()]))


@pytest.mark.parametrize("batches", [[], [random_batch(SPEC, 0)]])
def test_moments_require_networks(batches: list[WeightBatch]) -> None:
    with pytest.raises(ValueError, match="no networks"):
        layer_moments(batches)


@pytest.mark.parametrize("dims", [(2, 5, 1), (2, 5, 4, 3, 1), (2, 6, 5, 1)])
def test_networks_of_another_architecture_are_rejected(dims: tuple[int, ...]) -> None:
    layer = Standardize(SPEC).double().fit(random_batch(SPEC, 50))
    with pytest.raises(ValueError, match=r"expected networks of widths \(2, 5, 5, 1\)"):
        layer(random_batch(WeightSpaceSpec(dims)))


def test_moments_are_float64_on_the_cpu() -> None:
    mean, std = layer_moments([random_batch(WeightSpaceSpec((1, 2, 1)), 1)])
    assert (mean.device.type, std.device.type) == ("cpu", "cpu")
    assert std.isfinite().all()
    assert std[-1] == 0


def test_constant_layer_is_scaled_if_signs_are_kept() -> None:
    batch = random_batch(SPEC, 50)
    biases = tuple(torch.full_like(b, 0.1) for b in batch.biases)
    reference = WeightBatch(batch.weights, biases)
    scaled = Standardize(SPEC).double().fit(reference, keep_signs=True)(reference)
    for bias in scaled.biases[:-1]:
        torch.testing.assert_close(bias, torch.ones_like(bias), rtol=1e-6, atol=0)
    assert not bool(scaled.biases[-1].abs().max() > 1e-6)


def test_keep_signs_commutes_with_sign_flips() -> None:
    reference = random_batch(SPEC, 50).map(lambda t: t + 1)
    layer = Standardize(SPEC).double().fit(reference, keep_signs=True)
    scaled = layer(reference)
    flip = SignFlip.random(SPEC, torch.Generator().manual_seed(0), num_networks=50)
    flipped = flip.apply(reference)
    fitted_to_flipped = Standardize(SPEC).double().fit(flipped, keep_signs=True)
    assert torch.equal(fitted_to_flipped.std, layer.std)
    torch.testing.assert_close(layer(flipped).flatten(), flip.apply(scaled).flatten())
    *hidden, last_bias = zip(scaled.tensors(), reference.tensors(), strict=True)
    for got, before in hidden:
        assert torch.equal(got.sign(), before.sign())
    assert abs(float(last_bias[0].mean())) < 1e-6
