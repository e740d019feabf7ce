from __future__ import annotations

import pytest
import torch

from dws.signals.source import balanced_subset, derive_seed, limit_sizes

SIZES = {"train": 55_000, "val": 5_000, "test": 10_000}


def test_a_limit_is_shared_in_proportion_and_exact() -> None:
    limited = limit_sizes(SIZES, 3000)
    assert sum(limited.values()) == 3000
    assert limited["val"] == 3000 * 5_000 // 70_000


def test_no_limit_takes_all() -> None:
    assert limit_sizes(SIZES, None) == SIZES


@pytest.mark.parametrize("limit", [2, 70_001, -5])
def test_impossible_limits_are_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=r"expected zoo.limit between 3 and 70000 .* got"):
        limit_sizes(SIZES, limit)


def draw(size: int, seed: int = 0) -> torch.Tensor:
    classes = torch.arange(100) % 10
    classes[:50] = 0  # class 0 is everywhere
    return classes[balanced_subset(classes, size, torch.Generator().manual_seed(seed))]


def test_classes_are_balanced() -> None:
    assert torch.bincount(draw(30), minlength=10).tolist() == [3] * 10


def test_rare_classes_give_what_they_have() -> None:
    counts = torch.bincount(draw(60), minlength=10)
    assert counts.sum() == 60
    assert counts[1:].tolist() == [5] * 9


def test_smaller_subsets_are_nested() -> None:
    classes = torch.arange(100) % 7
    small, large = (
        set(balanced_subset(classes, n, torch.Generator().manual_seed(1)).tolist())
        for n in (20, 50)
    )
    assert small < large


def test_seeds_differ_by_each_number() -> None:
    seeds = {derive_seed(*numbers) for numbers in [(0, 1), (1, 0), (0, 1, 0), (0, 2)]}
    assert len(seeds) == 4
