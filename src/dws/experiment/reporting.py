"""Reporting as ``dws-report`` does it: all results below a folder as one table and one page."""

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
from dws.report.evidence import Evidence, Scope
from dws.report.page import RAW_WEIGHTS, files_of_reports, write_report
from dws.report.provenance import overview
from dws.report.raw_weights import RawWeights
from dws.report.results import ZooFacts, collect, read_kept
from dws.report.thumbnails import Thumbnails
from dws.settings import ReportSettings, TaskSettings
from dws.targets import allow_plugins
from dws.tasks import Task
from dws.training import RunDir
from dws.zoo import Zoo


def report_runs(config: ReportSettings) -> None:
    """Write the page, print a table of all runs.

    Raises:
        ValueError: If a part had to be left out because a file is damaged; the page is written.
    """
    allow_plugins(*config.plugins)
    own = files_of_reports(Path(config.report))
    check_can_make(own.folder / own.record)
    kept = read_kept(Path(config.kept) if config.kept else None)
    results, damaged = collect(Path(config.runs), kept=kept.results)
    outputs, usual = config.paths.outputs, config.scale.outputs
    make = {"SCALE": config.scale.name, **({} if outputs == usual else {"OUT": outputs})}
    zoos = dict(kept.zoos)
    raw = {task: RawWeights(None, figures) for task, figures in kept.raw_weights.items()}
    thumbnails: dict[str, Thumbnails] = {}
    scope = Scope.of(config.tasks, config.methods, results)
    _check(scope, results)
    evidence = Evidence(results, zoos, raw, config.scale.name, make, scope, thumbnails)
    for reason in damaged:
        evidence.leave_out(reason)
    for task in evidence.tasks:
        found = _zoo(evidence.first_here(task), evidence)
        if found is None:
            continue
        zoo, settings = found
        zoos[task] = _facts(zoo)
        if not evidence.predicts_labels(task):
            continue
        try:
            built = build_task(settings)
            assert isinstance(built, Task)
            content: dict[str, Any] = {"shards": zoo.manifest.shards, "labels": list(built.labels)}
            if zoo.manifest.zoo.num_views > 1:
                content["neighbours"] = "of other signals"  # earlier versions took views as well
            name = distinct_file_name(task, suffix=f"-{settings_hash(content)}")
            raw[task] = RawWeights.measure(zoo, built, own, f"{RAW_WEIGHTS}/{name}", zoo_hash(zoo))
        except (ValueError, OSError) as error:
            evidence.leave_out(f"weights of {zoo.path} as they are: {describe(error)}")
        if zoo.manifest.classifier:
            continue  # they compute no picture
        try:
            thumbnails[task] = Thumbnails.render(zoo, zoo_hash(zoo))
        except (ValueError, OSError) as error:
            evidence.leave_out(f"pictures of the INRs of {zoo.path}: {describe(error)}")
    page = write_report(evidence, own)
    print(overview(evidence).markdown())
    unread = [f.parent for f in sorted(Path(config.runs).rglob("metrics.jsonl"))]
    unread = [run for run in unread if not os.path.lexists(run / "result.json")]
    if unread:
        print(f"\nwithout {len(unread)} runs that were not evaluated:")
        allowed = as_plugins(config.plugins)
        print("\n".join(f"dws-evaluate {as_argument('run', run)}{allowed}" for run in unread))
    print(f"\nevery table and picture: {page}")
    if evidence.left_out:
        raise UserError(_summary(len(damaged), len(results), evidence.left_out, page))


def _check(scope: Scope, results: pd.DataFrame) -> None:
    """Make sure that what was asked for exists.

    Raises:
        UserError: If a name is neither in the results nor a choice.
    """
    for group, names, column in (("task", scope.tasks, "task"), ("model", scope.methods, "model")):
        for name in names:
            if name not in set(results[column]):
                compose_settings("train", [as_override(group, name)])


def _summary(num_damaged: int, num_read: int, left_out: Sequence[str], page: Path) -> str:
    """How much is not in the report, and why."""
    runs = f"{num_damaged} of {num_damaged + num_read} runs"
    parts = len(left_out) - num_damaged
    other = f"{parts} {'other ' * (num_damaged > 0)}part{'s' * (parts > 1)}"
    what = " and ".join([runs] * (num_damaged > 0) + [other] * (parts > 0))
    reasons = "; ".join(left_out[:3]) + (f"; and {len(left_out) - 3} more" * (len(left_out) > 3))
    return f"{page} was written without {what}: {reasons}"


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


def _zoo(runs: Sequence[pd.Series], evidence: Evidence) -> tuple[Zoo, TaskSettings] | None:
    """The zoo of most of a task's runs that is still there, as it was fitted, and the task.

    Zoos that cannot be read are named.
    """
    read: dict[tuple[str, str], tuple[str, TaskSettings]] = {}
    of_zoo = Counter(run["zoo"] for run in runs)
    for run in runs:
        try:
            record = RunDir.open(run["folder"]).record()
        except (ValueError, OSError) as error:
            file = RunDir(Path(run["folder"])).config_file
            evidence.leave_out(f"no zoo is known from {file}: {describe(error)}")
            continue
        if not record.zoo.aligned:
            read[run["zoo_path"], run["zoo"]] = (run["folder"], record.task)
    for (path, expected), (folder, settings) in sorted(
        read.items(), key=lambda item: -of_zoo[item[0][1]]
    ):
        try:
            zoo = Zoo.open(path)
        except FileNotFoundError as error:
            print(f"dws: {error}; it is left out of the report")
            continue
        except (ValueError, OSError) as error:
            evidence.leave_out(describe(error))
            continue
        if zoo_hash(zoo) == expected:
            return zoo, settings
        print(f"dws: expected the zoo of {folder} in {path}, got another; it is left out")
    return None
