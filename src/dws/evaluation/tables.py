"""Results of many runs, grouped by what they have in common, and tables of them."""

from __future__ import annotations

import csv
import io
import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any, NotRequired

from pydantic import Field
from tabulate import tabulate
from typing_extensions import TypedDict

from dws.errors import NotFoundError, UserError
from dws.io.content import check_content, read_json
from dws.zoo.manifest import Quantiles

FileName = Annotated[str, Field(pattern=r"^[\w.-]+$")]  # of the same folder


class Origin(TypedDict):
    """Where a figure comes from."""

    code: str
    machine: str
    command: str


class Opened(TypedDict):
    """What lies open in an embedding; None where it could not be measured."""

    neighbours: float | None
    linear_probe: float | None


class Settings(TypedDict, total=False):
    """Settings of a run; of each group only the kind matters here."""

    task: dict[str, Any]


class Result(TypedDict):
    """What tables are made of in a ``result.json``, see ``dws.evaluation.evaluate``."""

    task: str
    model: str
    seed: int
    settings: NotRequired[Settings]  # not in older ones
    settings_hash: str
    num_train: int
    zoo: str
    zoo_path: str
    metric: str
    higher_is_better: bool
    labels: list[str]
    reads: str
    validation: dict[str, float]
    test: dict[str, float]
    test_interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    test_permuted: dict[str, float]
    embedding: Opened
    num_test: int
    num_parameters: int
    num_epochs: int
    best_epoch: float
    networks_per_second: float
    train_seconds: float
    pictures: list[FileName]
    origin: NotRequired[Origin]


class ZooFacts(TypedDict):
    """What the report says of a zoo: the PSNR in dB, standard deviations as in the manifest."""

    path: str
    signals: str
    num_inrs: int
    fit: str
    psnr: Quantiles | None
    std: dict[str, float]


class Kept(TypedDict):
    """The ``results.json`` of a report: runs, and by task what was known of their zoos."""

    scale: str
    results: list[Result]
    zoos: NotRequired[dict[str, ZooFacts]]
    raw_weights: NotRequired[dict[str, Opened]]


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        name: Of its files.
        title: What it shows, in a line.
        header: Of each column.
        rows: As many cells each.
        note: What a reader has to know.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """For the terminal."""
        return tabulate(self.rows, self.header, tablefmt="github", disable_numparse=True)

    def document(self) -> str:
        """For a README: title, Markdown table with names as they are, note."""
        rows = [
            [" ".join(escape(cell, quote=False).replace("|", "\\|").splitlines()) for cell in row]
            for row in self.rows
        ]
        table = replace(self, rows=rows).markdown()
        return "\n\n".join(filter(None, [f"**{self.title}**", table, self.note])) + "\n"

    def latex(self) -> str:
        """For a paper, with the package booktabs."""
        text = tabulate(self.rows, self.header, tablefmt="latex_booktabs", disable_numparse=True)
        return text.replace("→", r"$\to$")

    def csv(self) -> str:
        """For a spreadsheet."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.header, *self.rows])
        return buffer.getvalue()


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed.

    Attributes:
        results: Their ``result.json``, with the ``folder`` of each, None for kept figures.
    """

    results: Sequence[dict[str, Any]]

    def __getitem__(self, key: str) -> Any:
        """What is the same for all of them."""
        return self.results[0][key]

    def values(self, split: str) -> list[float]:
        """The monitored metric of each run on ``validation``, ``test`` or ``test_permuted``."""
        return [result[split][self["metric"]] for result in self.results]

    def measured(self, split: str, *, with_seeds: bool = False) -> str:
        """Mean ± standard deviation over seeds, see ``spread``; accuracies in percent."""
        is_share = self["metric"] == "accuracy"
        return spread(self.values(split), is_share=is_share, with_seeds=with_seeds)

    def mean(self, read: Callable[[dict[str, Any]], float]) -> float:
        """Mean over seeds of something else."""
        return mean(read(result) for result in self.results)

    @property
    def here(self) -> list[dict[str, Any]]:
        """Those whose run folders are there, and not only the figures that were kept of them."""
        return [result for result in self.results if result["folder"] is not None]

    @property
    def merit(self) -> float:
        """How well it does on validation: more is better, a seed that is not finite worst."""
        value = mean(self.values("validation"))
        if not math.isfinite(value):
            return -math.inf
        return value if self["higher_is_better"] else -value


def read_kept(file: Path | None) -> dict[str, Any]:
    """Read the ``results.json`` of an earlier report, perhaps of another machine; or of none.

    Raises:
        ValueError: If it holds something else.
    """
    empty: dict[str, Any] = {"results": [], "zoos": {}, "raw_weights": {}}
    if file is None:
        return empty
    content = read_json(file)
    check_content(content, Kept, what=f"the results.json of a report in {file}")
    for result in content["results"]:
        _check_metric(result, file)
    return {**empty, **content}


def load_results(
    folder: Path,
    *,
    kept: Sequence[Mapping[str, Any]] = (),
    damaged: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Every ``result.json`` below a folder, each with its own ``folder``; kept ones with None.

    Args:
        folder: Where to look.
        kept: Results of an earlier report, which come after those of the folder.
        damaged: Gets what is wrong with each result that cannot be read, so that the others can.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If none can be read, or one cannot and ``damaged`` is not given.
    """
    results = []
    wrong: list[str] = []
    for file in _find_results(folder, wrong):
        try:
            results.append({**read_result(file), "folder": str(file.parent)})
        except ValueError as error:
            wrong.append(str(error))
    results += [{**result, "folder": None} for result in kept]
    if wrong and (damaged is None or not results):
        more = f" Of {len(wrong)} results none can be read." if len(wrong) > 1 else ""
        raise UserError(wrong[0] + more * (not results))
    if not results:
        raise NotFoundError(
            f"expected result.json files below {folder}, got none; run dws-train and dws-evaluate"
        )
    if damaged is not None:
        damaged += wrong
    return results


def _find_results(folder: Path, wrong: list[str]) -> list[Path]:
    """Whatever is called ``result.json``; folders that cannot be looked into are named."""

    def refused(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            wrong.append(f"{error.filename} cannot be searched for results ({error.strerror})")

    return sorted(
        Path(place, "result.json")
        for place, folders, files in os.walk(folder, onerror=refused)
        if "result.json" in (*folders, *files)
    )


def read_result(file: Path) -> dict[str, Any]:
    """Read a ``result.json``.

    Raises:
        ValueError: If it is no file, or holds something else.
    """
    try:
        result = read_json(file)
        check_content(result, Result, what=f"a result in {file}")
        _check_metric(result, file)
    except ValueError as error:
        raise UserError(f"{error}; delete that file and run dws-evaluate again") from error
    except OSError as error:
        raise UserError(
            f"expected a result in {file}, got something that cannot be read ({error.strerror}); "
            "make it readable, or remove it and run dws-evaluate again"
        ) from error
    return dict(result)


def _check_metric(result: Mapping[str, Any], file: Path) -> None:
    """Make sure that a result has its metric on every split."""
    known = (*result["validation"], *result["test"], *result["test_permuted"])
    if known.count(result["metric"]) != 3:
        raise UserError(f"expected {result['metric']} of all splits in {file}, got {known}")


def group_by_seed(results: Sequence[dict[str, Any]]) -> list[Group]:
    """Runs that differ in nothing but the seed, together; sorted by task, size and model."""
    groups: dict[tuple[str, int, str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for result in results:
        key = (result["task"], result["num_train"], result["model"], result["settings_hash"])
        groups[key].setdefault(result["seed"], result)  # a seed counts once, wherever it lies
    ordered = sorted(groups.items(), key=lambda item: item[0])
    return [Group([group[seed] for seed in sorted(group)]) for _, group in ordered]


def overview(groups: Sequence[Group]) -> Table:
    """All runs, one row for each group."""
    header = (
        *(
            "task",
            "trained on",
            "model",
            "parameters",
            "epochs",
            "seeds",
            "metric",
            "validation",
            "test",
        ),
        *("networks/s", "minutes"),
    )
    rows = [
        (
            group["task"],
            f"{group['num_train']:,}",
            group["model"],
            f"{group['num_parameters']:,}",
            f"{group.mean(lambda result: result['num_epochs']):.0f}",
            str(len(group.results)),
            group["metric"],
            group.measured("validation"),
            group.measured("test"),
            f"{group.mean(lambda result: result['networks_per_second']):,.0f}",
            f"{group.mean(lambda result: result['train_seconds']) / 60:.1f}",
        )
        for group in groups
    ]
    return Table("overview", "All runs, mean ± standard deviation over seeds", header, rows)


def spread(
    values: Sequence[float | None],
    *,
    is_share: bool,
    digits: int | None = None,
    with_seeds: bool = False,
) -> str:
    """Mean, and ± only where there is more than one value; shares in percent.

    Values that are not finite, or None, are counted beside the mean of the others.

    Args:
        values: One a seed.
        is_share: Whether they are shares of 1.
        digits: After the point; by default 1 for a share and else 4.
        with_seeds: Say how many seeds there are, as ``(n = 3)``.
    """
    scale, unit, usual = (100, " %", 1) if is_share else (1, "", 4)
    digits = usual if digits is None else digits
    finite = [value for value in values if value is not None and math.isfinite(value)]
    without = len(values) - len(finite)
    kind = "not known" if None in values else "not finite"
    if finite:
        text = f"{scale * mean(finite):.{digits}f}"
        if len(finite) > 1:
            text += f" ± {scale * stdev(finite):.{digits}f}"
        text += unit
    else:
        kinds = {str(value) for value in values}
        text = kind if len(kinds) > 1 or None in values else kinds.pop()
        without = 0
    if with_seeds:
        return f"{text} (n = {len(values)}{f', {without} {kind}' if without else ''})"
    return text + (f" ({without} of {len(values)} {kind})" if without else "")
