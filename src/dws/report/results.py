"""Results of runs: their records, reading them, and grouping them by what they have in common."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from pydantic import BaseModel

from dws.errors import NotFoundError, UserError
from dws.evaluation.result import (
    EmbeddingScores,
    Result,
    check_metric,
    check_version,
    read_result,
    with_current_settings,
)
from dws.io.content import check_content, read_json
from dws.report.tables import spread
from dws.zoo.manifest import Quantiles


class ZooFacts(BaseModel):
    """What the report says of a zoo.

    Attributes:
        path: Its folder.
        signals: Name of the signals.
        num_inrs: Number of INRs.
        fit: Name of the settings of the fit.
        psnr: Quantiles over its training INRs, in dB; None if it is not known.
        std: Standard deviation of the weights and biases of each layer, as in the manifest.
    """

    path: str
    signals: str
    num_inrs: int
    fit: str
    psnr: Quantiles | None
    std: dict[str, float]


class Kept(BaseModel):
    """The ``results.json`` of a report.

    Attributes:
        format_version: Of the file.
        scale: Name of the scale.
        results: All runs.
        zoos: For each task, its zoo.
        raw_weights: For each task, scores of the weights themselves as an embedding.
    """

    format_version: int = 1
    scale: str
    results: list[Result]
    zoos: dict[str, ZooFacts] = {}
    raw_weights: dict[str, EmbeddingScores] = {}


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


def read_kept(file: Path | None) -> Kept:
    """Read the ``results.json`` of an earlier report, perhaps of another machine; or of none.

    Raises:
        UserError: If it holds something else, or a newer version of dws wrote it.
    """
    if file is None:
        return Kept(scale="", results=[])
    content = read_json(file)
    check_version(content, file)
    kept: Kept = check_content(content, Kept, what=f"the results.json of a report in {file}")
    for result in kept.results:
        check_metric(result, file)
    return kept.model_copy(update={"results": list(map(with_current_settings, kept.results))})


def load_results(
    folder: Path,
    *,
    kept: Sequence[Result] = (),
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
            results.append({**_plain(read_result(file)), "folder": str(file.parent)})
        except ValueError as error:
            wrong.append(str(error))
    results += [{**_plain(result), "folder": None} for result in kept]
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


def group_by_seed(results: Sequence[dict[str, Any]]) -> list[Group]:
    """Runs that differ in nothing but the seed, together; sorted by task, size and model."""
    groups: dict[tuple[str, int, str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for result in results:
        key = (result["task"], result["num_train"], result["model"], result["settings_hash"])
        groups[key].setdefault(result["seed"], result)  # a seed counts once, wherever it lies
    ordered = sorted(groups.items(), key=lambda item: item[0])
    return [Group([group[seed] for seed in sorted(group)]) for _, group in ordered]


def _plain(result: Result) -> dict[str, Any]:
    return {key: value for key, value in result.model_dump().items() if value is not None}
