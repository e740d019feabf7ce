"""Loading the results of many runs as a data frame."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
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
from dws.zoo.manifest import Quantiles

RESULTS = "results.json"  # file of a report


class ZooFacts(BaseModel):
    """Properties of a zoo in the report.

    Attributes:
        path: Folder of the zoo.
        signals: Name of the signals.
        num_inrs: Number of networks.
        fit: Name of the settings of the fit.
        psnr: Quantiles over the training INRs, in dB; None if unknown.
        std: Standard deviation of the weights and biases of each layer, as in the manifest.
    """

    path: str
    signals: str
    num_inrs: int
    fit: str
    psnr: Quantiles | None
    std: dict[str, float]


class Kept(BaseModel):
    """The content of the ``results.json`` of a report.

    Attributes:
        format_version: Version of the file format.
        scale: Name of the scale.
        results: Results of all runs.
        zoos: Properties of the zoo of each task.
        raw_weights: For each task, scores of the raw weights as an embedding.
    """

    format_version: int = 1
    scale: str
    results: list[Result]
    zoos: dict[str, ZooFacts] = {}
    raw_weights: dict[str, EmbeddingScores] = {}


def read_kept(file: str | Path | None) -> Kept:
    """Read the ``results.json`` of an earlier report.

    Args:
        file: The file, possibly from another machine, or its folder; None for no results.

    Raises:
        UserError: If the file is damaged, or was written by a newer version of dws.
    """
    if file is None:
        return Kept(scale="", results=[])
    file = Path(file)
    file = file / RESULTS if file.is_dir() else file
    content = read_json(file)
    check_version(content, file)
    kept: Kept = check_content(content, Kept, what=f"results of a report in {file}")
    for result in kept.results:
        check_metric(result, file)
    return kept.model_copy(update={"results": list(map(with_current_settings, kept.results))})


def load_results(folder: str | Path, *, kept: str | Path | None = None) -> pd.DataFrame:
    """Load the results of all evaluated runs below a folder as a data frame, one row per run.

    Rows that agree in ``task``, ``num_train``, ``model`` and ``identity`` are runs that differ only
    in the seed::

        results = dws.load_results("outputs/small")
        results.groupby(["task", "model", "num_train"])["test"].agg(["mean", "std", "count"])

    Args:
        folder: Folder to search, such as ``outputs/small``, or the folder of a report, such as
            ``outputs/results/small``.
        kept: The ``results.json`` of an earlier report, or its folder, whose results are appended.

    Returns:
        A frame with the columns

        - ``task``, ``model``, ``seed``, ``num_train`` (distinct training networks), ``identity``
        - ``metric`` (name of the monitored metric), ``higher_is_better``,
          ``unit`` ("%" for a fraction of 1)
        - ``validation``, ``test``, ``permuted``: the monitored metric on the validation split, on
          the test split, and on the test split with permuted neurons
        - ``permutation_change``: share of predicted classes that this permutation changes, or mean
          squared difference of predicted numbers
        - ``interval_low``, ``interval_high``: 95 % bootstrap interval of ``test``
        - ``validation_<name>``, ``test_<name>``, ``permuted_<name>`` for every metric
        - ``neighbours``, ``linear_probe``: scores of predicting labels from the embedding
        - ``num_test``, ``num_parameters``, ``num_epochs``, ``best_epoch``
        - ``train_seconds``, ``evaluate_seconds``, ``networks_per_second``
        - ``reads``, ``zoo``, ``zoo_path``, ``code``, ``machine``, ``command``
        - ``folder``: folder of the run; missing for results of ``kept``
        - ``result``: the full result, a ``dws.evaluation.result.Result``

        Missing numbers are NaN.

    Raises:
        NotFoundError: If there are no results.
        UserError: If a result cannot be read.
    """
    folder = Path(folder)
    if kept is None and (folder / RESULTS).is_file():
        kept = folder
    results, problems = collect(folder, kept=read_kept(kept).results)
    if problems:
        raise UserError(problems[0])
    return results


def collect(folder: Path, *, kept: Sequence[Result] = ()) -> tuple[pd.DataFrame, list[str]]:
    """Load all readable results, see ``load_results``.

    Args:
        folder: Folder to search.
        kept: Results of an earlier report, which are appended.

    Returns:
        The frame, and an error message for each result that cannot be read.

    Raises:
        NotFoundError: If there are no results.
        UserError: If no result can be read.
    """
    problems: list[str] = []
    results: list[tuple[Result, str | None]] = []
    for file in _find_results(folder, problems):
        try:
            results.append((read_result(file), str(file.parent)))
        except ValueError as error:
            problems.append(str(error))
    results += [(result, None) for result in kept]
    if problems and not results:
        count = f" (none of {len(problems)} results can be read)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0].removesuffix('.')}{count}.")
    if not results:
        raise NotFoundError(
            f"No results found below {folder} (no result.json). Create them with dws-train and "
            "dws-evaluate."
        )
    return to_frame(results), problems


def to_frame(results: Iterable[tuple[Result, str | None]]) -> pd.DataFrame:
    """Convert results and the folders of their runs to the frame of ``load_results``."""
    return pd.DataFrame([_row(*each) for each in results])


def _row(result: Result, folder: str | None) -> dict[str, Any]:
    names = {"validation": "validation", "test": "test", "permuted": "test_permuted"}
    origin = result.origin
    return {
        **{key: result[key] for key in ("task", "model", "seed", "num_train")},
        "identity": result.settings_hash,
        **{key: result[key] for key in ("metric", "higher_is_better")},
        "unit": result.units.get(result.metric, ""),
        **{column: result[split][result.metric] for column, split in names.items()},
        "permutation_change": result.permutation_change,
        "interval_low": result.test_interval[0],
        "interval_high": result.test_interval[1],
        **{
            f"{column}_{name}": value
            for column, split in names.items()
            for name, value in result[split].items()
        },
        "neighbours": result.embedding.neighbours,
        "linear_probe": result.embedding.linear_probe,
        **{key: result[key] for key in ("num_test", "num_parameters", "num_epochs", "best_epoch")},
        **{
            key: result[key]
            for key in ("train_seconds", "evaluate_seconds", "networks_per_second", "reads")
        },
        **{key: result[key] for key in ("zoo", "zoo_path")},
        **{key: origin[key] if origin else None for key in ("code", "machine", "command")},
        "folder": folder,
        "result": result,
    }


def _find_results(folder: Path, problems: list[str]) -> list[Path]:
    """Find all ``result.json``; messages about unreadable folders are added to ``problems``."""

    def add_problem(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            problems.append(f"{error.filename} cannot be searched for results ({error.strerror})")

    return sorted(
        Path(parent, "result.json")
        for parent, folders, files in os.walk(folder, onerror=add_problem)
        if "result.json" in (*folders, *files)
    )
