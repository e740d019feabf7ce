"""What a report is made of: runs, zoos, and the cells of tables that they fill."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from dws.report.raw_weights import RawWeights
from dws.report.results import ZooFacts
from dws.report.tasks import METHODS, TASKS, Family, TaskInfo, describe

CELL = ["task", "num_train", "model"]
GROUP = [*CELL, "identity"]  # runs that agree in these differ in nothing but the seed


@dataclass(frozen=True)
class Evidence:
    """All that the report is made of.

    Attributes:
        results: All results, see ``load_results``.
        zoos: What is known of the zoos of the runs, by task.
        raw: The weights of these zoos as an embedding, by task.
        scale: Of the experiments.
        make: The settings of make that fill missing cells, such as ``SCALE=small``.
        left_out: What is not in the report because a file of it is damaged, and why; grows while
            the report is made.
    """

    results: pd.DataFrame
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

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Every run, in order; a seed of the same settings counts once, wherever it lies."""
        key = [*GROUP, "seed"]
        return self.results.drop_duplicates(key).sort_values(key, ignore_index=True)

    @cached_property
    def groups(self) -> pd.DataFrame:
        """Runs that differ in nothing but the seed: one row for each group, with its merit."""
        groups = self.runs.groupby(GROUP)
        value = groups["validation"].agg(lambda values: sum(values) / len(values))
        merit = value.where(groups["higher_is_better"].first(), -value)
        merit = merit.where(merit.map(math.isfinite), -math.inf)  # a diverged seed is worst
        here = groups["folder"].count()
        return pd.DataFrame({"seeds": groups.size(), "here": here, "merit": merit}).reset_index()

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The runs of the tables: of a method with several settings those with most seeds.

        Among equals those whose folders are here go first, then those best on validation. Methods
        are in the order of ``methods``.
        """
        order = ["seeds", "here", "merit"]
        best = self.groups.sort_values(order, ascending=False, kind="stable").drop_duplicates(CELL)
        runs = self.runs.merge(best[GROUP], on=GROUP)
        return runs.sort_values(
            "model", key=lambda models: models.map(self.methods.index), kind="stable"
        )

    @cached_property
    def main(self) -> pd.DataFrame:
        """Those of the cells with the number of training networks that most methods have."""
        return self.cells[self.cells["num_train"] == self.cells["task"].map(self.main_sizes)]

    @cached_property
    def main_sizes(self) -> dict[str, int]:
        """The number of training networks that most methods have; of several the largest."""
        count = self.cells.groupby(["task", "num_train"])["model"].nunique().reset_index()
        best = count.sort_values(["model", "num_train"]).drop_duplicates("task", keep="last")
        return dict(zip(best["task"], best["num_train"], strict=True))

    @property
    def tasks(self) -> list[str]:
        """Those that are known first."""
        return sorted(
            set(self.results["task"]), key=lambda name: ([*TASKS, name].index(name), name)
        )

    @cached_property
    def methods(self) -> list[str]:
        """Those of the paper first, in its order."""
        names = {*METHODS, *self.results["model"]}
        return sorted(names, key=lambda name: ([*METHODS, name].index(name), name))

    def describe(self, task: str) -> TaskInfo:
        """What is known of a task."""
        titles = (result.title for result in self.of_task(self.results, task)["result"])
        return describe(task, next(filter(None, titles), None))

    def tasks_of(self, family: Family) -> list[str]:
        """The tasks of a table: those with runs, and if any is the paper's, all of the paper."""
        return [
            name
            for name in dict.fromkeys([*TASKS, *self.tasks])
            if self.describe(name).family == family
            and (name in self.tasks or (self.has_paper and TASKS[name].in_paper))
        ]

    @property
    def has_paper(self) -> bool:
        """Whether there are runs of a task of the paper."""
        return any(describe(task).in_paper for task in self.tasks)

    def of_task(self, frame: pd.DataFrame, task: str) -> pd.DataFrame:
        """The rows of a task."""
        return frame[frame["task"] == task]

    def sizes(self, task: str) -> list[int]:
        """Numbers of training networks that there are runs with."""
        return sorted(set(self.of_task(self.runs, task)["num_train"]))

    def first_here(self, task: str) -> list[pd.Series]:
        """Of each method in the table of a task the first run whose folder is here."""
        here = self.of_task(self.main, task).dropna(subset="folder")
        return [run for _, run in here.drop_duplicates("model").iterrows()]
