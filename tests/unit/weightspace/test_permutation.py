from __future__ import annotations

import pytest
import torch
from tests.conftest import random_batch

from dws.inr import siren_apply
from dws.weightspace import Permutation, WeightBatch, WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 5, 6, 3))


def draw(seed: int) -> Permutation:
    return Permutation.random(SPEC, torch.Generator().manual_seed(seed))


def assert_same(a: WeightBatch, b: WeightBatch) -> None:
    assert torch.equal(a.flatten(), b.flatten())


def test_permuted_networks_compute_the_same_function() -> None:
    batch = random_batch(SPEC)
    points = torch.rand(7, 2, dtype=torch.float64)
    permuted = draw(1).apply(batch)
    assert not torch.equal(permuted.flatten(), batch.flatten())
    torch.testing.assert_close(siren_apply(permuted, points), siren_apply(batch, points))


def test_inverse_undoes() -> None:
    batch, g = random_batch(SPEC), draw(1)
    assert_same(g.inverse().apply(g.apply(batch)), batch)


def test_compose_applies_the_right_one_first() -> None:
    batch, g, h = random_batch(SPEC), draw(1), draw(2)
    assert_same(g.compose(h).apply(batch), g.apply(h.apply(batch)))


def test_the_same_seed_draws_the_same() -> None:
    assert_same(draw(3).apply(random_batch(SPEC)), draw(3).apply(random_batch(SPEC)))


@pytest.mark.parametrize("level", [[0, 0, 1], [1, 2, 3], [[0, 1], [0, 0]]])
def test_what_is_no_permutation_is_refused(level: list[int]) -> None:
    with pytest.raises(ValueError, match="expected a permutation"):
        Permutation((torch.tensor(level),))


def test_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected hidden widths \(5, 6\), got \(4, 6\)"):
        draw(0).apply(random_batch(WeightSpaceSpec((2, 4, 6, 3))))


def test_composing_other_levels_is_refused() -> None:
    other = Permutation((torch.arange(5),))
    with pytest.raises(ValueError, match="expected permutations of levels"):
        draw(0).compose(other)


def test_each_network_can_have_an_order_of_its_own() -> None:
    batch = random_batch(SPEC)
    of_each = [draw(seed) for seed in range(batch.batch_size)]
    together = Permutation(
        tuple(torch.stack(levels) for levels in zip(*(g.levels for g in of_each), strict=True))
    )
    expected = [g.apply(batch[i : i + 1]).flatten() for i, g in enumerate(of_each)]
    assert torch.equal(together.apply(batch).flatten(), torch.cat(expected))
    assert_same(together.inverse().apply(together.apply(batch)), batch)
    assert_same(together.compose(draw(9)).apply(batch), together.apply(draw(9).apply(batch)))
