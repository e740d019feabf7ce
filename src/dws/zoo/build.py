"""Building a zoo: fit networks shard by shard, and resume after an interruption."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dws.errors import UserError
from dws.inr import ClassifierConfig, FitConfig, FitResult, SirenConfig
from dws.inr.fit import psnr, use_compiler
from dws.io.content import append_json_line
from dws.io.folders import check_claim, claim_folder
from dws.io.hashing import checksums_match, settings_hash
from dws.seeding import derive_seed
from dws.settings import ZooConfig
from dws.signals import SPLITS, BinaryTasks, SignalSource
from dws.weightspace import WeightBatch
from dws.zoo.engine import Engine, FitJob, Workers
from dws.zoo.manifest import CONFIG as CONFIG  # re-exported for modules that create zoos
from dws.zoo.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    OtherFormatError,
    Plan,
    read_manifest,
    repair_advice,
    split_rows,
    to_plan,
)
from dws.zoo.problem import PSNR_TEXT, FitProblem, to_problem
from dws.zoo.store import Zoo, is_intact, shard_name, write_manifest, write_shard

TIMING = ".timing.jsonl"  # per shard: number of networks, seconds since the previous shard
NOTES = ("fit_preset", "splits", "labels", "domain")
INIT_STREAM = 1  # separates the seeds of initialisations from the seeds of signals


def build_zoo(
    path: str | Path,
    signals: SignalSource | BinaryTasks,
    *,
    zoo: ZooConfig,
    inr: SirenConfig | None = None,
    classifier: ClassifierConfig | None = None,
    fit: FitConfig,
    preset: str = "custom",
    engine: Engine | None = None,
) -> Zoo:
    """Fit networks and write them to a folder; an unfinished zoo is resumed.

    INRs are fitted to signals, classifiers to binary tasks. A complete zoo is returned as it is,
    without writing. A damaged manifest is rewritten from the shards; a damaged shard is fitted
    again.

    The initialisation of each network depends only on the seed of the zoo, the signal id and the
    view.

    Args:
        path: The zoo's folder.
        signals: The signals, or the binary tasks.
        zoo: Seed, size and sharding.
        inr: The architecture of INRs; None for the default.
        classifier: The architecture of classifiers; None for the default.
        fit: Settings of the fit.
        preset: Name of these settings, for the manifest.
        engine: Where the fits run; None for one worker process per core of this machine.

    Returns:
        The complete zoo.

    Raises:
        ValueError: If the folder contains a zoo with other settings (the message lists the
            differences), if another process is writing to it, if the source violates the
            ``SignalSource`` protocol, or if the architecture does not fit the source.
    """
    problem = to_problem(signals, inr, classifier)
    builder = Builder(Path(path), problem, zoo, fit, preset, engine or Workers())
    builder.check()
    file = builder.path / CONFIG
    check_claim(file, builder.identity, option="zoo.path", notes=builder.notes)
    if builder.is_complete():  # without a lock
        print(f"dws: {path} is already complete, {len(builder.ids)} {builder.noun}")
        return Zoo.open(path)
    with claim_folder(file, builder.identity, option="zoo.path", notes=builder.notes):
        try:
            checksums = builder.checksums()
        except FileNotFoundError:
            checksums = {}
        except ValueError:
            print(f"dws: rewriting the manifest of {path}, which is damaged")
            checksums = {}
        missing = builder.missing_shards(builder.starts, checksums)
        if missing:
            builder.fit_shards(builder.starts, missing)
        write_manifest(builder.path, {**builder.identity, **builder.notes})
    return Zoo.open(path)


@dataclass(frozen=True)
class Builder:
    """Plan and execution of the fits of a zoo, for ``build_zoo`` and ``build_part``."""

    path: Path
    problem: FitProblem
    zoo: ZooConfig
    fit: FitConfig
    preset: str
    engine: Engine

    @cached_property
    def splits(self) -> dict[str, Tensor]:
        """Signal ids of each split."""
        return self.problem.source.split(self.zoo.limit)

    @cached_property
    def ids(self) -> Tensor:
        """Signal id of each row, ordered by split; the views of a signal are consecutive."""
        return torch.cat([self.splits[s] for s in SPLITS]).repeat_interleave(self.zoo.num_views)

    @cached_property
    def views(self) -> Tensor:
        """View of each row, 0 to ``num_views - 1``."""
        return torch.arange(len(self.ids)) % self.zoo.num_views

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All settings that determine the zoo's content. A folder is bound to one identity."""
        source = self.problem.source
        return {
            "format_version": FORMAT_VERSION,
            "signals": {"name": source.name, **source.describe()},
            "zoo": asdict(self.zoo),
            **self.problem.architecture,
            "fit": self.fit.identity(),
            "dims": self.problem.spec.dims,
            "num_rows": len(self.ids),
        }

    @cached_property
    def notes(self) -> dict[str, Any]:
        """Additional manifest entries, with the keys ``NOTES``."""
        sizes = {name: self.zoo.num_views * len(ids) for name, ids in self.splits.items()}
        return {
            "fit_preset": {
                "name": self.preset,
                "hash": settings_hash(self.identity["fit"], num_digits=12),
            },
            "splits": split_rows(sizes),
            "labels": sorted(self.problem.source.labels(self.ids[:1])),
            **self.problem.domain,
        }

    @cached_property
    def plan(self) -> Plan:
        """The manifest without the entries that depend on fitted networks.

        Raises:
            ValueError: If the entries do not form a valid zoo.
        """
        what = f"zoo of the signals {self.problem.source.name}"
        return to_plan({**self.identity, **self.notes}, Plan, what=what)

    @property
    def noun(self) -> str:
        """The kind of networks, in the plural."""
        return self.plan.noun

    def check(self) -> None:
        """Validate all settings before the first fit."""
        self.problem.check(self.fit)
        self.problem.data(self.ids[:1])
        _ = self.plan

    def checksums(self) -> dict[str, str]:
        """SHA-256 of each shard of the complete zoo, by file name.

        Raises:
            FileNotFoundError: If the manifest does not exist.
            ValueError: If the manifest is damaged, or belongs to another zoo.
        """
        manifest = read_manifest(self.path)
        content = manifest.content()
        plan = json.loads(json.dumps({**self.identity, **self.notes}))  # tuples become lists
        for key in (*self.identity, "splits", "labels"):
            if content[key] != plan[key]:
                raise UserError(
                    f"{self.path / MANIFEST} has {key}: {content[key]} instead of {plan[key]}. "
                    f"{repair_advice(self.path)}"
                )
        return {shard_name(index): digest for index, digest in enumerate(manifest.shards)}

    def is_complete(self) -> bool:
        """Whether the zoo is complete and all checksums match. Does not write."""
        try:
            return checksums_match(self.path, self.checksums())
        except OtherFormatError:
            raise
        except (FileNotFoundError, ValueError):
            return False

    @property
    def starts(self) -> range:
        """First row of each shard."""
        return range(0, len(self.ids), self.zoo.shard_size)

    def rows(self, start: int) -> Tensor:
        """Row numbers of the shard that begins at ``start``."""
        return torch.arange(start, min(start + self.zoo.shard_size, len(self.ids)))

    def shard(self, start: int) -> Path:
        """File of the shard that begins at row ``start``."""
        return self.path / shard_name(start // self.zoo.shard_size)

    def missing_shards(self, starts: Sequence[int], checksums: Mapping[str, str]) -> list[int]:
        """Select the shards that are missing or damaged.

        Args:
            starts: First row of each shard.
            checksums: SHA-256 of each shard by file name; empty if the zoo is unfinished.

        Returns:
            First row of each missing or damaged shard.
        """
        files = {start: self.shard(start) for start in starts}
        return [s for s, file in files.items() if not is_intact(file, checksums.get(file.name))]

    def fit_shards(self, starts: Sequence[int], missing: Sequence[int]) -> None:
        """Fit and write shards, with a progress bar.

        Args:
            starts: First row of each shard of this zoo or part.
            missing: First row of each shard to fit.
        """
        total, left = (sum(len(self.rows(s)) for s in part) for part in (starts, missing))
        # depends on the size of the whole zoo, so that resuming gives the same bytes
        compiled = use_compiler(self.fit, len(self.ids))
        if left < total:
            print(f"dws: resuming {self.path}: {total - left} of {total} {self.noun} are complete")
        print(f"dws: fitting {left} {self.noun}{' with compiled steps' if compiled else ''}")
        jobs = (self.job(start, compiled) for start in missing)
        began = time.monotonic()
        with (
            _ProgressBar(
                total=total,
                initial=total - left,
                quality=self.problem.quality,
                quality_text=self.problem.quality_text,
                unit=self.noun.removesuffix("s"),
                desc=f"fitting {self.path.name}",
            ) as bar,
            closing(self.engine.run(jobs, bar.add)) as results,
        ):
            for position, result in results:
                self.write_shard(missing[position], result)
                seconds = round(time.monotonic() - began, 3)
                began = time.monotonic()
                row = {"num_inrs": len(result.loss), "seconds": seconds}
                append_json_line(self.path / TIMING, row)

    def job(self, start: int, compiled: bool) -> FitJob:
        """The fit of one shard."""
        rows = self.rows(start)
        inputs, targets = self.problem.data(self.ids[rows])
        return FitJob(
            family=self.problem.family,
            initial=self.initial(rows),
            inputs=inputs,
            targets=targets,
            config=self.fit,
            compiled=compiled,
        )

    def write_shard(self, start: int, result: FitResult) -> None:
        """Write the result of one fit as a shard."""
        ids, views = self.ids[self.rows(start)], self.views[self.rows(start)]
        columns = {"num_steps": result.num_steps, self.plan.loss_column: result.loss}
        write_shard(
            self.shard(start),
            result.weights,
            {"signal_id": ids, "view": views, **columns},
            self.problem.source.labels(ids),
        )

    def initial(self, rows: Tensor) -> WeightBatch:
        """Initial networks of the fits of these rows."""
        if self.problem.shared_init:
            seeds = [derive_seed(self.zoo.seed, INIT_STREAM)] * len(rows)
        else:
            pairs = zip(self.ids[rows].tolist(), self.views[rows].tolist(), strict=True)
            seeds = [derive_seed(self.zoo.seed, i, view, INIT_STREAM) for i, view in pairs]
        return self.problem.initial(seeds)


class _ProgressBar(tqdm):  # type: ignore[type-arg]
    """Progress bar that counts networks and shows the mean quality of finished fits.

    Fits in progress count by their fraction of steps. The remaining time is estimated from the rate
    over the last third of the time since the first step, in order to exclude compilation and the
    start of workers.
    """

    began: float | None = None
    work = 0.0
    total_quality = 0.0
    num_finished = 0

    def __init__(
        self,
        *,
        initial: int,
        quality: Callable[[Tensor], Tensor] = psnr,
        quality_text: str = PSNR_TEXT,
        **options: Any,
    ) -> None:
        self.quality, self.quality_text = quality, quality_text
        self.reports: deque[tuple[float, float]] = deque()  # (time, total work until then)
        self.num_before = initial
        super().__init__(initial=initial, **options)

    def add(self, work: float, loss: Tensor) -> None:
        """Update the bar from a report of an engine, see ``OnProgress``."""
        now = time.monotonic()
        self.began = self.began or now
        self.work += work
        self.total_quality += float(self.quality(loss).sum())
        self.num_finished += len(loss)
        if not self.reports or now - self.reports[-1][0] >= 0.01 * (now - self.began):
            self.reports.append((now, self.work))
        while len(self.reports) > 1 and self.reports[1][0] <= now - (now - self.began) / 3:
            self.reports.popleft()
        if self.num_finished:
            mean = self.total_quality / self.num_finished
            self.set_postfix_str(self.quality_text.format(mean), refresh=False)
        self.update(self.num_before + int(self.work + 1e-3) - self.n)

    @property
    def rate(self) -> float | None:
        """Networks per second; None if not known yet."""
        if not self.reports:
            return None
        began, before = self.reports[0]
        seconds = time.monotonic() - began
        return (self.work - before) / seconds if seconds > 0 and self.work > before else None

    @property
    def format_dict(self) -> dict[str, Any]:
        """Values that tqdm displays."""
        return {**super().format_dict, "rate": self.rate}
