"""What a report is made of: runs, zoos, and the cells of tables that they fill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dws.report.published import METHODS
from dws.report.raw_weights import RawWeights
from dws.report.results import Group, ZooFacts

TITLES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "ssl": "self-supervised embedding",
    "sine": "sine regression",
}


@dataclass(frozen=True)
class Evidence:
    """All that the report is made of.

    Attributes:
        groups: Every run, by seed.
        zoos: What is known of the zoos that they read, by task.
        raw: Their weights as they are, by task.
        scale: Of the experiments.
        make: The settings of make that fill missing cells, such as ``SCALE=small``.
        left_out: What is not in the report because a file of it is damaged, and why; grows while
            the report is made.
    """

    groups: Sequence[Group]
    zoos: Mapping[str, ZooFacts]
    raw: Mapping[str, RawWeights]
    scale: str
    make: str
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, reason: str) -> None:
        """Say what is left out and why, once."""
        if reason not in self.left_out:
            self.left_out.append(reason)
            print(f"dws: {reason.removesuffix('.')}; it is left out of the report")

    @property
    def tasks(self) -> list[str]:
        """Those of the paper first."""
        names = {group["task"] for group in self.groups}
        return sorted(names, key=lambda name: ([*TITLES, name].index(name), name))

    @property
    def methods(self) -> list[str]:
        """Those of the paper first, in its order."""
        names = {*METHODS, *(group["model"] for group in self.groups)}
        return sorted(names, key=lambda name: ([*METHODS, name].index(name), name))

    def sizes(self, task: str) -> list[int]:
        """Numbers of training networks that there are runs with."""
        return sorted({group["num_train"] for group in self.groups if group["task"] == task})

    def cell(self, task: str, method: str, num_train: int | None = None) -> Group | None:
        """The runs of a cell: of several settings those with most seeds.

        Among equals those whose folders are here go first, then those best on validation.

        Args:
            task: Its name.
            method: The model's name.
            num_train: Number of training networks; None for the one that most methods have runs
                with, and of several the largest.
        """
        size = num_train or self.main_size(task)
        found = [
            group
            for group in self.groups
            if (group["task"], group["model"], group["num_train"]) == (task, method, size)
        ]
        return max(found, key=lambda g: (len(g.results), len(g.here), g.merit), default=None)

    def by_size(self, task: str, method: str) -> dict[int, Group]:
        """The cells of a method, by number of training networks."""
        cells = {size: self.cell(task, method, size) for size in self.sizes(task)}
        return {size: group for size, group in cells.items() if group}

    def main_size(self, task: str) -> int:
        """The number of training networks that most methods have runs with, or 0."""
        methods = {(g["num_train"], g["model"]) for g in self.groups if g["task"] == task}
        count = Counter(size for size, _ in methods)
        return max(count, key=lambda size: (count[size], size), default=0)
