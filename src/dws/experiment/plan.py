"""What ``make reproduce-all`` has left to do, and how long it takes here.

Rates are those of earlier fits and trainings below ``outputs``; what has none is measured,
uncompiled, for seconds.
"""

from __future__ import annotations

import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median

import torch
from tabulate import tabulate

from dws.config import compose_settings
from dws.evaluation.result import Result, read_result
from dws.experiment.building import build_model, build_task
from dws.inr import init_siren
from dws.io.content import read_json_lines
from dws.runtime import keep_freed_memory
from dws.settings import FitInrsSettings, TrainSettings
from dws.signals import SPLITS, SignalSource
from dws.targets import build
from dws.training import RunDir
from dws.training.state import build_optimizers
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.weightspace.alignment import align
from dws.zoo import Zoo
from dws.zoo.build import TIMING, weight_space
from dws.zoo.engine import FitJob
from dws.zoo.manifest import MANIFEST

EARLIER, MEASURED = "earlier", "measured now, uncompiled"
NUM_TRIED = 32  # INRs, batches of which are how fits go on a CPU


@dataclass(frozen=True)
class Job:
    """A command that is left, with the seconds that it will take, and how that is known."""

    what: str
    work: str
    rate: str
    seconds: float


def plan(commands: str, settings: list[str], *, side_by_side: int = 1) -> None:
    """Print what is left to do.

    Args:
        commands: The commands that make would run, one a line.
        settings: Settings of all commands, such as ``scale=small``.
        side_by_side: How many run at a time.

    Raises:
        UserError: If a setting is refused, or a zoo or source of signals cannot be used.
    """
    keep_freed_memory()
    here = Path(compose_settings("report", settings).paths.outputs)
    outputs = Path("outputs")
    planner = Planner([here, outputs, *sorted(outputs.glob("*"))], settings)
    print_plan(list(planner.jobs(commands)), side_by_side=side_by_side)


def print_plan(jobs: list[Job], *, side_by_side: int) -> None:
    """One line for each kind of job, and the time of all, so many of them at a time."""
    if not jobs:
        print("dws: everything is done")
        return
    kinds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for job in jobs:
        kinds[job.what, job.work, job.rate].append(job.seconds)
    rows = [
        (what, f"{len(seconds)} x {work}", rate, _duration(sum(seconds)))
        for (what, work, rate), seconds in kinds.items()
    ]
    print(f"dws: {len(jobs)} jobs are left, with the time of each kind on this machine:")
    print(tabulate(rows, tablefmt="plain"))
    seconds = max(sum(job.seconds for job in jobs) / side_by_side, max(job.seconds for job in jobs))
    at_a_time = f", {side_by_side} at a time" if side_by_side > 1 else ""
    print(f"in all about {_duration(seconds)}{at_a_time}; long trainings are compiled and faster")


class Planner:
    """Knows how fast things are here.

    Args:
        roots: Output folders in which earlier fits and runs are looked for; what is in the first
            of them counts.
        common: Settings of all commands, such as ``scale=small``.
    """

    def __init__(self, roots: list[Path], common: list[str]) -> None:
        self.common = common
        self.results = [list(_results(root)) for root in roots]
        self.fits = {  # seconds an INR, by zoo
            zoo: seconds for root in reversed(roots) for zoo, seconds in _fits(root)
        }
        self.measured: dict[tuple[str, str], float] = {}
        self.sizes: dict[str, dict[str, int]] = {}  # of zoos, by path

    def jobs(self, commands: str) -> Iterator[Job]:
        """The fits, alignments and trainings among the lines that make would run."""
        for line in commands.splitlines():
            words = shlex.split(line)
            names = [Path(word).name for word in words]
            stages = {"dws-fit-inrs": self.fit, "dws-zoo": self.align, "dws-train": self.train}
            for name, job in stages.items():
                if name in names:
                    yield job(words[names.index(name) + 1 :])

    def fit(self, overrides: list[str]) -> Job:
        """How long a zoo takes."""
        settings, signals = _zoo(tuple(overrides))
        name, path = settings.zoo.name, Path(settings.zoo.path)
        self.sizes[str(path)] = _split_sizes(settings, signals)
        fitted = settings.zoo.shard_size * len(list(path.glob("shard-*.safetensors")))
        num_inrs = max(sum(self.sizes[str(path)].values()) - fitted, 0)
        seconds, source = self.fits.get(name), EARLIER
        if seconds is None:
            seconds, source = _measure_fit(settings, signals), MEASURED
        rate = f"{1 / seconds:,.1f} INRs/s ({source})"
        return Job(f"fit {name}", f"{num_inrs:,} INRs", rate, num_inrs * seconds)

    def align(self, arguments: list[str]) -> Job:
        """How long ``dws-zoo align`` takes."""
        path = Path(arguments[-1])
        overrides = (*self.common, f"zoo={path.name}")
        num_inrs = sum(self._zoo_sizes(path, overrides).values())
        settings, signals = _zoo(overrides)
        seconds = _measure_alignment(weight_space(signals, settings.inr))
        rate = f"{1 / seconds:,.0f} INRs/s (measured now)"
        return Job(f"align {path.name}", f"{num_inrs:,} INRs", rate, num_inrs * seconds)

    def train(self, overrides: list[str]) -> Job:
        """How long the epochs of a training that are left take, and its evaluation."""
        config: TrainSettings = compose_settings("train", overrides)
        task, model = config.task["name"], config.model["name"]
        zoo = (*self.common, f"zoo={config.task['zoo']}")
        size = self._zoo_sizes(Path(config.zoo.path), zoo)["train"]
        num_train = config.task.get("num_train")
        if num_train and not config.task.get("repeat_train"):
            size = num_train * _zoo(zoo)[0].zoo.num_views
        trained = len(RunDir(Path(config.run_dir)).metrics()) if config.run_dir else 0
        networks = size * max(config.trainer.num_epochs - trained, 0)
        known = (
            [r for r in results if (r.task, r.model) == (task, model)] for results in self.results
        )
        if done := next(filter(None, known), []):
            rate, source = median(r.networks_per_second for r in done), EARLIER
            evaluation = median(r.evaluate_seconds or 0.0 for r in done)
        else:
            if (task, model) not in self.measured:
                settings, signals = _zoo(zoo)
                spec = weight_space(signals, settings.inr)
                self.measured[task, model] = _measure_training(config, spec)
            rate, source, evaluation = self.measured[task, model], MEASURED, 0.0
        return Job(
            f"train {task} {model}",
            f"{networks:,} networks",
            f"{rate:,.0f} networks/s ({source})",
            networks / rate + evaluation,
        )

    def _zoo_sizes(self, path: Path, overrides: tuple[str, ...]) -> dict[str, int]:
        """INRs in each split: of the zoo that is there, or will be."""
        if (path / MANIFEST).is_file():
            zoo = Zoo.open(path)
            return {split: len(zoo.split(split)) for split in SPLITS}
        if str(path) not in self.sizes:
            self.sizes[str(path)] = _split_sizes(*_zoo(overrides))
        return self.sizes[str(path)]


def _results(root: Path) -> Iterator[Result]:
    """What the runs below an output folder gave; a damaged one is named and passed over."""
    for file in root.glob("runs/*/*/*/result.json"):
        try:
            yield read_result(file)
        except ValueError as error:
            print(f"dws: no rate is taken from {file}: {error}")


def _fits(root: Path) -> Iterator[tuple[str, float]]:
    """Zoos below an output folder, and the seconds that an INR of each took; as ``_results``."""
    for file in root.glob(f"zoos/*/{TIMING}"):
        try:
            rows = read_json_lines(file)
        except ValueError as error:
            print(f"dws: no rate is taken from {file}: {error}")
            continue
        if rows:
            yield file.parent.name, median(row["seconds"] / row["num_inrs"] for row in rows)


@cache
def _zoo(overrides: tuple[str, ...]) -> tuple[FitInrsSettings, SignalSource]:
    settings: FitInrsSettings = compose_settings("fit_inrs", overrides)
    return settings, build(settings.zoo.signals, what="a source of signals", methods=["split"])


def _split_sizes(settings: FitInrsSettings, signals: SignalSource) -> dict[str, int]:
    splits = signals.split(settings.zoo.limit)
    return {name: settings.zoo.num_views * len(ids) for name, ids in splits.items()}


def _measure_fit(settings: FitInrsSettings, signals: SignalSource) -> float:
    """Seconds an INR, from fitting a few."""
    ids, inr = torch.arange(NUM_TRIED), settings.inr
    job = FitJob(
        initial=init_siren(weight_space(signals, inr), ids.tolist(), omega_0=inr.omega_0),
        coordinates=signals.coordinates,
        targets=signals.values(ids),
        config=settings.fit,
        inr=inr,
        compiled=False,
    )
    warm_up = replace(job, config=replace(settings.fit, num_steps=1))
    return _seconds(job.run, warm_up=warm_up.run) / len(ids)


@cache
def _measure_alignment(spec: WeightSpaceSpec) -> float:
    """Seconds an INR, from random ones."""
    batch = WeightBatch.from_flat(spec, torch.randn(NUM_TRIED, spec.num_params, 1))
    return _seconds(lambda: align(batch, batch[:1])) / NUM_TRIED


def _measure_training(config: TrainSettings, spec: WeightSpaceSpec) -> float:
    """Networks a second, from a few steps on random networks."""
    settings = asdict(config)
    task = build_task(settings)
    num_networks = config.trainer.batch_size
    model = build_model(settings, spec, task, None)
    flat = torch.randn(num_networks * task.num_views, spec.num_params, 1)
    batch = WeightBatch.from_flat(spec, flat)
    optimizers = build_optimizers(model, config.optim)

    def train() -> None:
        for _ in range(2):
            model(batch).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()

    return float(num_networks * 2 / _seconds(train))


def _seconds(
    function: Callable[[], object], *, warm_up: Callable[[], object] | None = None
) -> float:
    (warm_up or function)()  # the first call takes longer
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
