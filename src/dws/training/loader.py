"""A split of a zoo in memory, cut into batches by index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from dws.errors import UserError
from dws.seeding import balanced_subset, derive_seed
from dws.tasks import AnyTask, targets_of
from dws.weightspace import WeightBatch
from dws.zoo import ZooSplit


@dataclass(frozen=True, eq=False)
class LabelledNetworks:
    """All networks of a split and their targets, on one device.

    Attributes:
        weights: n networks.
        targets: (n,) or (n, K); of a ``NetworkTask`` (n, ...).
    """

    weights: WeightBatch
    targets: Tensor

    @classmethod
    def load(
        cls,
        split: ZooSplit,
        task: AnyTask,
        device: torch.device,
        *,
        num_signals: int | None = None,
        repeat: bool = False,
        seed: int = 0,
    ) -> LabelledNetworks:
        """Read a split once.

        Args:
            split: What to read.
            task: Makes the targets.
            device: Where to keep them.
            num_signals: Keep a random subset of so many signals, all views of each, or None for
                all. Balanced over classes; smaller subsets are part of larger ones.
            repeat: Repeat the subset until it is as large as the split.
            seed: Of the subset.

        Raises:
            ValueError: If there are fewer signals, or the labels do not fit the task.
        """
        weights, targets = split.weights(), targets_of(task, split)
        if num_signals is not None:
            rows = _signal_subset(split, targets, num_signals, seed)
            if repeat:
                rows = rows.repeat(-(-len(split) // len(rows)))[: len(split)]
            weights, targets = weights[rows], targets[rows]
        return cls(weights.to(device), targets.to(device))

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, size: int) -> Iterator[tuple[WeightBatch, Tensor]]:
        """Everything in order; the last batch may be smaller."""
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield self.weights[rows], self.targets[rows]

    def shuffled_rows(
        self, size: int, generator: torch.Generator, *, skip: int = 0
    ) -> Iterator[Int[Tensor, " size"]]:
        """One epoch in random order, in batches of one size; a remainder is left out.

        Args:
            size: Networks a batch.
            generator: Draws the order.
            skip: Batches to leave out at the beginning, of an epoch that is resumed.

        Yields:
            The rows of a batch.
        """
        size = min(size, len(self))
        order = torch.randperm(len(self), generator=generator).to(self.targets.device)
        for start in range(skip * size, len(self) - size + 1, size):
            yield order[start : start + size]


def _signal_subset(split: ZooSplit, targets: Tensor, size: int, seed: int) -> Tensor:
    """Rows of some signals of a split, whose views follow each other."""
    num_views = split.zoo.manifest.zoo.num_views
    first = targets[::num_views]
    if not 1 <= size <= len(first):
        raise UserError(
            f"expected task.num_train between 1 and {len(first)}, the training signals of "
            f"{split.zoo.path}, got {size}"
        )
    is_class = first.ndim == 1 and not first.is_floating_point()
    classes = first if is_class else torch.zeros(len(first), dtype=torch.long)
    generator = torch.Generator().manual_seed(derive_seed(seed))
    chosen = balanced_subset(classes, size, generator)
    return (chosen[:, None] * num_views + torch.arange(num_views)).flatten()
