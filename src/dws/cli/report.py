"""``dws-report``: all results below a folder as one table and one page."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from dws.cli.command import run_hydra
from dws.cli.runs import build_task, zoo_hash
from dws.evaluation.evidence import Evidence
from dws.evaluation.raw_weights import RawWeights
from dws.evaluation.report import write_report
from dws.evaluation.tables import Group, group_by_seed, load_results, overview
from dws.training import RunDir
from dws.zoo import Zoo


def main() -> None:
    """Entry point."""
    run_hydra("report", report)


def report(config: DictConfig) -> None:
    """Write the page, print a table of all runs."""
    groups = group_by_seed(load_results(Path(config.runs)))
    folder = Path(config.report)
    zoos, raw = {}, {}
    for group in groups:
        task, zoo = group["task"], _zoo(group)
        if zoo is not None and task not in zoos:
            settings = RunDir.open(group["folder"]).config()
            zoos[task] = zoo
            raw[task] = RawWeights.measure(
                zoo, build_task(settings), folder / "raw-weights", f"{task}-{zoo_hash(zoo)}"
            )
    page = write_report(Evidence(groups, zoos, raw, config.scale.name), folder)
    print(overview(groups).markdown())
    print(f"\nevery table and picture: {page}")


def _zoo(group: Group) -> Zoo | None:
    """The zoo that runs were trained on, as it was fitted, if it is still there."""
    if RunDir.open(group["folder"]).config()["aligned"]:
        return None
    try:
        zoo = Zoo.open(group["zoo_path"])
    except FileNotFoundError:
        return None
    return zoo if zoo_hash(zoo) == group["zoo"] else None
