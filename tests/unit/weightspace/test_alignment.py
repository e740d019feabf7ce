from __future__ import annotations

import itertools

import pytest
import torch
from tests.conftest import random_batch

from dws.weightspace import Permutation, WeightSpaceSpec
from dws.weightspace.alignment import align, similarity
from dws.weightspace.transforms import permute_neurons

SPEC = WeightSpaceSpec((2, 8, 6, 7, 3))


def test_reference_of_another_dtype_gives_the_same_permutation() -> None:
    batch = random_batch(SPEC, 3, 2)
    expected = align(batch, batch[:1])
    got = align(batch, batch[:1].to(torch.float32))
    assert torch.equal(got.flatten(), expected.flatten())


def test_aligned_networks_are_permutations_of_the_originals() -> None:
    batch = random_batch(SPEC, 5, 2)
    aligned = align(batch, batch[:1])
    for before, after in zip(batch.tensors(), aligned.tensors(), strict=True):
        torch.testing.assert_close(
            after.flatten(1).sort(dim=1).values, before.flatten(1).sort(dim=1).values
        )
    assert torch.equal(aligned.flatten()[0], batch.flatten()[0])


def test_similarity_never_decreases() -> None:
    batch, reference = random_batch(SPEC, 40), random_batch(SPEC, 1, seed=1)
    aligned = align(batch, reference)
    gain = similarity(aligned, reference) - similarity(batch, reference)
    assert (gain >= -1e-9).all()
    assert (gain > 1).float().mean() > 0.9
    torch.testing.assert_close(align(aligned, reference).flatten(), aligned.flatten())


def test_alignment_of_one_hidden_level_is_optimal() -> None:
    spec = WeightSpaceSpec((2, 5, 1))
    batch, reference = random_batch(spec, 8), random_batch(spec, 1, seed=1)
    orders = [Permutation((torch.tensor(o),)) for o in itertools.permutations(range(5))]
    best = torch.stack([similarity(o.apply(batch), reference) for o in orders]).amax(0)
    torch.testing.assert_close(similarity(align(batch, reference), reference), best)


def test_permuted_reference_is_recovered() -> None:
    reference = random_batch(WeightSpaceSpec((2, 32, 32, 1)), 1)
    copies = reference[torch.zeros(20, dtype=torch.long)]
    noisy = copies + random_batch(copies.spec, 20, seed=1).map(lambda t: 0.05 * t)
    permuted = permute_neurons(noisy, torch.Generator().manual_seed(0))
    found = (align(permuted, reference).flatten() - noisy.flatten()).abs().amax(dim=(1, 2)) < 1e-12
    assert found.float().mean() > 0.4  # others end in local optima


def test_invalid_reference_is_rejected() -> None:
    batch = random_batch(SPEC, 3)
    with pytest.raises(ValueError, match=r"one reference .* got 3"):
        align(batch, batch)
    with pytest.raises(ValueError, match="expected networks of widths"):
        align(batch, random_batch(WeightSpaceSpec((2, 8, 3)), 1))
