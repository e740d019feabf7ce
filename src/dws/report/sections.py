"""The details of the page: each table is a group-by or pivot of the results."""

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
from dws.report.edits import edited_images
from dws.report.embeddings import EmbeddingFigure
from dws.report.evidence import CELL, GROUP, Evidence
from dws.report.methods import PAPER_METHODS, RAW_WEIGHTS, method_title
from dws.report.pictures import Picture, curve_picture, outcomes
from dws.report.section import Section
from dws.report.tables import (
    SPREAD,
    Column,
    Several,
    Spread,
    Table,
    by_method,
    spread,
    with_seeds,
)
from dws.report.tasks import TASKS, Family
from dws.settings import AugmentConfig
from dws.training import RunDir

MINUTES = "Minutes are of training steps, without validation."


def results_of(evidence: Evidence, family: Family) -> Section:
    """The test results of a family of tasks, beside the published ones if there are any."""
    tasks = evidence.tasks_of(family)
    runs = evidence.cells if family.by_size else evidence.main
    runs = runs[runs["task"].isin(tasks)]
    largest = runs.groupby(["task", "model"])["num_train"].transform("max")
    costed = runs[runs["num_train"] == largest]
    columns = [
        parameters_column(costed),
        *training_column(runs),
        *(column for task in tasks for column in _columns_of(evidence, task, tasks, runs)),
        Column.of("networks/s", costed, lambda rows: rows["networks_per_second"].median()),
        Column.of("minutes a run", costed, lambda rows: rows["train_seconds"].mean() / 60),
    ]
    listed = {*runs["model"], *(m for task in tasks for m in evidence.scope.methods_of(task))}
    references = dict.fromkeys(title for result in runs["result"] for title in result.references)
    rows = [*references, *(method for method in evidence.methods if method in listed)]
    frame = by_method(rows, columns)
    if family.by_size:
        note = (
            f"{SPREAD.capitalize()}. The paper shows a plot only. Rates and minutes are those of "
            f"each method's largest number. {MINUTES}"
        )
    else:
        note = f"{training_sizes(evidence, tasks)} {MINUTES}"
    sources = [evidence.describe(task).source for task in tasks]
    note = " ".join(
        [note, *(f"Published values: {text}." for text in dict.fromkeys(sources) if text)]
    )
    table = Table(family.name, family.title, frame, note)
    return Section(
        family.section,
        tables=tables_apart(evidence, table) if family.is_of_paper else [table],
        details=list(outcomes(evidence, tasks)),
    )


def edits(evidence: Evidence, pictures: Path) -> Section:
    """Images before and after an edit."""
    drawn = [p for task in evidence.tasks for p in edited_images(evidence, task, pictures)]
    return Section("Edited images", pictures=drawn)


def parameters_column(runs: pd.DataFrame) -> Column:
    """The numbers of parameters of each method, in the order of tasks."""

    def numbers(rows: pd.DataFrame) -> Several:
        in_order = rows.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable")
        return Several(list(dict.fromkeys(in_order["num_parameters"])), " / ", ",")

    order = [*TASKS, *runs["task"]]
    return Column.of("parameters", runs, numbers)


def training_column(runs: pd.DataFrame) -> Iterator[Column]:
    """What methods are trained with beside the loss of their task, if that is recorded of any."""
    known = runs[[bool(result.settings) for result in runs["result"]]]

    def additions(rows: pd.DataFrame) -> Several:
        texts = [_additions(result.settings) for result in rows["result"]]
        return Several(list(dict.fromkeys(texts)), " / ")

    if len(known):
        yield Column.of("also trained with", known, additions)


def _additions(settings: Mapping[str, Any]) -> str:
    augment = AugmentConfig(**settings.get("augment", {}))
    # alone, these change nothing
    none = AugmentConfig(until=augment.until, omega_0=augment.omega_0)
    parts = {
        "augmentation": augment != none,
        "auxiliary loss": settings.get("reconstruction", {}).get("weight", 0) > 0,
        "Muon": settings.get("optim", {}).get("muon_lr") is not None,
    }
    return ", ".join(name for name, is_used in parts.items() if is_used) or "nothing"


def _columns_of(
    evidence: Evidence, task: str, tasks: Sequence[str], runs: pd.DataFrame
) -> Iterator[Column]:
    """Published and measured results of a task."""
    info = evidence.describe(task)
    family = info.family
    prefix = f"{info.title}, " if len(tasks) > 1 else ""
    runs = runs[runs["task"] == task]
    expected = evidence.scope.methods_of(task)
    if info.published:
        known = info.published.items()
        cells = {method: _published(mean, std) + info.unit for method, (mean, std) in known}
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
        here = Column.of(f"{prefix}here", runs, with_seeds, expected)
        monitored = runs["metric"].iloc[0] if len(runs) else ""
        yield replace(here, cells={**here.cells, **_references(runs, monitored)})
    for name, title in (family.metrics or {}).items():
        yield Column.of(prefix + title, runs, partial(metric, name=name), expected)


def _published(mean: float, std: float | None) -> str:
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def _references(runs: pd.DataFrame, name: str) -> dict[str, Spread]:
    """A metric of what methods are compared with, by title."""
    return {
        title: Spread([metrics[name]], result.units.get(name, ""))
        for result in runs["result"]
        for title, metrics in result.references.items()
        if name in metrics
    }


def metric(runs: pd.DataFrame, name: str, *, seeds: bool = False) -> Spread:
    """A metric of the test split, of runs that differ in the seed."""
    values = tuple(result.test.get(name) for result in runs["result"])
    unit = runs["result"].iloc[0].units.get(name, "")
    return Spread(values, unit, with_seeds=seeds)


def tables_apart(evidence: Evidence, table: Table) -> list[Table]:
    """The paper's methods in one table; others, if there are any, in tables of their own."""
    asks = evidence.runs.groupby("model")["reads"].agg(lambda reads: "raw" in set(reads))
    frame, methods = table.frame, table.frame["method"]
    is_function = methods.isin(asks.index[asks])
    is_paper = methods.isin(PAPER_METHODS) & ~is_function
    kinds = {
        "": ("", is_paper),
        "-others": (": not in the paper", ~is_paper & ~is_function),
        "-functions": (": not in the paper, with access to the functions", is_function),
    }
    parts = [
        replace(
            table, name=table.name + end, title=table.title + more, frame=_filled(frame[chosen])
        )
        for end, (more, chosen) in kinds.items()
        if chosen.any()
    ]
    return [replace(part, note=part.note * (part is parts[-1])) for part in parts]


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that are not empty."""
    return frame.loc[:, [(frame.iloc[:, n] != "").any() for n in range(frame.shape[1])]]


def training_sizes(evidence: Evidence, tasks: Sequence[str]) -> str:
    """How many training and test networks a table is of."""
    sizes = [
        f"{evidence.describe(task).title}: {evidence.main_sizes[task]:,} training, "
        f"{numbers_tested(evidence.of_task(evidence.main, task))} test networks"
        for task in tasks
        if task in evidence.tasks
    ]
    return "; ".join([*sizes, SPREAD]) + "."


def numbers_tested(runs: pd.DataFrame) -> str:
    """Numbers of test networks: more than one if cells are not of the same zoo."""
    return " or ".join(f"{size:,}" for size in sorted(set(runs["num_test"])))


def learning_from_more(evidence: Evidence) -> Section:
    """Methods that were trained on several numbers of networks, of tasks whose table has one."""
    tables: list[Table] = []
    for task in evidence.tasks:
        info = evidence.describe(task)
        cells = evidence.of_task(evidence.cells, task)
        cells = cells[cells.groupby("model")["num_train"].transform("nunique") > 1]
        if info.family.by_size or not len(cells):
            continue
        sizes = list(cells.groupby("num_train"))
        columns = [Column.of(f"{n:,} networks", runs, with_seeds, expected=()) for n, runs in sizes]
        trained = "; ".join(f"{size:,}: {_training(runs)}" for size, runs in sizes)
        tables.append(
            Table(
                distinct_file_name("sizes", task),
                f"{info.title}: test {cells['metric'].iloc[0]} by number of training networks",
                by_method(list(cells["model"].unique()), columns),
                f"{SPREAD.capitalize()}. Of each column: {trained}.",
            )
        )
    return Section("Results by number of training networks", tables=tables)


def _training(runs: pd.DataFrame) -> str:
    """How long runs were trained, and on how many networks they were tested."""
    epochs = " or ".join(str(number) for number in sorted(set(runs["num_epochs"])))
    tasks = [(result.settings or {}).get("task", {}) for result in runs["result"]]
    repeated = " of the networks repeated" if any(t.get("repeat_train") for t in tasks) else ""
    return f"{epochs} epochs{repeated}, {numbers_tested(runs)} test networks"


def other_settings(evidence: Evidence) -> Section:
    """What becomes of a method's validation metric if it is trained in another way."""
    tables = []
    for key, groups in evidence.groups.groupby(CELL):
        task, size, method = str(key[0]), key[1], str(key[2])
        if len(groups) == 1:
            continue
        runs = {
            str(key[-1]): rows for key, rows in evidence.runs.merge(groups[GROUP]).groupby(GROUP)
        }
        results: dict[str, Result] = {key: rows["result"].iloc[0] for key, rows in runs.items()}
        in_tables = evidence.cells.merge(groups[GROUP])["identity"].iloc[0]
        usual = _reference(results, in_tables)
        others = groups[groups["identity"] != usual].sort_values(
            "merit", ascending=False, kind="stable"
        )
        order = [usual, *others["identity"]]
        metric_name = runs[usual]["metric"].iloc[0]
        frame = pd.DataFrame(
            {
                "differs in": [_difference(results[key], results[usual]) for key in order],
                f"validation {metric_name}": [with_seeds(runs[key], "validation") for key in order],
                "networks/s": [runs[key]["networks_per_second"].mean() for key in order],
            }
        )
        of_what = (
            f"{evidence.describe(task).title}, {method_title(method)}, {size:,} training networks"
        )
        name = distinct_file_name("settings", task, method, str(size))
        tables.append(Table(name, f"{of_what}, trained in other ways", frame))
    text = (
        "Rows say in what the training differs from the first. The tables above have the runs with "
        "most seeds, and of equals those best on validation."
    )
    return Section("Other settings", text, tables=tables)


def _reference(results: Mapping[str, Result], in_tables: str) -> str:
    """The run that all others differ from in the fewest settings, as an ablation's do.

    Of equals it is the one of the tables.
    """
    known = {key: result.settings for key, result in results.items() if result.settings}

    def distance(key: str) -> int:
        return sum(len(list(differences(other, known[key]))) for other in known.values())

    return min(known, key=lambda key: (distance(key), key != in_tables), default=in_tables)


def _difference(result: Result, usual: Result) -> str:
    """In which settings a run is not as the usual one."""
    if result is usual:
        return "nothing"
    if not result.settings or not usual.settings:
        return f"not known: {result.settings_hash}"
    # a zoo by its folder: its hash says nothing to a reader
    names = {f"zoo={result.zoo}": f"zoo.path={result.zoo_path}"}
    return ", ".join(names.get(d, d) for d in differences(result.settings, usual.settings))


def differences(
    settings: Mapping[str, Any], usual: Mapping[str, Any], prefix: str = ""
) -> Iterator[str]:
    """Settings that are not the usual ones, as one would give them to ``dws-train``."""
    for key in sorted({*settings, *usual}):
        name, here, there = f"{prefix}{key}", settings.get(key), usual.get(key)
        if key not in settings:
            yield f"without {name}"
        elif isinstance(here, Mapping):
            yield from differences(here, there if isinstance(there, Mapping) else {}, f"{name}.")
        elif key not in usual or here != there:
            yield f"{name}={'null' if here is None else here}"


def symmetry(evidence: Evidence) -> Section:
    """What becomes of the test metric when hidden neurons are permuted."""
    tasks = evidence.tasks

    def cell(runs: pd.DataFrame) -> Several:
        return Several([spread(runs), with_seeds(runs, "permuted")], " → ")

    columns = [
        Column.of(
            evidence.describe(task).title,
            evidence.of_task(evidence.main, task),
            cell,
            expected=(),
        )
        for task in tasks
    ]
    table = Table(
        "symmetry",
        "Test metric → the same with the hidden neurons of every test network permuted",
        by_method(list(evidence.main["model"].unique()), columns),
        "A permutation changes no network's function. For alignment the permuted networks are "
        f"aligned again. {training_sizes(evidence, tasks)}",
    )
    return Section("Permuted neurons", tables=[table])


def on_other_zoos(evidence: Evidence) -> Section:
    """The test metric on zoos that methods were not trained on, of runs whose folders are here."""
    cells: dict[str, dict[str, list[float]]] = {}  # by column and method, one for each seed
    references: dict[str, dict[str, float]] = {}  # by column
    units: dict[str, str] = {}
    for _, run in evidence.main.dropna(subset="folder").iterrows():
        try:
            transfers = read_transfers(Path(run["folder"]))
        except (ValueError, OSError) as error:
            evidence.leave_out(f"{error}; it is not in the table of other zoos")
            continue
        for transfer in transfers:
            title = f"{evidence.describe(run['task']).title} → {transfer.zoo_path}"
            of_method = cells.setdefault(title, {}).setdefault(run["model"], [])
            of_method.append(transfer.test[transfer.metric])
            others = transfer.references.items()
            references[title] = {name: metrics[transfer.metric] for name, metrics in others}
            units[title] = transfer.units.get(transfer.metric, "")
    columns = [
        Column(
            title,
            {
                **{
                    name: Spread([value], units[title]) for name, value in references[title].items()
                },
                **{m: Spread(v, units[title], with_seeds=True) for m, v in by_model.items()},
            },
        )
        for title, by_model in cells.items()
    ]
    methods = [m for m in evidence.methods if any(m in by_model for by_model in cells.values())]
    names = dict.fromkeys(name for found in references.values() for name in found)
    table = Table(
        "other-zoos",
        "Test metric on zoos that methods were not trained on: what they learned → the other zoo",
        by_method([*names, *methods], columns),
        f"{SPREAD.capitalize()}.",
    )
    return Section("Other zoos", tables=[table] if columns else [])


def embeddings(evidence: Evidence, figures: Sequence[EmbeddingFigure]) -> Section:
    """Scores of the embeddings, since distances in a t-SNE can mislead, and further figures."""
    columns = []
    tasks = [task for task in evidence.tasks if evidence.predicts_labels(task)]
    for task in tasks:
        for key, kind in (("neighbours", "neighbours"), ("linear_probe", "probe")):
            runs = evidence.of_task(evidence.main, task)
            cells = {
                str(method): Spread([result.embedding[key] for result in results], digits=3)
                for method, results in runs.groupby("model")["result"]
            }
            if task in evidence.raw:
                cells[RAW_WEIGHTS] = Spread([evidence.raw[task].embedding[key]], digits=3)
            columns.append(Column(f"{evidence.describe(task).title}, {kind}", cells, ()))
    shown = evidence.main[evidence.main["task"].isin(tasks)]
    table = Table(
        "embeddings",
        "How well labels can be predicted from the embedding of the test networks",
        by_method([*shown["model"].unique(), RAW_WEIGHTS], columns),
        "neighbours: for classes the share of the 10 nearest networks of other signals with the "
        "same one, for numbers R² of their mean; probe: accuracy or R² of a ridge classifier or "
        "regression, fitted to the training split (for the weights to its first 10,000 networks). "
        "Not known where there are 10 test networks or less, all labels are the same, or an "
        "embedding is not finite. " + training_sizes(evidence, tasks),
    )
    tables = [table] if tasks else []
    return Section("Embeddings: other tasks and scores", embeddings=figures, tables=tables)


def learning(evidence: Evidence, pictures: Path) -> Section:
    """The validation metric by epoch."""
    drawn: list[Picture] = []
    for task in evidence.tasks:
        series = {}
        label = ""
        here = evidence.of_task(evidence.main, task).dropna(subset="folder")
        for method, runs in here.groupby("model", sort=False):
            label = f"validation {runs['metric'].iloc[0]}"
            epochs = list(zip(*_epochs(evidence, runs), strict=False))  # those that all seeds have
            if epochs:
                series[method_title(str(method))] = (list(range(1, len(epochs) + 1)), epochs)
        text = f"{evidence.describe(task).title}: {label} by epoch, by method"
        file = pictures / distinct_file_name("learning", task, suffix=".svg")
        drawn += curve_picture(
            file,
            series,
            f"{text}; bands span the seeds",
            x_label="epoch",
            y_label=label,
            order=evidence.styles,
        )
    return Section("Learning curves", pictures=drawn)


def _epochs(evidence: Evidence, runs: pd.DataFrame) -> Iterator[list[float]]:
    """The validation metric of each epoch, of each run."""
    key = f"val_{runs['metric'].iloc[0]}"
    for path in runs["folder"]:
        folder = RunDir(Path(path))
        try:
            rows = folder.metrics()
            if not rows:
                raise UserError(f"expected the epochs of a run in {folder.metrics_file}, got none")
            if not all(isinstance(row.get(key), (int, float)) for row in rows):
                raise UserError(f"expected {key} in every line of {folder.metrics_file}")
        except (ValueError, OSError) as error:
            evidence.leave_out(f"learning curve of {folder.path}: {error}")
        else:
            yield [row[key] for row in rows]
