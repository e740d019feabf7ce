"""The head of the page: the main figure, the main table, and what more training networks give."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dws.io.names import distinct_file_name
from dws.report.embeddings import EmbeddingFigure
from dws.report.evidence import Evidence
from dws.report.methods import method_title
from dws.report.pictures import Picture, curve_picture
from dws.report.section import Section
from dws.report.sections import parameters_column, training_sizes
from dws.report.tables import Column, Table, by_method, with_seeds


def main_figure(figure: EmbeddingFigure | None) -> Section:
    """The embeddings of the first task, side by side."""
    return Section("Embeddings of the test networks", embeddings=[figure] if figure else [])


def main_table(evidence: Evidence) -> Section:
    """The monitored test metric of each method on each task; how to run what is missing."""
    columns = [
        parameters_column(evidence.main),
        *(column for task in evidence.tasks_in_scope for column in _results(evidence, task)),
    ]
    table = Table(
        "headline",
        "Test results by method",
        by_method(evidence.methods, columns),
        "Arrows: whether higher or lower is better. Bold: the best of each column, of methods "
        "that use weights alone and whose seeds are all finite. "
        f"{training_sizes(evidence, evidence.tasks)}",
    )
    return Section("Test results", tables=[table], command=_command(evidence))


def _results(evidence: Evidence, task: str) -> Iterator[Column]:
    """The monitored metric of each method; the best one is emphasised."""
    info = evidence.describe(task)
    runs = evidence.of_task(evidence.main, task)
    expected = evidence.scope.methods_of(task)
    if not len(runs):
        yield Column(info.title, {}, expected)
    for key, of_metric in runs.groupby(["metric", "higher_is_better"]):
        metric, is_higher_better = str(key[0]), bool(key[1])
        name, arrow = info.metric or metric, "↑" if is_higher_better else "↓"
        column = Column.of(f"{info.title}: {name} {arrow}", of_metric, with_seeds, expected)
        reads = of_metric.groupby("model")["reads"].first()
        rivals = {
            method: cell
            for method, cell in column.cells.items()
            if reads[method] != "raw" and all(map(math.isfinite, cell.values))
        }
        best = (max if is_higher_better else min)(
            (cell.mean for cell in rivals.values()), default=math.nan
        )
        # those that differ in hidden digits only are as good
        emphasised = {
            method: replace(cell, is_best=len(rivals) > 1)
            for method, cell in rivals.items()
            if cell.rounded(cell.mean) == cell.rounded(best)
        }
        yield replace(column, cells={**column.cells, **emphasised})


def _command(evidence: Evidence) -> tuple[str, str] | None:
    """How to run the results that were asked for and are missing."""
    missing = evidence.missing()
    if not missing:
        return None
    variables = {
        "TASKS": [task for task, _, _ in missing],
        "METHODS": [method for _, method, _ in missing],
    }
    by_size = [t for t in variables["TASKS"] if evidence.describe(t).family.by_size]
    if sizes := {task: evidence.selected_sizes(task) for task in by_size if task in evidence.tasks}:
        variables["SIZES"] = [str(size) for task in sizes for size in sizes[task][:-1]]
    words = {name: " ".join(dict.fromkeys(values)) for name, values in variables.items()}
    given = [f"{name}={shlex.quote(value)}" for name, value in {**evidence.make, **words}.items()]
    command = " ".join(["make reproduce-all", *given])
    number = f"{len(missing)} of the selected results {'is' if len(missing) == 1 else 'are'}"
    return f"{number} missing. To run what is missing:", command


def data_efficiency(evidence: Evidence, pictures: Path) -> Section:
    """The test metric against the number of training networks."""
    curves = [p for task in evidence.tasks for p in _curves(evidence, task, pictures)]
    return Section("Data efficiency", pictures=curves)


def _curves(evidence: Evidence, task: str, pictures: Path) -> Iterator[Picture]:
    """The test metric against the number of training networks, if there are several."""
    info = evidence.describe(task)
    cells = evidence.of_task(evidence.cells, task)
    if not info.family.by_size:
        cells = cells[cells.groupby("model")["num_train"].transform("nunique") > 1]
    series = {
        method_title(str(method)): (
            [float(size) for size in runs["num_train"].unique()],
            [list(values) for _, values in runs.groupby("num_train")["test"]],
        )
        for method, runs in cells.groupby("model", sort=False)
    }
    if cells["num_train"].nunique() > 1:
        y_label = f"test {info.metric or cells['metric'].iloc[0]}"
        text = f"{info.title}: {y_label} against training networks, by method"
        yield from curve_picture(
            pictures / distinct_file_name(task, suffix=".svg"),
            series,
            f"{text}; bands span the seeds.",
            x_label="training networks",
            y_label=y_label,
            log_axes="xy" if info.family.by_size else "x",
            order=evidence.styles,
        )
