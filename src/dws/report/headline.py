"""The head of the page: the main figure, the main table, and what more training networks give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dws.io.names import distinct_file_name
from dws.report.embeddings import EmbeddingFigure
from dws.report.evidence import Evidence
from dws.report.methods import method_title
from dws.report.pictures import Picture, curve_picture
from dws.report.section import Section
from dws.report.sections import training_sizes
from dws.report.tables import Column, Several, Spread, Table, by_method, with_seeds


def main_figure(figure: EmbeddingFigure | None) -> Section:
    """The embeddings of the first task, side by side."""
    return Section("Embeddings of the test networks", embeddings=[figure] if figure else [])


def main_table(evidence: Evidence) -> Section:
    """The monitored test metric of each method on each task; how to run what is missing."""
    runs = evidence.main
    parameters = Column.of(
        "parameters", runs, lambda rows: Several(sorted({*rows["num_parameters"]}), " / ", ",")
    )
    columns = [parameters, *(_results(evidence, task) for task in evidence.tasks_in_scope)]
    table = Table(
        "headline",
        "Test results by method",
        by_method(evidence.methods, columns),
        "Arrows: whether higher or lower is better. Bold: the best of each column. "
        f"{training_sizes(evidence, evidence.tasks)}",
    )
    return Section("Test results", tables=[table], command=_command(evidence))


def _results(evidence: Evidence, task: str) -> Column:
    """The monitored metric of each method; the best one is emphasised."""
    info = evidence.describe(task)
    runs = evidence.of_task(evidence.main, task)
    expected = evidence.scope.methods_of(task)
    if not len(runs):
        return Column(info.title, {}, expected)
    is_higher_better = bool(runs["higher_is_better"].iloc[0])
    title = (
        f"{info.title}: {info.metric or runs['metric'].iloc[0]} {'↑' if is_higher_better else '↓'}"
    )
    column = Column.of(title, runs, with_seeds, expected)
    cells: dict[str, Spread] = dict(column.cells)
    finite = {method: cell.mean for method, cell in cells.items() if cell.mean == cell.mean}
    if len(finite) > 1:
        best = (max if is_higher_better else min)(finite, key=finite.__getitem__)
        cells[best] = replace(cells[best], is_best=True)
    return replace(column, cells=cells)


def _command(evidence: Evidence) -> tuple[str, str] | None:
    """How to run the results that were asked for and are missing."""
    missing = evidence.missing()
    if not missing:
        return None
    tasks = list(dict.fromkeys(task for task, _, _ in missing))
    methods = " ".join(dict.fromkeys(method for _, method, _ in missing))
    command = f"make reproduce-all {evidence.make} TASKS='{' '.join(tasks)}' METHODS='{methods}'"
    by_size = [task for task in tasks if evidence.describe(task).family.by_size]
    if smaller := sorted({size for task in by_size for size in evidence.sizes(task)[:-1]}):
        command += f" SIZES='{' '.join(map(str, smaller))}'"
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
        )
