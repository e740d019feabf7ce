"""First sections of the page: main figure, main table and data efficiency."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dws.io.names import distinct_file_name
from dws.report.data import ReportData
from dws.report.embeddings import EmbeddingFigure
from dws.report.methods import method_title
from dws.report.pictures import Picture, curve_picture
from dws.report.section import Section
from dws.report.sections import parameters_column, training_sizes
from dws.report.tables import Column, Table, by_method, with_seeds


def main_figure(figure: EmbeddingFigure | None) -> Section:
    """Section with the embeddings of the first task."""
    return Section("Embeddings of the test networks", embeddings=[figure] if figure else [])


def main_table(report: ReportData) -> Section:
    """Section with the monitored test metric of each method on each task.

    If requested results are missing, the section contains the command that runs them.
    """
    columns = [
        parameters_column(report.main),
        *(column for task in report.tasks_in_scope for column in _results(report, task)),
    ]
    table = Table(
        "headline",
        "Test results by method",
        by_method(report.methods, columns),
        "Arrows show whether higher or lower is better. Bold: best result of each column among "
        "methods that use weights alone and whose seeds are all finite. "
        f"{training_sizes(report, report.tasks)}",
    )
    return Section("Test results", tables=[table], command=_command(report))


def _results(report: ReportData, task: str) -> Iterator[Column]:
    """Columns with the monitored metric of a task; the best result is emphasised."""
    info = report.describe(task)
    runs = report.of_task(report.main, task)
    expected = report.scope.methods_of(task)
    if not len(runs):
        yield Column(info.title, {}, expected)
    for key, of_metric in runs.groupby(["metric", "higher_is_better"]):
        metric, is_higher_better = str(key[0]), bool(key[1])
        name, arrow = info.metric or metric, "↑" if is_higher_better else "↓"
        column = Column.of(f"{info.title}: {name} {arrow}", of_metric, with_seeds, expected)
        reads = of_metric.groupby("model")["reads"].first()
        candidates = {
            method: cell
            for method, cell in column.cells.items()
            if reads[method] != "raw" and all(map(math.isfinite, cell.values))
        }
        best = (max if is_higher_better else min)(
            (cell.mean for cell in candidates.values()), default=math.nan
        )
        # results that are equal to the displayed digits are equally good
        emphasised = {
            method: replace(cell, is_best=len(candidates) > 1)
            for method, cell in candidates.items()
            if cell.rounded(cell.mean) == cell.rounded(best)
        }
        yield replace(column, cells={**column.cells, **emphasised})


def _command(report: ReportData) -> tuple[str, str] | None:
    """Text and command to run the requested results that are missing; None if there are none."""
    missing = report.missing()
    if not missing:
        return None
    variables = {
        "TASKS": [task for task, _, _ in missing],
        "METHODS": [method for _, method, _ in missing],
    }
    by_size = [t for t in variables["TASKS"] if report.describe(t).family.by_size]
    if sizes := {task: report.selected_sizes(task) for task in by_size if task in report.tasks}:
        variables["SIZES"] = [str(size) for task in sizes for size in sizes[task][:-1]]
    words = {name: " ".join(dict.fromkeys(values)) for name, values in variables.items()}
    assignments = {**report.make, **words}.items()
    arguments = [f"{name}={shlex.quote(value)}" for name, value in assignments]
    command = " ".join(["make reproduce-all", *arguments])
    number = f"{len(missing)} of the selected results {'is' if len(missing) == 1 else 'are'}"
    return f"{number} missing. To run the missing experiments:", command


def data_efficiency(report: ReportData, pictures: Path) -> Section:
    """Section with the test metric against the number of training networks."""
    curves = [p for task in report.tasks for p in _curves(report, task, pictures)]
    return Section("Data efficiency", pictures=curves)


def _curves(report: ReportData, task: str, pictures: Path) -> Iterator[Picture]:
    """Figure of the test metric against the number of training networks, if there are several."""
    info = report.describe(task)
    cells = report.of_task(report.cells, task)
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
            order=report.styles,
        )
