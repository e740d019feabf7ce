"""A split of a zoo in memory, cut into batches by index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dws.tasks import Task
from dws.weightspace import WeightBatch
from dws.zoo import ZooSplit


@dataclass(frozen=True, eq=False)
class LabelledNetworks:
    """All networks of a split and their targets, on one device.

    Attributes:
        weights: n networks.
        targets: (n,).
    """

    weights: WeightBatch
    targets: Tensor

    @classmethod
    def load(cls, split: ZooSplit, task: Task, device: torch.device) -> LabelledNetworks:
        """Read a split once."""
        return cls(split.weights().to(device), task.targets(split.labels).to(device))

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, size: int) -> Iterator[tuple[WeightBatch, Tensor]]:
        """Everything in order; the last batch may be smaller."""
        for start in range(0, len(self), size):
            rows = slice(start, start + size)
            yield self.weights[rows], self.targets[rows]

    def shuffled_batches(
        self, size: int, generator: torch.Generator
    ) -> Iterator[tuple[WeightBatch, Tensor]]:
        """One epoch in random order, in batches of one size; a remainder is left out."""
        size = min(size, len(self))
        order = torch.randperm(len(self), generator=generator).to(self.targets.device)
        for rows in order[: len(self) // size * size].split(size):
            yield self.weights[rows], self.targets[rows]
