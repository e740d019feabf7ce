"""Results of runs: their records, reading them, and grouping them by what they have in common."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from dws.errors import NotFoundError, UserError
from dws.io.content import check_content, read_json
from dws.report.tables import spread
from dws.training.identity import from_earlier_version, identity, with_defaults
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
    """What tables are made of in a ``result.json``, see ``dws.evaluation.held_out``."""

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
    results = [_with_current_settings(result) for result in content["results"]]
    return {**empty, **content, "results": results}


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
    return _with_current_settings(result)


def _with_current_settings(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with all settings, and its run's identity, as they are recorded now."""
    settings = result.get("settings", {})
    is_complete = {"task", "model", "optim", "trainer", "augment"} <= settings.keys()
    if not is_complete or not all("_target_" in settings[group] for group in ("task", "model")):
        return dict(result)
    current, digits = settings, result["settings_hash"]
    try:
        if "reconstruction" not in settings:
            command = result.get("origin", {}).get("command", "")
            current = from_earlier_version(settings, command)
            digits = identity(current)
        return {**result, "settings": with_defaults(current), "settings_hash": digits}
    except UserError:  # of a plugin that is not allowed
        return {**result, "settings": current}


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
