"""Remaining jobs of a selection, and their time estimated from the rates of earlier runs."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tabulate import tabulate

from dws.errors import UserError
from dws.evaluation.result import Result, read_result
from dws.io.content import read_json_lines, read_yaml
from dws.signals.download import DATASETS
from dws.targets import build
from dws.training import RunDir
from dws.zoo.build import TIMING
from selection import Run, Selection, Zoo

UNKNOWN = "unknown"
Sizes = dict[str, int] | None  # by split
Results = dict[tuple[str, str], list[Result]]  # by task and model


@dataclass(frozen=True)
class Job:
    """A remaining job.

    Attributes:
        title: Title of the kind of job.
        unit: Unit of the amount of work.
        amount: Amount of work; None if unknown.
        rate: Amount of work per second in earlier runs; None if unknown.
        fixed: Seconds that do not depend on the amount.
        is_alone: Whether the job uses all cores.
    """

    title: str
    unit: str
    amount: int | None
    rate: float | None
    fixed: float = 0.0
    is_alone: bool = False

    @property
    def seconds(self) -> float | None:
        """Estimated duration; None if unknown."""
        if self.amount is None or self.rate is None:
            return None
        return self.amount / self.rate + self.fixed


def jobs_left(selection: Selection) -> list[Job]:
    """The remaining fits, alignments, trainings with their evaluations, and other evaluations."""
    outputs = Path("outputs")
    roots = [*dict.fromkeys([Path(selection.paths.outputs), outputs, *sorted(outputs.glob("*"))])]
    runs = [run for run in selection.runs.values() if not Path(run.result).exists()]
    missing = {run.networks: run.zoo for run in runs if not Path(run.networks).exists()}
    zoos = [*missing.values(), *(zoo for run in runs for zoo in run.references)]
    fits = {zoo.name: zoo for zoo in zoos if not Path(zoo.fitted).exists()}
    sizes = {zoo: _split_sizes(zoo) for zoo in dict.fromkeys([*(r.zoo for r in runs), *zoos])}
    transfers = [
        (run, zoo)
        for run in selection.runs.values()
        for zoo in run.others
        if not Path(run.transferred(zoo)).exists()
    ]
    earlier = _results(roots) if runs or transfers else {}
    return [
        *(_fit(zoo, sizes[zoo], roots, selection.fits_alone) for zoo in fits.values()),
        *(_align(zoo, sizes[zoo], roots) for file, zoo in missing.items() if file == zoo.aligned),
        *(_train(run, sizes[run.zoo], earlier) for run in runs),
        *(_evaluate_on(run, zoo, earlier) for run, zoo in transfers),
    ]


def report_is_complete(selection: Selection) -> bool:
    """Whether the report is newer than all results."""
    report = Path(selection.report)
    results = [Path(file) for run in selection.runs.values() for file in run.evaluations]
    return report.exists() and all(
        result.exists() and result.stat().st_mtime <= report.stat().st_mtime for result in results
    )


def describe(selection: Selection) -> str:
    """List the remaining jobs by kind, with their estimated total time."""
    jobs = jobs_left(selection)
    if not jobs:
        page = Path(selection.settings.report, "index.html")
        is_complete = report_is_complete(selection)
        return f"dws: complete, see {page}" if is_complete else f"dws: only {page} remains"
    kinds: dict[Job, int] = defaultdict(int)
    for job in jobs:
        kinds[job] += 1
    rows = [
        (
            job.title,
            f"{count} x {UNKNOWN if job.amount is None else f'{job.amount:,}'} {job.unit}",
            UNKNOWN if job.rate is None else f"{job.rate:,.1f} {job.unit}/s",
            UNKNOWN if job.seconds is None else _duration(job.seconds * count),
        )
        for job, count in kinds.items()
    ]
    table = tabulate(rows, tablefmt="plain")
    return f"dws: {len(jobs)} jobs remain\n{table}\ntotal time: {time_of(jobs, selection)}"


def time_of(jobs: Sequence[Job], selection: Selection) -> str:
    """Estimated total time of jobs that run concurrently, except for those that use all cores."""
    known = [job for job in jobs if job.seconds is not None]
    num_unknown = len(jobs) - len(known)
    if num_unknown == len(jobs) > 0:
        return f"{UNKNOWN}, because no such job has been run before"
    num_jobs = selection.variables.JOBS
    alone = sum(job.seconds or 0.0 for job in known if job.is_alone)
    others = [job.seconds or 0.0 for job in known if not job.is_alone]
    seconds = alone + max([sum(others) / num_jobs, *others])
    text = f"about {_duration(seconds)}, {num_jobs} at a time"
    return f"{text}, and {num_unknown} of {UNKNOWN} duration" if num_unknown else text


def _fit(zoo: Zoo, sizes: Sizes, roots: Sequence[Path], is_alone: bool) -> Job:
    fitted = zoo.settings.zoo.shard_size * len(list(Path(zoo.folder).glob("shard-*.safetensors")))
    amount = max(sum(sizes.values()) - fitted, 0) if sizes else None
    rate = _longest(_fit_rate(root / "zoos" / zoo.name / TIMING) for root in roots)
    return Job(f"fit {zoo.name}", "INRs", amount, rate, is_alone=is_alone)


def _align(zoo: Zoo, sizes: Sizes, roots: Sequence[Path]) -> Job:
    amount = sum(sizes.values()) if sizes else None
    rate = _longest(_align_rate(root / "zoos" / f"{zoo.name}.aligned") for root in roots)
    return Job(f"align {zoo.name}", "INRs", amount, rate)


def _train(run: Run, sizes: Sizes, earlier: Results) -> Job:
    task, model, amount = run.settings.task, run.settings.model, None
    if sizes:
        num_train = None if task.get("repeat_train") else task.get("num_train")
        size = num_train * run.zoo.settings.zoo.num_views if num_train else sizes["train"]
        amount = size * max(run.settings.trainer.num_epochs - _num_epochs(run), 0)
    results = earlier.get((task["name"], model["name"]), [])
    rate = median(result.networks_per_second for result in results) if results else None
    evaluation = median([result.evaluate_seconds or 0.0 for result in results] or [0.0])
    return Job(f"train {task['name']} {model['name']}", "networks", amount, rate, evaluation)


def _evaluate_on(run: Run, zoo: Zoo, earlier: Results) -> Job:
    task, model, sizes = run.settings.task["name"], run.settings.model["name"], _split_sizes(zoo)
    results = earlier.get((task, model), [])
    rates = [r.num_test / r.evaluate_seconds for r in results if r.evaluate_seconds]
    title, amount = f"evaluate {task} {model} on {zoo.name}", sizes["test"] if sizes else None
    return Job(title, "networks", amount, median(rates) if rates else None)


def _num_epochs(run: Run) -> int:
    """Number of completed epochs of a run."""
    file = RunDir(Path(run.folder)).metrics_file
    return len(file.read_text().splitlines()) if file.is_file() else 0


def _results(roots: Sequence[Path]) -> Results:
    """Results by task and model, from the output folder with the longest training."""
    by_folder: dict[tuple[str, str], dict[Path, list[Result]]] = {}
    for root in roots:
        for file in root.glob("runs/*/*/*/result.json"):
            try:
                result = read_result(file)
            except ValueError:  # the report prints this error
                continue
            folders = by_folder.setdefault((result.task, result.model), {})
            folders.setdefault(root, []).append(result)
    return {
        key: max(folders.values(), key=lambda results: max(r.train_seconds for r in results))
        for key, folders in by_folder.items()
    }


def _longest(measured: Iterable[tuple[float, float] | None]) -> float | None:
    """The rate of the pair (amount, rate) with the largest amount."""
    return max(filter(None, measured), default=(0.0, None))[1]


def _fit_rate(file: Path) -> tuple[float, float] | None:
    """Number of fitted networks, and networks per second.

    The first shard is excluded, as its time may include compilation. The rate is the mean over the
    others, since several shards may end at the same time.
    """
    try:
        rows = read_json_lines(file)
        timed = rows[1:] or rows
        rate = sum(row["num_inrs"] for row in timed) / sum(row["seconds"] for row in timed)
        return sum(row["num_inrs"] for row in rows), rate
    except (OSError, ValueError, ZeroDivisionError):  # missing or damaged
        return None


def _align_rate(folder: Path) -> tuple[float, float] | None:
    """Number of aligned networks, and networks per second, from Snakemake's benchmark file."""
    for file in folder.glob(".aligned-*.tsv"):
        try:
            num_inrs = read_yaml(folder / "config.yaml")["num_rows"]
            (row,) = csv.DictReader(file.read_text().splitlines(), delimiter="\t")
            return num_inrs, num_inrs / float(row["s"])
        except (OSError, ValueError, TypeError, KeyError):  # missing or damaged
            continue
    return None


def _split_sizes(zoo: Zoo) -> Sizes:
    """Number of networks in each split; None if it depends on data that is not downloaded yet."""
    try:
        splits = read_yaml(Path(zoo.folder, "config.yaml"))["splits"]
        return {split: end - start for split, (start, end) in splits.items()}
    except (OSError, ValueError, TypeError, KeyError):
        pass
    if zoo.dataset:
        dataset = DATASETS[zoo.dataset]
        folder = dataset.folder(Path(zoo.settings.paths.data))
        if not all((folder / file).is_file() for file in dataset.sha256):
            return None
    try:
        splits = build(zoo.settings.zoo.signals).split(zoo.settings.zoo.limit)
    except UserError:
        return None
    return {split: zoo.settings.zoo.num_views * len(ids) for split, ids in splits.items()}


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"
