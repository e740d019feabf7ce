"""A split of a zoo in memory, with batches by index."""

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
        targets: Targets, (n,) or (n, K); (n, ...) for a ``NetworkTask``.
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
        """Load a split into memory.

        Args:
            split: The split.
            task: The task, which computes the targets.
            device: Device of the networks and targets.
            num_signals: Size of a random, class-balanced subset of the signals, with all views of
                each; None for all signals. Smaller subsets are contained in larger ones.
            repeat: Repeat the subset until it is as large as the split.
            seed: Seed of the subset.

        Raises:
            ValueError: If the split has fewer signals, or the labels do not match the task.
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

    def shuffled_rows(
        self, size: int, generator: torch.Generator, *, skip: int = 0
    ) -> Iterator[Int[Tensor, " size"]]:
        """Iterate over one epoch in random order, in batches of equal size without the remainder.

        Args:
            size: Number of networks in a batch.
            generator: Random generator for the order.
            skip: Number of batches to skip at the beginning, when an epoch is resumed.

        Yields:
            Row indices of a batch, (size,).
        """
        size = min(size, len(self))
        order = torch.randperm(len(self), generator=generator).to(self.targets.device)
        for start in range(skip * size, len(self) - size + 1, size):
            yield order[start : start + size]


def _signal_subset(split: ZooSplit, targets: Tensor, size: int, seed: int) -> Tensor:
    """Return the rows of a random subset of signals, signal by signal."""
    _, signals, counts = split.column("signal_id").unique(return_inverse=True, return_counts=True)
    if counts.min() < counts.max():
        raise UserError(
            f"task.num_train selects signals, but the signals of {split.zoo.path} have "
            f"{int(counts.min())} to {int(counts.max())} networks. Omit it, or combine zoos of "
            "equal size."
        )
    rows = signals.argsort(stable=True).view(len(counts), -1)  # (signals, views)
    rows = rows[rows[:, 0].argsort()]
    first = targets[rows[:, 0]]
    if not 1 <= size <= len(first):
        raise UserError(
            f"expected task.num_train between 1 and {len(first)}, the number of training signals "
            f"of {split.zoo.path}, got {size}"
        )
    is_class = first.ndim == 1 and not first.is_floating_point()
    classes = first if is_class else torch.zeros(len(first), dtype=torch.long)
    generator = torch.Generator().manual_seed(derive_seed(seed))
    subset = balanced_subset(classes, size, generator)
    subset_rows: Tensor = rows[subset].flatten()
    return subset_rows
