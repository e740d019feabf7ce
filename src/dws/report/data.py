"""Data of a report: runs, zoos, and the selection of runs for the cells of its tables."""

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
GROUP = [*CELL, "identity"]  # runs that agree in these columns differ only in the seed


@dataclass(frozen=True)
class Scope:
    """Requested results: every combination of a task and a method.

    Attributes:
        tasks: Names of tasks.
        methods: Names of methods.
    """

    tasks: Collection[str] = ()
    methods: Collection[str] = ()

    @classmethod
    def of(cls, tasks: Collection[str], methods: Collection[str], results: pd.DataFrame) -> Scope:
        """Create the scope of a report.

        If only tasks or only methods are given, the others are taken from the results.
        """
        if not tasks and not methods:
            return cls()
        return cls(tasks or set(results["task"]), methods or set(results["model"]))

    def methods_of(self, task: str) -> Collection[str]:
        """The requested methods of a task."""
        return self.methods if task in self.tasks else ()


@dataclass(frozen=True)
class ReportData:
    """Data of a report.

    Attributes:
        results: All results, see ``load_results``.
        zoos: Properties of the zoos of the runs, by task.
        raw: The weights of these zoos as an embedding, by task.
        scale: Name of the scale of the experiments.
        make: Variables of ``make`` for these results, such as ``SCALE``.
        scope: Requested results. The report lists those that are missing.
        thumbnails: Reconstructions of the INRs of the test splits, by task.
        omitted: Parts that are omitted because a file is damaged, with the reason. Items are added
            while the report is written.
    """

    results: pd.DataFrame
    zoos: Mapping[str, ZooFacts]
    raw: Mapping[str, RawWeights]
    scale: str
    make: Mapping[str, str]
    scope: Scope = Scope()
    thumbnails: Mapping[str, Thumbnails] = field(default_factory=dict)
    omitted: list[str] = field(default_factory=list)

    def omit(self, reason: str) -> None:
        """Record that a part of the report is omitted, and print the reason, once."""
        reason = reason.removesuffix(".")
        if reason not in self.omitted:
            self.omitted.append(reason)
            print(f"dws: omitted from the report: {reason}")

    @cached_property
    def runs(self) -> pd.DataFrame:
        """All runs, sorted, without copies: runs with the same settings and seed count once."""
        key = [*GROUP, "seed"]
        return self.results.drop_duplicates(key).sort_values(key, ignore_index=True)

    @cached_property
    def groups(self) -> pd.DataFrame:
        """Groups of runs that differ only in the seed, one row per group.

        The columns are those of ``GROUP`` and ``seeds`` (number of runs), ``folders`` (number of
        runs whose folders are available) and ``merit`` (mean validation metric; higher is better).
        """
        groups = self.runs.groupby(GROUP)
        value = groups["validation"].agg(lambda values: sum(values) / len(values))
        merit = value.where(groups["higher_is_better"].first(), -value)
        merit = merit.where(merit.map(math.isfinite), -math.inf)  # diverged runs are worst
        columns = {"seeds": groups.size(), "folders": groups["folder"].count(), "merit": merit}
        return pd.DataFrame(columns).reset_index()

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Runs of the tables: for each cell, the settings with the most seeds.

        Among settings with equally many seeds, those with more available folders are preferred,
        then those with the better validation metric. Methods are in the order of ``methods``.
        """
        order = ["seeds", "folders", "merit"]
        best = self.groups.sort_values(order, ascending=False, kind="stable").drop_duplicates(CELL)
        runs = self.runs.merge(best[GROUP], on=GROUP)
        return runs.sort_values(
            "model", key=lambda models: models.map(self.methods.index), kind="stable"
        )

    @cached_property
    def main(self) -> pd.DataFrame:
        """Runs of ``cells`` whose number of training networks is in ``main_sizes``."""
        return self.cells[self.cells["num_train"] == self.cells["task"].map(self.main_sizes)]

    @cached_property
    def main_sizes(self) -> dict[str, int]:
        """For each task, the number of training networks for which most methods have results.

        If there are several such numbers, the largest is used. Methods that are not requested count
        only if no requested one has results.
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
        """Tasks with results, in the order of ``TASKS``."""
        return _sort(self.results["task"], TASKS)

    @cached_property
    def tasks_in_scope(self) -> list[str]:
        """Tasks that have results or are requested, in the order of ``TASKS``."""
        return _sort([*self.tasks, *self.scope.tasks], TASKS)

    @cached_property
    def methods(self) -> list[str]:
        """Methods that have results or are requested, in the order of ``TITLES``."""
        return _sort([*self.results["model"], *self.scope.methods], TITLES)

    def describe(self, task: str) -> TaskInfo:
        """Titles and published values of a task."""
        return describe(task, list(self.of_task(self.results, task)["result"]))

    def predicts_labels(self, task: str) -> bool:
        """Whether the models of a task predict labels rather than networks."""
        return any(result.labels for result in self.of_task(self.results, task)["result"])

    def tasks_of(self, family: Family) -> list[str]:
        """The tasks of a table."""
        return [task for task in self.tasks_in_scope if self.describe(task).family == family]

    def missing(self) -> list[tuple[str, str, int | None]]:
        """Task, method and number of training networks of the requested results that are missing.

        The number is None for a task without results.
        """
        present = set(self.cells[["task", "model", "num_train"]].itertuples(index=False, name=None))
        return [
            (task, method, size)
            for task in self.tasks_in_scope
            for size in self._sizes_in_scope(task)
            for method in self.scope.methods_of(task)
            if (task, method, size) not in present
        ]

    def _sizes_in_scope(self, task: str) -> Sequence[int | None]:
        if task not in self.tasks:
            return [None]
        if not self.describe(task).family.by_size:
            return [self.main_sizes[task]]
        return self.selected_sizes(task) or [None]

    def selected_sizes(self, task: str) -> list[int]:
        """Numbers of training networks of the requested results of a task."""
        cells = self.cells[self._in_scope(self.cells)]
        return sorted(set(self.of_task(cells, task)["num_train"]))

    def _in_scope(self, runs: pd.DataFrame) -> pd.Series:
        in_task = runs["task"].isin(list(self.scope.tasks))
        return in_task & runs["model"].isin(list(self.scope.methods))

    @cached_property
    def styles(self) -> list[str]:
        """Titles of all methods; the position of a method determines the style of its curves."""
        return [method_title(method) for method in self.methods]

    def of_task(self, frame: pd.DataFrame, task: str) -> pd.DataFrame:
        """The rows of a frame that belong to a task."""
        return frame[frame["task"] == task]

    def first_runs(self, task: str) -> list[pd.Series]:
        """For each method in the table of a task, the first run whose folder is available."""
        available = self.of_task(self.main, task).dropna(subset="folder")
        return [run for _, run in available.drop_duplicates("model").iterrows()]


def _sort(names: Iterable[str], reference: Collection[str]) -> list[str]:
    """Distinct names, in the order of a reference; other names follow in alphabetical order."""
    order = {name: number for number, name in enumerate(reference)}
    return sorted(set(names), key=lambda name: (order.get(name, len(order)), name))
