"""Results of many runs, grouped by what they have in common, and tables of them."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tabulate import tabulate

from dws.files import read_json

REQUIRED = {
    *("task", "model", "seed", "settings_hash", "num_train", "zoo", "zoo_path", "metric", "test"),
    *("test_interval", "test_permuted", "embedding", "validation", "num_parameters", "num_test"),
    *("networks_per_second", "train_seconds", "pictures", "origin", "labels"),
    *("higher_is_better", "best_epoch", "num_epochs", "reads"),
}


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
        """For a README: title, Markdown table, note."""
        return "\n\n".join(filter(None, [f"**{self.title}**", self.markdown(), self.note])) + "\n"

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
        results: Their ``result.json``, with the ``folder`` of each.
    """

    results: Sequence[dict[str, Any]]

    def __getitem__(self, key: str) -> Any:
        """What is the same for all of them."""
        return self.results[0][key]

    def values(self, split: str) -> list[float]:
        """The monitored metric of each run on ``validation``, ``test`` or ``test_permuted``."""
        return [result[split][self["metric"]] for result in self.results]

    def measured(self, split: str) -> str:
        """Mean ± standard deviation over seeds; accuracies in percent."""
        return spread(self.values(split), is_share=self["metric"] == "accuracy")

    def mean(self, read: Callable[[dict[str, Any]], float]) -> float:
        """Mean over seeds of something else."""
        return mean(read(result) for result in self.results)

    @property
    def is_here(self) -> bool:
        """Whether the run folders are there, and not only the figures that were kept of them."""
        return all(Path(result["folder"]).is_dir() for result in self.results)

    @property
    def merit(self) -> float:
        """How well it does on validation: more is better."""
        value = mean(self.values("validation"))
        return value if self["higher_is_better"] else -value


def load_results(folder: Path, *, kept: Path | None = None) -> list[dict[str, Any]]:
    """Every ``result.json`` below a folder, each with its own ``folder``.

    Args:
        folder: Where to look.
        kept: The ``results.json`` of an earlier report, perhaps of another machine, whose results
            come after those of the folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If one is damaged.
    """
    files = sorted(folder.rglob("result.json"))
    found = [(file, {**_mapping(file), "folder": str(file.parent)}) for file in files]
    if kept is not None:
        found += [(kept, {**result}) for result in _mapping(kept).get("results", [{}])]
    for file, result in found:
        missing = REQUIRED - set(result)
        if missing:
            raise ValueError(
                f"expected a result in {file}, got one without {', '.join(sorted(missing))}; "
                "remove it and evaluate again"
            )
    results = [result for _, result in found]
    if not results:
        raise FileNotFoundError(
            f"expected result.json files below {folder}, got none; run dws-train and dws-evaluate"
        )
    return results


def _mapping(file: Path) -> dict[str, Any]:
    content = read_json(file)
    if not isinstance(content, dict):
        raise ValueError(f"expected a result in {file}, got {type(content).__name__}")
    return content


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
        *("task", "trained on", "model", "parameters", "seeds", "metric", "validation", "test"),
        *("networks/s", "minutes"),
    )
    rows = [
        (
            group["task"],
            f"{group['num_train']:,}",
            group["model"],
            f"{group['num_parameters']:,}",
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


def spread(values: Sequence[float], *, is_share: bool) -> str:
    """Mean, and ± only where there is more than one value; shares in percent."""
    scale, unit, digits = (100, " %", 1) if is_share else (1, "", 4)
    text = f"{scale * mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {scale * stdev(values):.{digits}f}"
    return text + unit
