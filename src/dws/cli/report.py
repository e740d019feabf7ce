"""``dws-report``: all results below a folder as one table and one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dws.cli.command import run_hydra
from dws.cli.errors import as_argument
from dws.cli.runs import build_task, zoo_hash
from dws.evaluation.cells import first_runs
from dws.evaluation.evidence import Evidence
from dws.evaluation.raw_weights import RawWeights
from dws.evaluation.report import write_report
from dws.evaluation.tables import (
    ZooFacts,
    group_by_seed,
    load_results,
    overview,
    read_kept,
)
from dws.files import settings_hash
from dws.training import RunDir
from dws.zoo import Zoo


def main() -> None:
    """Entry point."""
    run_hydra("report", report)


def report(config: DictConfig) -> None:
    """Write the page, print a table of all runs."""
    kept = read_kept(Path(config.kept) if config.kept else None)
    groups = group_by_seed(load_results(Path(config.runs), kept=kept["results"]))
    folder = Path(config.report)
    outputs, usual = config.paths.outputs, config.scale.outputs
    make = f"SCALE={config.scale.name}" + ("" if outputs == usual else f" OUT={outputs}")
    evidence = Evidence(groups, {}, {}, config.scale.name, make)
    zoos = dict(kept["zoos"])
    raw = {task: RawWeights(None, figures) for task, figures in kept["raw_weights"].items()}
    for task in evidence.tasks:
        runs = first_runs([evidence.cell(task, method) for method in evidence.methods])
        zoo = _zoo(runs)
        if zoo is not None:
            zoos[task] = _facts(zoo)
            built = build_task(RunDir.open(runs[0]["folder"]).config())
            content = {"shards": zoo.manifest["shards"], "labels": list(built.labels)}
            name = f"{task}-{settings_hash(content)}"
            raw[task] = RawWeights.measure(zoo, built, folder / "raw-weights", name)
    page = write_report(replace(evidence, zoos=zoos, raw=raw), folder)
    print(overview(groups).markdown())
    unread = [f.parent for f in sorted(Path(config.runs).rglob("metrics.jsonl"))]
    unread = [run for run in unread if not (run / "result.json").is_file()]
    if unread:
        print(f"\nwithout {len(unread)} runs that were not evaluated:")
        print("\n".join(f"dws-evaluate {as_argument('run', run)}" for run in unread))
    print(f"\nevery table and picture: {page}")


def _facts(zoo: Zoo) -> ZooFacts:
    manifest = zoo.manifest
    return {
        "path": str(zoo.path),
        "signals": manifest["signals"]["name"],
        "num_inrs": len(zoo),
        "fit": manifest.get("fit_preset", {}).get("name", "not known"),
        "psnr": manifest["train_psnr"],
        "std": manifest["train_std"],
    }


def _zoo(runs: Sequence[Mapping[str, Any]]) -> Zoo | None:
    """The first zoo of a task's runs that is still there, as it was fitted; names the others."""
    read = (run for run in runs if not RunDir.open(run["folder"]).config()["aligned"])
    for (path, expected), run in {(run["zoo_path"], run["zoo"]): run for run in read}.items():
        try:
            zoo = Zoo.open(path)
        except (FileNotFoundError, ValueError) as error:
            print(f"dws: {error}; it is left out of the report")
            continue
        if zoo_hash(zoo) == expected:
            return zoo
        print(f"dws: expected the zoo of {run['folder']} in {path}, got another; it is left out")
    return None
