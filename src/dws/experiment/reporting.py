"""Implementation of ``dws-report``: summarise all results below a folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dws.config import as_argument, as_override, as_plugins, compose_settings
from dws.errors import UserError, describe
from dws.experiment.building import build_task, zoo_hash
from dws.io.folders import check_can_make
from dws.io.hashing import settings_hash
from dws.io.names import distinct_file_name
from dws.report.data import ReportData, Scope
from dws.report.page import RAW_WEIGHTS, files_of_reports, write_report
from dws.report.provenance import overview
from dws.report.raw_weights import MAX_TRAIN, RawWeights
from dws.report.results import ZooFacts, collect, read_kept
from dws.report.thumbnails import Thumbnails
from dws.settings import ReportSettings, TaskSettings
from dws.targets import allow_plugins
from dws.tasks import Task
from dws.training import RunDir
from dws.zoo import Zoo
from dws.zoo.store import describe_missing


def report_runs(settings: ReportSettings) -> None:
    """Write the page of a report, and print a table of all runs.

    Raises:
        ValueError: If a part was omitted because a file is damaged. The page is written
            nevertheless.
    """
    allow_plugins(*settings.plugins)
    own = files_of_reports(Path(settings.report))
    check_can_make(own.folder / own.record)
    kept = read_kept(Path(settings.kept) if settings.kept else None)
    results, damaged = collect(Path(settings.runs), kept=kept.results)
    outputs, default = settings.paths.outputs, settings.scale.outputs
    make = {"SCALE": settings.scale.name, **({} if outputs == default else {"OUT": outputs})}
    zoos = dict(kept.zoos)
    raw = {task: RawWeights(None, scores) for task, scores in kept.raw_weights.items()}
    thumbnails: dict[str, Thumbnails] = {}
    scope = Scope.of(settings.tasks, settings.methods, results)
    _check(scope, results)
    report = ReportData(results, zoos, raw, settings.scale.name, make, scope, thumbnails)
    for reason in damaged:
        report.omit(reason)
    for task in report.tasks:
        pair = _open_zoo(report.first_runs(task), report)
        if pair is None:
            continue
        zoo, task_settings = pair
        zoos[task] = _facts(zoo)
        if not report.predicts_labels(task):
            continue
        try:
            built = build_task(task_settings)
            assert isinstance(built, Task)
            content: dict[str, Any] = {"shards": zoo.manifest.shards, "labels": list(built.labels)}
            if zoo.manifest.zoo.num_views > 1:
                # differs from earlier versions, in which views counted as neighbours
                content["neighbours"] = "of other signals"
            if len(zoo.split("train")) > MAX_TRAIN:
                content["rows"] = "evenly spaced"  # earlier versions used the first ones
            name = distinct_file_name(task, suffix=f"-{settings_hash(content)}")
            raw[task] = RawWeights.measure(zoo, built, own, f"{RAW_WEIGHTS}/{name}", zoo_hash(zoo))
        except (ValueError, OSError) as error:
            report.omit(f"raw weights of {zoo.path}: {describe(error)}")
        if not zoo.manifest.inr:
            continue  # other networks have no reconstructions
        try:
            thumbnails[task] = Thumbnails.render(zoo, zoo_hash(zoo))
        except (ValueError, OSError) as error:
            report.omit(f"reconstructions of the INRs of {zoo.path}: {describe(error)}")
    page = write_report(report, own)
    print(overview(report, permuted=True).markdown())
    not_evaluated = [f.parent for f in sorted(Path(settings.runs).rglob("metrics.jsonl"))]
    not_evaluated = [run for run in not_evaluated if not os.path.lexists(run / "result.json")]
    if not_evaluated:
        count = len(not_evaluated)
        print(f"\nruns that are not included, because they have not been evaluated: {count}")
        allowed = as_plugins(settings.plugins)
        commands = (f"dws-evaluate {as_argument('run', run)}{allowed}" for run in not_evaluated)
        print("\n".join(commands))
    print(f"\nreport with all tables and figures: {page}")
    if report.omitted:
        raise UserError(_summary(len(damaged), len(results), report.omitted, page))


def _check(scope: Scope, results: pd.DataFrame) -> None:
    """Check that requested tasks and methods exist.

    Raises:
        UserError: If a name is neither in the results nor a choice of the configuration.
    """
    for group, names, column in (("task", scope.tasks, "task"), ("model", scope.methods, "model")):
        for name in names:
            if name not in set(results[column]):
                compose_settings("train", [as_override(group, name)])


def _summary(num_damaged: int, num_read: int, omitted: Sequence[str], page: Path) -> str:
    """Message about the omitted parts of the report, with reasons."""
    runs = f"{num_damaged} of {num_damaged + num_read} runs"
    num_parts = len(omitted) - num_damaged
    parts = f"{num_parts} {'other ' * (num_damaged > 0)}part{'s' * (num_parts > 1)}"
    listed = " and ".join([runs] * (num_damaged > 0) + [parts] * (num_parts > 0))
    reasons = "; ".join(omitted[:3]) + (f"; and {len(omitted) - 3} more" * (len(omitted) > 3))
    return f"{page} was written without {listed}: {reasons}"


def _facts(zoo: Zoo) -> ZooFacts:
    manifest = zoo.manifest
    return ZooFacts(
        path=str(zoo.path),
        signals=manifest.signals.name,
        num_inrs=len(zoo),
        fit=manifest.fit_preset.name if manifest.fit_preset else "not known",
        psnr=manifest.train_psnr,
        std=manifest.train_std,
    )


def _open_zoo(runs: Sequence[pd.Series], report: ReportData) -> tuple[Zoo, TaskSettings] | None:
    """Open the zoo that most runs of a task were trained on, among the available zoos.

    Aligned copies are not considered. Prints which zoos cannot be read.

    Returns:
        The zoo and the settings of the task, or None if no zoo is available.
    """
    records: dict[tuple[str, str], tuple[str, TaskSettings]] = {}
    num_runs = Counter(run["zoo"] for run in runs)
    for run in runs:
        try:
            record = RunDir.open(run["folder"]).record()
        except (ValueError, OSError) as error:
            file = RunDir(Path(run["folder"])).config_file
            report.omit(f"the zoo of {file} is unknown: {describe(error)}")
            continue
        if not record.zoo.aligned:
            records[run["zoo_path"], run["zoo"]] = (run["folder"], record.task)
    for (path, expected), (folder, task_settings) in sorted(
        records.items(), key=lambda item: -num_runs[item[0][1]]
    ):
        try:
            zoo = Zoo.open(path)
        except FileNotFoundError:
            print(f"dws: {describe_missing(Path(path))}. It is omitted from the report.")
            continue
        except (ValueError, OSError) as error:
            report.omit(describe(error))
            continue
        if zoo_hash(zoo) == expected:
            return zoo, task_settings
        print(f"dws: {path} is not the training zoo of {folder}. It is omitted from the report.")
    return None
