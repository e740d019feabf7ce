from __future__ import annotations

import torch

from dws.seeding import balanced_subset, derive_seed


def draw(size: int, seed: int = 0) -> torch.Tensor:
    classes = torch.arange(100) % 10
    classes[:50] = 0  # class 0 is the majority
    return classes[balanced_subset(classes, size, torch.Generator().manual_seed(seed))]


def test_subset_is_balanced() -> None:
    assert torch.bincount(draw(30), minlength=10).tolist() == [3] * 10


def test_rare_classes_are_included_completely() -> None:
    counts = torch.bincount(draw(60), minlength=10)
    assert counts.sum() == 60
    assert counts[1:].tolist() == [5] * 9


def test_subsets_are_nested() -> None:
    classes = torch.arange(100) % 7
    small, large = (
        set(balanced_subset(classes, n, torch.Generator().manual_seed(1)).tolist())
        for n in (20, 50)
    )
    assert small < large


def test_derived_seed_depends_on_every_number() -> None:
    seeds = {derive_seed(*numbers) for numbers in [(0, 1), (1, 0), (0, 1, 0), (0, 2)]}
    assert len(seeds) == 4
