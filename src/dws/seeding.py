"""Seeds and random subsets that are reproducible from a seed."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def derive_seed(*numbers: int) -> int:
    """Derive a 64-bit seed for ``torch.Generator`` from integers such as a zoo's seed and an id."""
    # The count comes first because a SeedSequence ignores trailing zeros.
    return int(np.random.SeedSequence((len(numbers), *numbers)).generate_state(1, np.uint64)[0])


def balanced_subset(
    classes: Int[Tensor, " n"], size: int, generator: torch.Generator
) -> Int[Tensor, " size"]:
    """Draw a random subset whose classes are as balanced as possible.

    With the same generator state, a smaller subset is contained in every larger one.

    Args:
        classes: Class of each candidate, (n,).
        size: Size of the subset, at most n.
        generator: Random generator for the order within each class.

    Returns:
        Sorted indices of the subset, (size,).
    """
    order = torch.randperm(len(classes), generator=generator)
    shuffled = classes[order]
    rank = torch.empty_like(order)  # 0 for the first of its class, 1 for the second, ...
    for label in classes.unique():
        is_label = shuffled == label
        rank[is_label] = torch.arange(int(is_label.sum()))
    by_rank = (rank * (int(classes.max()) + 1) + shuffled).argsort()
    return order[by_rank[:size]].sort().values
