"""What a report is made of: runs, zoos, and the cells of tables that they fill."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from dws.report.methods import TITLES, method_title
from dws.report.raw_weights import RawWeights
from dws.report.results import ZooFacts
from dws.report.tasks import TASKS, Family, TaskInfo, describe
from dws.report.thumbnails import Thumbnails

CELL = ["task", "num_train", "model"]
GROUP = [*CELL, "identity"]  # runs that agree in these differ in nothing but the seed


@dataclass(frozen=True)
class Scope:
    """Which results were asked for: of each task by each method.

    Attributes:
        tasks: Names of tasks.
        methods: Names of methods.
    """

    tasks: Collection[str] = ()
    methods: Collection[str] = ()

    @classmethod
    def of(cls, tasks: Collection[str], methods: Collection[str], found: pd.DataFrame) -> Scope:
        """The scope of a report; where only tasks or methods are given, the others of results."""
        if not tasks and not methods:
            return cls()
        return cls(tasks or set(found["task"]), methods or set(found["model"]))

    def methods_of(self, task: str) -> Collection[str]:
        """The methods whose results on a task were asked for."""
        return self.methods if task in self.tasks else ()


@dataclass(frozen=True)
class Evidence:
    """All that the report is made of.

    Attributes:
        results: All results, see ``load_results``.
        zoos: What is known of the zoos of the runs, by task.
        raw: The weights of these zoos as an embedding, by task.
        scale: Of the experiments.
        make: The variables of make of these results, such as ``SCALE``.
        scope: Which results were asked for; what is missing of them is named.
        thumbnails: What the INRs of the test splits compute, by task.
        left_out: What is not in the report because a file of it is damaged, and why; grows while
            the report is made.
    """

    results: pd.DataFrame
    zoos: Mapping[str, ZooFacts]
    raw: Mapping[str, RawWeights]
    scale: str
    make: Mapping[str, str]
    scope: Scope = Scope()
    thumbnails: Mapping[str, Thumbnails] = field(default_factory=dict)
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
        """The number of training networks that most methods have; of several the largest.

        Methods that were not asked for count where no other has results.
        """
        cells = self.cells
        in_scope = self._in_scope(cells)
        is_other_task = ~cells["task"].isin(cells["task"][in_scope])
        cells = cells[in_scope | is_other_task]
        count = cells.groupby(["task", "num_train"])["model"].nunique().reset_index()
        best = count.sort_values(["model", "num_train"]).drop_duplicates("task", keep="last")
        return dict(zip(best["task"], best["num_train"], strict=True))

    @cached_property
    def tasks(self) -> list[str]:
        """Those with results."""
        return _sort(self.results["task"], TASKS)

    @cached_property
    def tasks_in_scope(self) -> list[str]:
        """Those with results or asked for."""
        return _sort([*self.tasks, *self.scope.tasks], TASKS)

    @cached_property
    def methods(self) -> list[str]:
        """Those with results or asked for."""
        return _sort([*self.results["model"], *self.scope.methods], TITLES)

    def describe(self, task: str) -> TaskInfo:
        """What is known of a task."""
        return describe(task, list(self.of_task(self.results, task)["result"]))

    def predicts_labels(self, task: str) -> bool:
        """Whether the outputs of models of a task are predictions of labels, and not networks."""
        return any(result.labels for result in self.of_task(self.results, task)["result"])

    def tasks_of(self, family: Family) -> list[str]:
        """The tasks of a table."""
        return [task for task in self.tasks_in_scope if self.describe(task).family == family]

    def missing(self) -> list[tuple[str, str, int | None]]:
        """Task, method and number of training networks of results that were asked for."""
        found = set(self.cells[["task", "model", "num_train"]].itertuples(index=False, name=None))
        return [
            (task, method, size)
            for task in self.tasks_in_scope
            for size in self._sizes_in_scope(task)
            for method in self.scope.methods_of(task)
            if (task, method, size) not in found
        ]

    def _sizes_in_scope(self, task: str) -> Sequence[int | None]:
        if task not in self.tasks:
            return [None]
        if not self.describe(task).family.by_size:
            return [self.main_sizes[task]]
        return self.selected_sizes(task) or [None]

    def selected_sizes(self, task: str) -> list[int]:
        """Numbers of training networks of results that were asked for."""
        cells = self.cells[self._in_scope(self.cells)]
        return sorted(set(self.of_task(cells, task)["num_train"]))

    def _in_scope(self, runs: pd.DataFrame) -> pd.Series:
        in_task = runs["task"].isin(list(self.scope.tasks))
        return in_task & runs["model"].isin(list(self.scope.methods))

    @cached_property
    def styles(self) -> list[str]:
        """Titles of all methods, whose places are the styles of their curves."""
        return [method_title(method) for method in self.methods]

    def of_task(self, frame: pd.DataFrame, task: str) -> pd.DataFrame:
        """The rows of a task."""
        return frame[frame["task"] == task]

    def first_here(self, task: str) -> list[pd.Series]:
        """Of each method in the table of a task the first run whose folder is here."""
        here = self.of_task(self.main, task).dropna(subset="folder")
        return [run for _, run in here.drop_duplicates("model").iterrows()]


def _sort(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Each name once, those that are known first."""
    order = {name: number for number, name in enumerate(known)}
    return sorted(set(names), key=lambda name: (order.get(name, len(order)), name))
