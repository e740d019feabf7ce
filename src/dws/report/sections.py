"""The parts of the report: each table is a group-by or pivot of the results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from dws.errors import UserError
from dws.evaluation.result import Result
from dws.io.names import distinct_file_name
from dws.report.evidence import CELL, GROUP, Evidence
from dws.report.pictures import (
    Picture,
    curve_picture,
    data_efficiency,
    embedding_pictures,
    outcomes,
    read_picture,
)
from dws.report.tables import Several, Spread, Table
from dws.report.tasks import METHODS, ZOO_STD, Family, TaskInfo, describe
from dws.training import RunDir

NOT_RUN = "not run"
SPREAD = "mean ± standard deviation over n seeds"
MINUTES = "Minutes are of training steps, without validation."


@dataclass(frozen=True)
class Section:
    """A part of the page: text, tables and pictures, and pictures that are folded away."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    details: Sequence[Picture] = ()


@dataclass(frozen=True)
class Column:
    """A column of a table with a row for each method.

    Attributes:
        title: Above it.
        cells: By method.
        fill: Where there is none.
    """

    title: str
    cells: Mapping[str, Any]
    fill: str = ""

    @classmethod
    def of(
        cls, title: str, runs: pd.DataFrame, make: Callable[[pd.DataFrame], Any], fill: str = ""
    ) -> Column:
        """A cell for the runs of each method."""
        return cls(title, {str(m): make(rows) for m, rows in runs.groupby("model")}, fill)


def by_method(methods: Sequence[str], columns: Sequence[Column]) -> pd.DataFrame:
    """The columns side by side."""
    cells = {n: [c.cells.get(m, c.fill) for m in methods] for n, c in enumerate(columns)}
    frame = pd.DataFrame(cells, index=list(methods), dtype=object)
    frame.columns = pd.Index([column.title for column in columns])  # titles may be equal
    frame.insert(0, "method", list(methods), allow_duplicates=True)
    return frame


def spread(runs: pd.DataFrame, split: str = "test") -> Spread:
    """The monitored metric of runs that differ in the seed."""
    return Spread(tuple(runs[split]), runs["unit"].iloc[0])


def with_seeds(runs: pd.DataFrame, split: str = "test") -> Spread:
    """The same, and from how many seeds."""
    return replace(spread(runs, split), with_seeds=True)


def results_of(evidence: Evidence, family: Family, pictures: Path) -> Section:
    """The test results of a family of tasks, beside the published ones if there are any."""
    tasks = evidence.tasks_of(family)
    runs = evidence.cells if family.by_size else evidence.main
    runs = runs[runs["task"].isin(tasks)]
    largest = runs.groupby(["task", "model"])["num_train"].transform("max")
    costed = runs[runs["num_train"] == largest]
    columns = [
        Column.of(
            "parameters",
            costed,
            lambda rows: Several(sorted({*rows["num_parameters"]}), " / ", ","),
        ),
        *(
            column
            for task in tasks
            for column in _columns_of(evidence.describe(task), task, tasks, runs)
        ),
        Column.of("networks/s", costed, lambda rows: rows["networks_per_second"].median()),
        Column.of("minutes a run", costed, lambda rows: rows["train_seconds"].mean() / 60),
    ]
    is_of_paper = bool(family.source) and evidence.has_paper
    listed = {*runs["model"], *(METHODS if is_of_paper else ())}
    frame = by_method([method for method in evidence.methods if method in listed], columns)
    if family.by_size:
        note = (
            f"{SPREAD.capitalize()}. The paper shows a plot only. Rates and minutes are those of "
            f"each method's largest number. {MINUTES}"
        )
    else:
        note = f"{training_sizes(evidence, tasks)} {MINUTES}"
    table = Table(family.name, family.title, frame, note)
    return Section(
        family.section,
        how_to_run_the_rest(evidence, tasks) if is_of_paper else "",
        tables_apart(evidence, table) if is_of_paper else [table],
        [p for task in tasks if family.by_size for p in data_efficiency(evidence, task, pictures)],
        list(outcomes(evidence, tasks)),
    )


def _columns_of(
    info: TaskInfo, task: str, tasks: Sequence[str], runs: pd.DataFrame
) -> Iterator[Column]:
    """Published and measured results of a task."""
    family = info.family
    prefix = f"{info.title}, " if len(tasks) > 1 else ""
    runs = runs[runs["task"] == task]
    if info.published:
        known = info.published.items()
        cells = {method: f"{mean:.2f} ± {std:.2f}{info.unit}" for method, (mean, std) in known}
        yield Column(f"{prefix}published", cells)
    if family.metrics is None:
        monitored = runs["metric"].iloc[0]
        names = dict.fromkeys([monitored, *(name for r in runs["result"] for name in r.test)])
        yield Column.of(
            f"validation {monitored}", runs, lambda rows: with_seeds(rows, "validation")
        )
        for name in names:
            yield Column.of(f"test {name}", runs, partial(metric, name=name, seeds=True))
        return
    if family.by_size and len(runs):
        for size, of_size in runs.groupby("num_train"):
            yield Column.of(f"{size:,} networks", of_size, with_seeds, NOT_RUN)
    else:
        yield Column.of(f"{prefix}here", runs, with_seeds, NOT_RUN)
    for name, title in family.metrics.items():
        yield Column.of(prefix + title, runs, partial(metric, name=name), NOT_RUN)


def metric(runs: pd.DataFrame, name: str, *, seeds: bool = False) -> Spread:
    """A metric of the test split, of runs that differ in the seed."""
    values = tuple(result.test.get(name) for result in runs["result"])
    unit = runs["result"].iloc[0].units.get(name, "")
    return Spread(values, unit, with_seeds=seeds)


def tables_apart(evidence: Evidence, table: Table) -> list[Table]:
    """The paper's methods in one table; others, if there are any, in tables of their own."""
    asks = evidence.runs.groupby("model")["reads"].agg(lambda reads: "raw" in set(reads))
    methods = table.frame["method"]
    is_function = methods.isin(asks.index[asks])
    is_paper = methods.isin(METHODS) & ~is_function
    kinds = {
        "": ("", is_paper),
        "-others": (": not in the paper", ~is_paper & ~is_function),
        "-functions": (": not in the paper, with access to the functions", is_function),
    }
    return [
        replace(table, name=table.name + end, title=table.title + more, frame=table.frame[chosen])
        for end, (more, chosen) in kinds.items()
        if chosen.any() or not end
    ]


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


def how_to_run_the_rest(evidence: Evidence, tasks: Sequence[str]) -> str:
    """The command for the paper's cells that are missing, or nothing."""
    by_size = [task for task in tasks if evidence.describe(task).family.by_size]
    cells = evidence.cells if by_size else evidence.main
    found = set(zip(cells["task"], cells["model"], cells["num_train"], strict=True))
    missing = [
        (task, method)
        for task in tasks
        if evidence.describe(task).in_paper
        for method in METHODS
        for size in (evidence.sizes(task) if by_size else [evidence.main_sizes.get(task)]) or [None]
        if (task, method, size) not in found
    ]
    if not missing:
        return ""
    named, methods = (" ".join(dict.fromkeys(names)) for names in zip(*missing, strict=True))
    command = f"make reproduce-all {evidence.make} TASKS='{named}' METHODS='{methods}'"
    if smaller := [size for task in by_size for size in evidence.sizes(task)[:-1]]:
        command += f" SIZES='{' '.join(map(str, smaller))}'"
    return f"What was not run: {command}"


def learning_from_more(evidence: Evidence, pictures: Path) -> Section:
    """Methods that were trained on several numbers of networks, of tasks whose table has one."""
    tables: list[Table] = []
    drawn: list[Picture] = []
    for task in evidence.tasks:
        info = evidence.describe(task)
        cells = evidence.of_task(evidence.cells, task)
        cells = cells[cells.groupby("model")["num_train"].transform("nunique") > 1]
        if info.family.by_size or not len(cells):
            continue
        sizes = list(cells.groupby("num_train"))
        columns = [Column.of(f"{n:,} networks", runs, with_seeds, NOT_RUN) for n, runs in sizes]
        trained = "; ".join(f"{size:,}: {_training(runs)}" for size, runs in sizes)
        tables.append(
            Table(
                distinct_file_name("sizes", task),
                f"{info.title}: test {cells['metric'].iloc[0]} by number of training networks",
                by_method(list(cells["model"].unique()), columns),
                f"{SPREAD.capitalize()}. Of each column: {trained}.",
            )
        )
        drawn += data_efficiency(evidence, task, pictures)
    return Section("What more training networks give", tables=tables, pictures=drawn)


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
        of_what = f"{evidence.describe(task).title}, {method}, {size:,} training networks"
        name = distinct_file_name("settings", task, method, str(size))
        tables.append(Table(name, f"{of_what}, trained in other ways", frame))
    text = (
        "Rows say in what the training differs from the first. The tables above have the runs with "
        "most seeds, and of equals those best on validation."
    )
    return Section("Other settings", text, tables)


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
            evidence.describe(task).title, evidence.of_task(evidence.main, task), cell, NOT_RUN
        )
        for task in tasks
    ]
    table = Table(
        "symmetry",
        "Test figures → the same with the hidden neurons of every test network reordered",
        by_method(list(evidence.main["model"].unique()), columns),
        "Reordering changes no network's function. Networks for mlp_alignment are aligned again. "
        + training_sizes(evidence, tasks),
    )
    return Section("Does the order of neurons matter?", tables=[table])


def embeddings(evidence: Evidence, pictures: Path) -> Section:
    """t-SNE side by side, with figures so that the pictures are not the only evidence."""
    weights = "weights as they are"
    columns = []
    for task in evidence.tasks:
        for key, kind in (("neighbours", "neighbours"), ("linear_probe", "probe")):
            runs = evidence.of_task(evidence.main, task)
            cells = {
                str(method): Spread([result.embedding[key] for result in results], digits=3)
                for method, results in runs.groupby("model")["result"]
            }
            if task in evidence.raw:
                cells[weights] = Spread([evidence.raw[task].embedding[key]], digits=3)
            columns.append(Column(f"{evidence.describe(task).title}, {kind}", cells, "not known"))
    table = Table(
        "embeddings",
        "How well labels can be predicted from the embedding of the test networks",
        by_method([*evidence.main["model"].unique(), weights], columns),
        "neighbours: for classes the share of the 10 nearest networks of other signals with the "
        "same one, for numbers R² of their mean; probe: accuracy or R² of a ridge classifier or "
        "regression, fitted to the training split (for the weights to its first 10,000 networks). "
        "Not known where there are 10 test networks or less, all labels are the same, or an "
        "embedding is not finite. " + training_sizes(evidence, evidence.tasks),
    )
    return Section(
        "Embeddings", tables=[table], pictures=list(embedding_pictures(evidence, pictures))
    )


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
                series[str(method)] = (list(range(1, len(epochs) + 1)), epochs)
        text = f"{evidence.describe(task).title}: {label} by epoch, by method"
        file = pictures / distinct_file_name("learning", task, suffix=".svg")
        drawn += curve_picture(
            file, series, f"{text}; bands span the seeds", x_label="epoch", y_label=label
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


def zoos(evidence: Evidence) -> Section:
    """The zoos that models were trained on."""
    zoos = {zoo.path: zoo for zoo in evidence.zoos.values()}
    layers = max((len(zoo.std) // 2 for zoo in zoos.values()), default=3)
    parts = [(kind, layer) for kind in ("weight", "bias") for layer in range(layers)]
    rows: list[list[object]] = []
    drawn: list[Picture] = []
    for path, zoo in zoos.items():
        quality = zoo.psnr
        rows.append(
            [
                *(path, zoo.num_inrs, zoo.fit),
                f"{quality['median']:.1f} ({quality['q05']:.1f} to {quality['q95']:.1f})"
                if quality
                else "not known",
                *(_std(zoo.std.get(f"{kind}.{layer}")) for kind, layer in parts),
            ]
        )
        if published := ZOO_STD.get(zoo.signals):
            stds = (dict(enumerate(published[kind])).get(layer) for kind, layer in parts)
            title = f"{describe(zoo.signals).title}, published, all splits"
            rows.append([title, 70_000, "", "", *map(_std, stds)])
        picture = Path(path, "reconstructions.png")
        if picture.is_file():
            text = f"Signals of {path} and what their INRs say, with PSNR"
            drawn += read_picture(evidence, picture, text)
    header = ["zoo", "INRs", "fit", "PSNR in dB, 5 to 95 %"]
    header += [f"{kind} {layer + 1}" for kind, layer in parts]
    table = Table(
        "zoos",
        "Zoos, with the standard deviations of their training networks, layer by layer",
        pd.DataFrame(rows, columns=header),
    )
    return Section("Zoos", tables=[table] if rows else [], pictures=drawn)


def _std(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def every_run(evidence: Evidence) -> Section:
    """Where each metric comes from."""
    runs = evidence.runs

    def metrics(*columns: str, join: str = "") -> list[Several]:
        """The monitored metric of each run."""
        rows = zip(runs["unit"], *(runs[column] for column in columns), strict=True)
        return [Several([Spread([v], unit) for v in values], join) for unit, *values in rows]

    epochs = zip(runs["best_epoch"], runs["num_epochs"], strict=True)
    frame = pd.DataFrame(
        {
            **{"task": runs["task"], "model": runs["model"], "trained on": runs["num_train"]},
            "seed": runs["seed"],
            "validation": metrics("validation"),
            "test": metrics("test"),
            "95 % interval": metrics("interval_low", "interval_high", join=" to "),
            "best epoch": [f"{best:.0f} of {num}" for best, num in epochs],
            "minutes": runs["train_seconds"] / 60,
            "settings": runs["identity"],
            **{key: runs[key].fillna("not known") for key in ("code", "machine", "command")},
        }
    )
    note = (
        "Intervals are bootstrapped over test signals, for the one trained network. Minutes are "
        "of training steps, without validation."
    )
    table = Table("runs", "Every run", frame, note)
    return Section("Every run", tables=[overview(evidence), table])


def overview(evidence: Evidence) -> Table:
    """All runs, one row for each group that differs in the seed only."""
    groups = evidence.runs.groupby(GROUP)
    means = groups[["num_epochs", "networks_per_second", "train_seconds"]].mean()
    first = groups[["num_parameters", "metric"]].first()
    keys = first.index.to_frame()
    frame = pd.DataFrame(
        {
            **{"task": keys["task"], "trained on": keys["num_train"], "model": keys["model"]},
            "parameters": first["num_parameters"],
            "epochs": means["num_epochs"],
            "seeds": groups.size(),
            "metric": first["metric"],
            **{s: [spread(runs, s) for _, runs in groups] for s in ("validation", "test")},
            "networks/s": means["networks_per_second"],
            "minutes": means["train_seconds"] / 60,
        }
    )
    return Table("overview", "All runs, mean ± standard deviation over seeds", frame)
