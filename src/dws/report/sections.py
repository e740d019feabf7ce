"""Detailed sections of the page; each table is a group-by or pivot of the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dws.errors import UserError
from dws.evaluation.result import Result, read_transfers
from dws.io.names import distinct_file_name
from dws.report.data import CELL, GROUP, ReportData
from dws.report.edits import edited_images
from dws.report.embeddings import EmbeddingFigure
from dws.report.methods import (
    PAPER_METHODS,
    RAW_WEIGHTS,
    evaluates_functions,
    method_title,
)
from dws.report.pictures import Picture, curve_picture, run_pictures
from dws.report.section import Section
from dws.report.tables import (
    PERMUTED,
    SPREAD,
    Column,
    Several,
    Spread,
    Table,
    by_method,
    changes,
    spread,
    with_seeds,
)
from dws.report.tasks import TASKS, Family
from dws.settings import AugmentConfig
from dws.training import RunDir

MINUTES = "Minutes are the time of training steps, without validation."


def results_of(report: ReportData, family: Family) -> Section:
    """Section with the test results of a family of tasks and the published results."""
    tasks = report.tasks_of(family)
    runs = report.cells if family.by_size else report.main
    runs = runs[runs["task"].isin(tasks)]
    largest = runs.groupby(["task", "model"])["num_train"].transform("max")
    largest_runs = runs[runs["num_train"] == largest]
    columns = [
        parameters_column(largest_runs),
        *training_column(runs),
        *(column for task in tasks for column in _columns_of(report, task, tasks, runs)),
        Column.of("networks/s", largest_runs, lambda rows: rows["networks_per_second"].median()),
        Column.of("minutes a run", largest_runs, lambda rows: rows["train_seconds"].mean() / 60),
    ]
    listed = {*runs["model"], *(m for task in tasks for m in report.scope.methods_of(task))}
    references = dict.fromkeys(title for result in runs["result"] for title in result.references)
    rows = [*references, *(method for method in report.methods if method in listed)]
    frame = by_method(rows, columns)
    if family.by_size:
        note = (
            f"{SPREAD.capitalize()}. The paper shows only a plot. Networks/s and minutes are for "
            f"the largest number of training networks of each method. {MINUTES}"
        )
    else:
        note = f"{training_sizes(report, tasks)} {MINUTES}"
    sources = [report.describe(task).source for task in tasks]
    note = " ".join(
        [note, *(f"Published values: {text}." for text in dict.fromkeys(sources) if text)]
    )
    table = Table(family.name, family.title, frame, note)
    return Section(
        family.section,
        tables=tables_apart(runs, table) if family.is_of_paper else [table],
        details=list(run_pictures(report, tasks, "outcome")),
    )


def edits(report: ReportData, pictures: Path) -> Section:
    """Section with images before and after an edit."""
    figures = [p for task in report.tasks for p in edited_images(report, task, pictures)]
    return Section("Edited images", pictures=figures)


def parameters_column(runs: pd.DataFrame) -> Column:
    """Column with the numbers of parameters of each method, in the order of tasks."""

    def numbers(rows: pd.DataFrame) -> Several:
        in_order = rows.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")
        return Several(list(dict.fromkeys(in_order["num_parameters"])), " / ", ",")

    order = [*TASKS, *runs["task"]]
    return Column.of("parameters", runs, numbers)


def training_column(runs: pd.DataFrame) -> Iterator[Column]:
    """Column with augmentation, auxiliary loss and optimizer; none if no run records settings."""
    recorded = runs[[bool(result.settings) for result in runs["result"]]]

    def additions(rows: pd.DataFrame) -> Several:
        texts = [_additions(result.settings) for result in rows["result"]]
        return Several(list(dict.fromkeys(texts)), " / ")

    if len(recorded):
        yield Column.of("also trained with", recorded, additions)


def _additions(settings: Mapping[str, Any]) -> str:
    augment = AugmentConfig(**settings.get("augment", {}))
    # these two settings have no effect on their own
    no_augmentation = AugmentConfig(until=augment.until, omega_0=augment.omega_0)
    parts = {
        "augmentation": augment != no_augmentation,
        "auxiliary loss": settings.get("reconstruction", {}).get("weight", 0) > 0,
        "Muon": settings.get("optim", {}).get("muon_lr") is not None,
    }
    return ", ".join(name for name, is_used in parts.items() if is_used) or "nothing"


def _columns_of(
    report: ReportData, task: str, tasks: Sequence[str], runs: pd.DataFrame
) -> Iterator[Column]:
    """Columns with published and measured results of a task."""
    info = report.describe(task)
    family = info.family
    prefix = f"{info.title}, " if len(tasks) > 1 else ""
    runs = runs[runs["task"] == task]
    expected = report.scope.methods_of(task)
    if info.published:
        published = info.published.items()
        cells = {method: _published(mean, std) + info.unit for method, (mean, std) in published}
        yield Column(prefix + info.published_title, cells)
    if family.metrics is None and len(runs):
        monitored = runs["metric"].iloc[0]
        names = dict.fromkeys([monitored, *(name for r in runs["result"] for name in r.test)])
        validation = partial(with_seeds, split="validation")
        yield Column.of(f"validation {monitored}", runs, validation, expected)
        for name in names:
            test = Column.of(f"test {name}", runs, partial(metric, name=name, seeds=True), expected)
            yield replace(test, cells={**test.cells, **_references(runs, name)})
        return
    if family.by_size and len(runs):
        for size, of_size in runs.groupby("num_train"):
            yield Column.of(f"{size:,} networks", of_size, with_seeds, expected)
    else:
        measured = Column.of(f"{prefix}here", runs, with_seeds, expected)
        monitored = runs["metric"].iloc[0] if len(runs) else ""
        yield replace(measured, cells={**measured.cells, **_references(runs, monitored)})
    for name, title in (family.metrics or {}).items():
        yield Column.of(prefix + title, runs, partial(metric, name=name), expected)


def _published(mean: float, std: float | None) -> str:
    return f"{mean:g}" if std is None else f"{mean:.2f} ± {std:.2f}"


def _references(runs: pd.DataFrame, name: str) -> dict[str, Spread]:
    """A metric of the references, such as unchanged networks, by their titles."""
    return {
        title: Spread([metrics[name]], result.units.get(name, ""))
        for result in runs["result"]
        for title, metrics in result.references.items()
        if name in metrics
    }


def metric(runs: pd.DataFrame, name: str, *, seeds: bool = False) -> Spread:
    """A metric of the test split, over runs that differ in the seed."""
    values = tuple(result.test.get(name) for result in runs["result"])
    unit = runs["result"].iloc[0].units.get(name, "")
    return Spread(values, unit, with_seeds=seeds)


def tables_apart(runs: pd.DataFrame, table: Table) -> list[Table]:
    """Split a table into the paper's methods, other methods, and methods with function access.

    Args:
        runs: The runs of the table.
        table: The table.
    """
    frame, methods = table.frame, table.frame["method"]
    is_function = methods.isin(runs["model"][runs["reads"] == "raw"])
    is_function |= ~methods.isin(runs["model"]) & methods.map(evaluates_functions)
    is_paper = methods.isin(PAPER_METHODS) & ~is_function
    kinds = {
        "": ("", is_paper),
        "-others": (": not in the paper", ~is_paper & ~is_function),
        "-functions": (": not in the paper, with access to the functions", is_function),
    }
    parts = [
        replace(
            table, name=table.name + end, title=table.title + more, frame=_non_empty(frame[chosen])
        )
        for end, (more, chosen) in kinds.items()
        if chosen.any()
    ]
    return [replace(part, note=part.note * (part is parts[-1])) for part in parts]


def _non_empty(frame: pd.DataFrame) -> pd.DataFrame:
    """Select the columns that are not empty."""
    return frame.loc[:, [(frame.iloc[:, n] != "").any() for n in range(frame.shape[1])]]


def training_sizes(report: ReportData, tasks: Sequence[str]) -> str:
    """Note with the numbers of training and test networks of a table."""
    sizes = [
        f"{report.describe(task).title}: {report.main_sizes[task]:,} training, "
        f"{numbers_tested(report.of_task(report.main, task))} test networks"
        for task in tasks
        if task in report.tasks
    ]
    return "; ".join([*sizes, SPREAD]) + "."


def numbers_tested(runs: pd.DataFrame) -> str:
    """Numbers of test networks; several if cells belong to different zoos."""
    return " or ".join(f"{size:,}" for size in sorted(set(runs["num_test"])))


def training_set_sizes(report: ReportData) -> Section:
    """Section with results by number of training networks, for tasks whose main table has one."""
    tables: list[Table] = []
    for task in report.tasks:
        info = report.describe(task)
        cells = report.of_task(report.cells, task)
        cells = cells[cells.groupby("model")["num_train"].transform("nunique") > 1]
        if info.family.by_size or not len(cells):
            continue
        sizes = list(cells.groupby("num_train"))
        columns = [Column.of(f"{n:,} networks", runs, with_seeds, expected=()) for n, runs in sizes]
        trainings = "; ".join(f"{size:,}: {_training(runs)}" for size, runs in sizes)
        tables.append(
            Table(
                distinct_file_name("sizes", task),
                f"{info.title}: test {cells['metric'].iloc[0]} by number of training networks",
                by_method(list(cells["model"].unique()), columns),
                f"{SPREAD.capitalize()}. Training of each column: {trainings}.",
            )
        )
    return Section("Results by number of training networks", tables=tables)


def _training(runs: pd.DataFrame) -> str:
    """Number of epochs of the training, and number of test networks."""
    epochs = " or ".join(str(number) for number in sorted(set(runs["num_epochs"])))
    tasks = [(result.settings or {}).get("task", {}) for result in runs["result"]]
    repeated = " of the networks repeated" if any(t.get("repeat_train") for t in tasks) else ""
    return f"{epochs} epochs{repeated}, {numbers_tested(runs)} test networks"


def other_settings(report: ReportData) -> Section:
    """Section with the validation metric of each method under other settings of the training."""
    tables = []
    for key, groups in report.groups.groupby(CELL):
        task, size, method = str(key[0]), key[1], str(key[2])
        if len(groups) == 1:
            continue
        runs = {str(key[-1]): rows for key, rows in report.runs.merge(groups[GROUP]).groupby(GROUP)}
        results: dict[str, Result] = {key: rows["result"].iloc[0] for key, rows in runs.items()}
        in_tables = report.cells.merge(groups[GROUP])["identity"].iloc[0]
        reference = _reference(results, in_tables)
        others = groups[groups["identity"] != reference].sort_values(
            "merit", ascending=False, kind="stable"
        )
        order = [reference, *others["identity"]]
        metric_name = runs[reference]["metric"].iloc[0]
        frame = pd.DataFrame(
            {
                "differs in": [_difference(results[key], results[reference]) for key in order],
                f"validation {metric_name}": [with_seeds(runs[key], "validation") for key in order],
                "networks/s": [runs[key]["networks_per_second"].mean() for key in order],
            }
        )
        title = f"{report.describe(task).title}, {method_title(method)}, {size:,} training networks"
        name = distinct_file_name("settings", task, method, str(size))
        tables.append(Table(name, f"{title}, other settings of the training", frame))
    text = (
        "Each row lists the settings that differ from the first row. The tables above show the "
        "settings with the most seeds; among equals, those with the best validation metric."
    )
    return Section("Other settings", text, tables=tables)


def _reference(results: Mapping[str, Result], in_tables: str) -> str:
    """The run from which all others differ in the fewest settings, as in an ablation.

    Among equals, the run of the tables is chosen.
    """
    recorded = {key: result.settings for key, result in results.items() if result.settings}

    def distance(key: str) -> int:
        return sum(len(list(differences(other, recorded[key]))) for other in recorded.values())

    return min(recorded, key=lambda key: (distance(key), key != in_tables), default=in_tables)


def _difference(result: Result, reference: Result) -> str:
    """Text that lists the settings in which a run differs from the reference."""
    if result is reference:
        return "nothing"
    if not result.settings or not reference.settings:
        return f"not known: {result.settings_hash}"
    # the folder of a zoo is more informative than its hash
    names = {f"zoo={result.zoo}": f"zoo.path={result.zoo_path}"}
    return ", ".join(names.get(d, d) for d in differences(result.settings, reference.settings))


def differences(
    settings: Mapping[str, Any], reference: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Settings that differ from a reference, in the form of arguments of ``dws-train``."""
    for key in sorted({*settings, *reference}):
        name, value, other = f"{prefix}{key}", settings.get(key), reference.get(key)
        if key not in settings:
            yield f"without {name}"
        elif isinstance(value, Mapping):
            yield from differences(value, other if isinstance(other, Mapping) else {}, f"{name}.")
        elif key not in reference or value != other:
            yield f"{name}={'null' if value is None else value}"


def symmetry(report: ReportData) -> Section:
    """Section with the test metric before and after permuting hidden neurons."""
    tasks = report.tasks

    def cell(runs: pd.DataFrame) -> Several:
        return Several([spread(runs), with_seeds(runs, "permuted")], " → ")

    columns: list[Column] = []
    for task in tasks:
        runs, title = report.of_task(report.main, task), report.describe(task).title
        columns.append(Column.of(title, runs, cell, expected=()))
        if runs["permutation_change"].notna().any():
            columns.append(Column.of(f"{title}: changed", runs, changes, expected=()))
    table = Table(
        "symmetry",
        "Test metric → test metric with the hidden neurons of every test network permuted",
        by_method(list(report.main["model"].unique()), columns),
        f"Permuted: {PERMUTED} For the method with alignment, the permuted networks are aligned "
        f"again. {training_sizes(report, tasks)}",
    )
    return Section("Permuted neurons", tables=[table])


def other_zoos(report: ReportData) -> Section:
    """Section with the test metric on zoos that methods were not trained on.

    Only runs whose folders are available are included.
    """
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}  # by task and zoo, and method
    references: dict[tuple[str, str], dict[str, float]] = {}
    units: dict[tuple[str, str], str] = {}
    titles: dict[tuple[str, str], str] = {}
    for _, run in report.main.dropna(subset="folder").iterrows():
        try:
            transfers = read_transfers(Path(run["folder"]))
        except (ValueError, OSError) as error:
            report.omit(f"evaluations of {run['folder']} on other zoos: {error}")
            continue
        for transfer in transfers:
            key = (run["task"], transfer.zoo)
            of_method = cells.setdefault(key, {}).setdefault(run["model"], [])
            of_method.append(transfer.test[transfer.metric])
            others = transfer.references.items()
            references[key] = {name: metrics[transfer.metric] for name, metrics in others}
            units[key] = transfer.units.get(transfer.metric, "")
            titles[key] = f"{report.describe(run['task']).title} → {transfer.zoo_path}"
    columns = [
        Column(
            titles[key]
            if [*titles.values()].count(titles[key]) == 1
            else f"{titles[key]}, {key[1]}",
            {
                **{name: Spread([value], units[key]) for name, value in references[key].items()},
                **{m: Spread(v, units[key], with_seeds=True) for m, v in by_model.items()},
            },
        )
        for key, by_model in cells.items()
    ]
    methods = [m for m in report.methods if any(m in by_model for by_model in cells.values())]
    names = dict.fromkeys(name for by_title in references.values() for name in by_title)
    table = Table(
        "other-zoos",
        "Test metric on zoos that methods were not trained on: training task → other zoo",
        by_method([*names, *methods], columns),
        f"{SPREAD.capitalize()}.",
    )
    return Section("Other zoos", tables=[table] if columns else [])


def embeddings(report: ReportData, figures: Sequence[EmbeddingFigure]) -> Section:
    """Section with scores of the embeddings, as distances in a t-SNE can mislead, and figures."""
    columns = []
    tasks = [task for task in report.tasks if report.predicts_labels(task)]
    for task in tasks:
        for key, kind in (("neighbours", "neighbours"), ("linear_probe", "probe")):
            runs = report.of_task(report.main, task)
            cells = {
                str(method): Spread([result.embedding[key] for result in results], digits=3)
                for method, results in runs.groupby("model")["result"]
            }
            if task in report.raw:
                cells[RAW_WEIGHTS] = Spread([report.raw[task].embedding[key]], digits=3)
            columns.append(Column(f"{report.describe(task).title}, {kind}", cells, ()))
    runs = report.main[report.main["task"].isin(tasks)]
    table = Table(
        "embeddings",
        "Scores of predicting labels from the embedding of the test networks",
        by_method([*runs["model"].unique(), RAW_WEIGHTS], columns),
        "neighbours: for classes, the fraction of the 10 nearest networks of other signals with "
        "the same class; for numbers, R² of their mean. probe: accuracy of a ridge classifier or "
        "R² of a ridge regression, fitted to the training split (for the weights as they are, to "
        "its first 10,000 networks). Unknown if there are 10 or fewer test networks, all labels "
        "are equal, or an embedding is not finite. " + training_sizes(report, tasks),
    )
    tables = [table] if tasks else []
    return Section("Embeddings: other tasks and scores", embeddings=figures, tables=tables)


def learning_curves(report: ReportData, pictures: Path) -> Section:
    """Section with the validation metric by epoch."""
    figures: list[Picture] = []
    for task in report.tasks:
        series = {}
        label = ""
        available = report.of_task(report.main, task).dropna(subset="folder")
        for method, runs in available.groupby("model", sort=False):
            label = f"validation {runs['metric'].iloc[0]}"
            epochs = list(zip(*_epochs(report, runs), strict=False))  # as many as all seeds have
            if epochs:
                series[method_title(str(method))] = (list(range(1, len(epochs) + 1)), epochs)
        text = f"{report.describe(task).title}: {label} by epoch, by method"
        file = pictures / distinct_file_name("learning", task, suffix=".svg")
        figures += curve_picture(
            file,
            series,
            f"{text}; bands span the seeds",
            x_label="epoch",
            y_label=label,
            order=report.styles,
        )
    return Section("Learning curves", pictures=figures)


def _epochs(report: ReportData, runs: pd.DataFrame) -> Iterator[list[float]]:
    """For each run, the validation metric of each epoch."""
    key = f"val_{runs['metric'].iloc[0]}"
    for path in runs["folder"]:
        folder = RunDir(Path(path))
        try:
            rows = folder.metrics()
            if not rows:
                raise UserError(f"{folder.metrics_file} contains no epochs")
            if not all(isinstance(row.get(key), (int, float)) for row in rows):
                raise UserError(f"{folder.metrics_file} has lines without {key}")
        except (ValueError, OSError) as error:
            report.omit(f"learning curve of {folder.path}: {error}")
        else:
            yield [row[key] for row in rows]
