"""Random numbers and subsets that depend on a seed alone."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def derive_seed(*numbers: int) -> int:
    """A 64-bit seed for ``torch.Generator`` from a zoo's seed, a signal's id, ..."""
    # the count goes first: trailing zeros alone do not change a SeedSequence
    return int(np.random.SeedSequence((len(numbers), *numbers)).generate_state(1, np.uint64)[0])


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
