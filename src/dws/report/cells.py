"""Cells and rows of the report's tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from dws.report.evidence import TITLES, Evidence
from dws.report.published import METHODS, RESULTS
from dws.report.results import Group
from dws.report.tables import Table, spread

NOT_RUN = "not run"
SPREAD = "mean ± standard deviation over n seeds"
MINUTES = "Minutes are of training steps, without validation."


def tables_apart(
    evidence: Evidence,
    name: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    note: str,
) -> list[Table]:
    """The paper's methods in one table; others, if there are any, in tables of their own."""
    ask_functions = {group["model"] for group in evidence.groups if group["reads"] == "raw"}
    functions = [row for row in rows if row[0] in ask_functions]
    paper = [row for row in rows if row[0] in METHODS]
    others = [row for row in rows if row not in functions and row not in paper]
    tables = [Table(name, title, header, paper, note)]
    if others:
        tables.append(Table(f"{name}-others", f"{title}: not in the paper", header, others, note))
    if functions:
        heading = f"{title}: not in the paper, with access to the functions"
        tables.append(Table(f"{name}-functions", heading, header, functions, note))
    return tables


def rows_of(
    evidence: Evidence, tasks: Sequence[str], *, published: bool = True
) -> Iterator[tuple[str, list[Group | None]]]:
    """Each method with its cell in each task; those of the paper even if they were not run."""
    for method in evidence.methods:
        groups = [evidence.cell(task, method) for task in tasks]
        if any(groups) or (published and method in METHODS):
            yield method, groups


def first_runs(groups: Sequence[Group | None]) -> list[dict[str, Any]]:
    """The first run of each cell whose folder is here."""
    return [run for group in groups if group for run in group.here[:1]]


def beside_published(
    tasks: Sequence[str], method: str, groups: Sequence[Group | None]
) -> Iterator[str]:
    """The published figure of a method on each task, and the one measured here."""
    for task, group in zip(tasks, groups, strict=True):
        known = RESULTS[task].get(method)
        unit = "" if task == "ssl" else " %"
        yield f"{known[0]:.2f} ± {known[1]:.2f}{unit}" if known else ""
        yield with_seeds(group) if group else NOT_RUN


def with_seeds(group: Group, split: str = "test") -> str:
    """The figure, and from how many seeds."""
    return group.measured(split, with_seeds=True)


def parameters(groups: Sequence[Group | None]) -> list[str]:
    """Numbers of parameters, of all tasks in one cell."""
    counts = {f"{group['num_parameters']:,}" for group in groups if group}
    return [" / ".join(sorted(counts))]


def cost(groups: Sequence[Group | None]) -> list[str]:
    """Networks a second (median over runs) and minutes of training (mean)."""
    runs = [result for group in groups if group for result in group.results]
    if not runs:
        return ["", ""]
    rate = median(run["networks_per_second"] for run in runs)
    minutes = sum(run["train_seconds"] for run in runs) / len(runs) / 60
    return [f"{rate:,.0f}", f"{minutes:,.1f}"]


def each_mse(group: Group | None, label: str) -> str:
    """Mean squared error of one label alone."""
    if group is None:
        return NOT_RUN
    values = [run["test"].get(f"mse_{label}") for run in group.results]
    return "" if None in values else spread(values, is_share=False)


def open_in(described: Sequence[Mapping[str, float | None]]) -> list[str]:
    """What ``describe_embedding`` gave, over seeds."""
    cells = []
    for key in ("neighbours", "linear_probe"):
        values = [each[key] for each in described]
        cells.append(spread(values, is_share=False, digits=3) if values else "not known")
    return cells


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


def training_sizes(evidence: Evidence, tasks: Sequence[str]) -> str:
    """How many training and test networks a table is of."""
    sizes = []
    for task in tasks:
        cells = (evidence.cell(task, method) for method in evidence.methods)
        if num_test := numbers_tested([cell for cell in cells if cell]):
            size = evidence.main_size(task)
            sizes.append(f"{TITLES.get(task, task)}: {size:,} training, {num_test} test networks")
    return "; ".join([*sizes, SPREAD]) + "."


def numbers_tested(groups: Sequence[Group]) -> str:
    """Numbers of test networks: more than one if cells are not of the same zoo."""
    return " or ".join(f"{size:,}" for size in sorted({group["num_test"] for group in groups}))


def _sizes(evidence: Evidence, task: str) -> Sequence[int | None]:
    """Numbers of training networks that a table of all methods has columns for."""
    return (evidence.sizes(task) if task == "sine" else []) or [None]


def how_to_run_the_rest(evidence: Evidence, tasks: Sequence[str]) -> str:
    """The command for the paper's cells that are missing, or nothing."""
    missing = [
        (task, method)
        for task in tasks
        for method in METHODS
        for size in _sizes(evidence, task)
        if evidence.cell(task, method, size) is None
    ]
    if not missing:
        return ""
    named, methods = (" ".join(dict.fromkeys(names)) for names in zip(*missing, strict=True))
    command = f"make reproduce-all {evidence.make} TASKS='{named}' METHODS='{methods}'"
    smaller = evidence.sizes("sine")[:-1]
    if tasks == ("sine",) and smaller:
        command += f" SIZES='{' '.join(map(str, smaller))}'"
    return f"What was not run: {command}"
