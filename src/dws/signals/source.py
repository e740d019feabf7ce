"""What a source of signals has to offer, and random numbers that depend on a signal alone."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

SPLITS: tuple[Literal["train"], Literal["val"], Literal["test"]] = ("train", "val", "test")


class SignalSource(Protocol):
    """Signals, numbered from 0, that share their coordinates. Write one to add a zoo.

    Attributes:
        name: Written to the zoo's manifest.
        coordinates: The P points at which each signal is known, (P, d_0).
        num_outputs: d_M, values a point.
        grid: (rows, columns) if the points form an image, row by row, else None.
    """

    name: str
    coordinates: Float[Tensor, "p d_0"]
    num_outputs: int
    grid: tuple[int, int] | None

    def split(self, limit: int | None) -> dict[str, Int[Tensor, " n"]]:
        """Signal ids of "train", "val" and "test", disjoint; about ``limit`` in all if given."""

    def values(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n p d_m"]:
        """The signals, (n, P, d_M)."""

    def labels(self, ids: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """Named labels, each (n,)."""

    def describe(self) -> dict[str, object]:
        """What the signals depend on, for the manifest: JSON values only."""


def derive_seed(*numbers: int) -> int:
    """A 64-bit seed for ``torch.Generator`` from a zoo's seed, a signal's id, ..."""
    # the count goes first: trailing zeros alone do not change a SeedSequence
    return int(np.random.SeedSequence((len(numbers), *numbers)).generate_state(1, np.uint64)[0])


def limit_sizes(sizes: dict[str, int], limit: int | None) -> dict[str, int]:
    """Scale the sizes of all splits to ``limit`` in all, in proportion and at least one each.

    Raises:
        ValueError: If ``limit`` is less than one signal a split, or more than there are.
    """
    total = sum(sizes.values())
    if limit is None:
        return sizes
    if not len(sizes) <= limit <= total:
        raise ValueError(
            f"expected zoo.limit between {len(sizes)} and {total} (train/val/test = "
            f"{'/'.join(str(n) for n in sizes.values())}), got {limit}"
        )
    limited = {name: max(1, limit * size // total) for name, size in sizes.items()}
    limited["train"] += limit - sum(limited.values())
    return limited


def balanced_subset(
    classes: Int[Tensor, " n"], size: int, generator: torch.Generator
) -> Int[Tensor, " size"]:
    """Positions of a random subset with as equal a number of each class as there can be, sorted.

    With the same generator state a smaller subset is part of every larger one.

    Args:
        classes: The class of each candidate, (n,).
        size: At most n.
        generator: Draws the order within each class.
    """
    order = torch.randperm(len(classes), generator=generator)
    shuffled = classes[order]
    rank = torch.empty_like(order)  # 0 for the first of its class, 1 for the second, ...
    for label in classes.unique():
        where = shuffled == label
        rank[where] = torch.arange(int(where.sum()))
    by_rank = (rank * (int(classes.max()) + 1) + shuffled).argsort()
    return order[by_rank[:size]].sort().values
