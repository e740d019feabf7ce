"""From signals or tasks to a zoo: fit shard after shard, going on where an earlier run stopped."""

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
from dws.io.hashing import as_written, settings_hash
from dws.seeding import derive_seed
from dws.settings import ZooConfig
from dws.signals import SPLITS, BinaryTasks, SignalSource
from dws.weightspace import WeightBatch
from dws.zoo.engine import Engine, FitJob, Workers
from dws.zoo.fitted import Fitted, FittedInrs, to_fitted
from dws.zoo.manifest import CONFIG as CONFIG  # for those who make zoos
from dws.zoo.manifest import (
    FORMAT_VERSION,
    MANIFEST,
    OtherFormatError,
    Plan,
    how_to_make_again,
    read_manifest,
    split_rows,
    to_plan,
)
from dws.zoo.store import Zoo, is_whole, shard_name, write_manifest, write_shard

TIMING = ".timing.jsonl"  # a line for each shard: its networks, and seconds since the one before
NOTES = ("fit_preset", "splits", "labels", "domain")
INIT_STREAM = 1  # keeps the seeds of initialisations apart from those of signals


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
    """Fit networks and write them to a folder; resume if it holds a part of the same zoo.

    INRs are fitted to signals, classifiers to binary tasks.

    A complete zoo is returned as it is and nothing is written. A damaged manifest is written again
    from the shards, a damaged shard is fitted again.

    Each network starts from its own initialisation, which depends on (zoo seed, signal id, view)
    alone.

    Args:
        path: The zoo's folder.
        signals: What to fit.
        zoo: Seed, size and sharding.
        inr: The architecture of INRs; None for the default.
        classifier: The architecture of classifiers; None for the default.
        fit: How they are fitted.
        preset: What these settings of the fit are called, for the manifest.
        engine: Where the fits run; on this machine, one worker a core, if None.

    Returns:
        The finished zoo.

    Raises:
        ValueError: If the folder holds a zoo with other settings, with the keys that differ,
            another process is writing to it, the source is not as ``SignalSource`` says, or the
            architecture is not for it.
    """
    fitted = to_fitted(signals, inr, classifier)
    builder = Builder(Path(path), fitted, zoo, fit, preset, engine or Workers())
    builder.check()
    file = builder.path / CONFIG
    check_claim(file, builder.identity, option="zoo.path", notes=builder.notes)
    if builder.is_complete():  # needs no lock
        print(f"dws: {path} is already complete, {len(builder.ids)} {builder.noun}")
        return Zoo.open(path)
    with claim_folder(file, builder.identity, option="zoo.path", notes=builder.notes):
        try:
            checksums = builder.checksums()
        except FileNotFoundError:
            checksums = {}
        except ValueError as error:
            print(f"dws: {error}")
            checksums = {}
        missing = builder.missing_shards(builder.starts, checksums)
        if missing:
            builder.fit_shards(builder.starts, missing)
        write_manifest(builder.path, {**builder.identity, **builder.notes})
    return Zoo.open(path)


@dataclass(frozen=True)
class Builder:
    """What ``build_zoo`` and ``build_part`` share: a plan, and the fits that fill it."""

    path: Path
    fitted: Fitted
    zoo: ZooConfig
    fit: FitConfig
    preset: str
    engine: Engine

    @cached_property
    def splits(self) -> dict[str, Tensor]:
        """Signal ids of each split."""
        return self.fitted.source.split(self.zoo.limit)

    @cached_property
    def ids(self) -> Tensor:
        """Signal id of each row: split after split, the views of a signal in a row."""
        return torch.cat([self.splits[s] for s in SPLITS]).repeat_interleave(self.zoo.num_views)

    @cached_property
    def views(self) -> Tensor:
        """View of each row, 0 to ``num_views - 1``."""
        return torch.arange(len(self.ids)) % self.zoo.num_views

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that the zoo's content depends on; a folder belongs to one such."""
        source = self.fitted.source
        return {
            "format_version": FORMAT_VERSION,
            "signals": {"name": source.name, **source.describe()},
            "zoo": asdict(self.zoo),
            **self.fitted.architecture(),
            "fit": self.fit.identity(),
            "dims": self.fitted.spec.dims,
            "num_rows": len(self.ids),
        }

    @cached_property
    def notes(self) -> dict[str, Any]:
        """What else the manifest says, under the keys ``NOTES``."""
        sizes = {name: self.zoo.num_views * len(ids) for name, ids in self.splits.items()}
        return {
            "fit_preset": {
                "name": self.preset,
                "hash": settings_hash(self.identity["fit"], num_digits=12),
            },
            "splits": split_rows(sizes),
            "labels": sorted(self.fitted.source.labels(self.ids[:1])),
            **self.fitted.domain(),
        }

    @cached_property
    def plan(self) -> Plan:
        """What is known of the zoo before it is fitted.

        Raises:
            ValueError: If it could not be opened as a zoo.
        """
        what = f"splits and a grid that make a zoo from the signals {self.fitted.source.name}"
        return to_plan({**self.identity, **self.notes}, Plan, what=what)

    @property
    def noun(self) -> str:
        """What is fitted, in the plural."""
        return self.plan.noun

    def check(self) -> None:
        """Refuse, before anything is fitted, what could not be fitted or opened as a zoo."""
        self.fitted.check(self.fit)
        self.fitted.data(self.ids[:1])
        _ = self.plan

    def checksums(self) -> dict[str, str]:
        """SHA-256 of each shard of the finished zoo, by file name.

        Raises:
            FileNotFoundError: If there is no manifest.
            ValueError: If it is damaged, or not that of this zoo.
        """
        manifest = read_manifest(self.path)
        content = manifest.content()
        plan = json.loads(json.dumps({**self.identity, **self.notes}))  # tuples become lists
        for key in (*self.identity, "splits", "labels"):
            if content[key] != plan[key]:
                raise UserError(
                    f"expected {key}: {plan[key]} in {self.path / MANIFEST}, got "
                    f"{content[key]}; {how_to_make_again(self.path)}"
                )
        return {shard_name(index): digest for index, digest in enumerate(manifest.shards)}

    def is_complete(self) -> bool:
        """Whether the whole zoo is there as it was written. Only reads."""
        try:
            return as_written(self.path, self.checksums())
        except OtherFormatError:
            raise
        except (FileNotFoundError, ValueError):
            return False

    @property
    def starts(self) -> range:
        """First row of each shard."""
        return range(0, len(self.ids), self.zoo.shard_size)

    def rows(self, start: int) -> Tensor:
        """The rows of the shard that begins there."""
        return torch.arange(start, min(start + self.zoo.shard_size, len(self.ids)))

    def shard(self, start: int) -> Path:
        """The file of the shard that begins there."""
        return self.path / shard_name(start // self.zoo.shard_size)

    def missing_shards(self, starts: Sequence[int], checksums: Mapping[str, str]) -> list[int]:
        """Those of the shards, given by their first rows, that are not there, or damaged.

        Args:
            starts: First rows.
            checksums: SHA-256 of each shard, by file name, or nothing if they are not known yet.
        """
        files = {start: self.shard(start) for start in starts}
        return [s for s, file in files.items() if not is_whole(file, checksums.get(file.name))]

    def fit_shards(self, starts: Sequence[int], missing: Sequence[int]) -> None:
        """Fit those of the shards that are missing and write them, with a progress bar."""
        total, left = (sum(len(self.rows(s)) for s in part) for part in (starts, missing))
        compiled = use_compiler(self.fit, len(self.ids))  # of the whole zoo: the same bytes
        if left < total:
            print(f"dws: going on in {self.path}, {total - left} of {total} {self.noun} are there")
        print(f"dws: fitting {left} {self.noun} in {'a compiled' if compiled else 'an eager'} loop")
        jobs = (self.job(start, compiled) for start in missing)
        began = time.monotonic()
        with (
            _ProgressBar(
                total=total,
                initial=total - left,
                quality=self.fitted.quality,
                quality_text=self.fitted.quality_text,
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
        inputs, targets = self.fitted.data(self.ids[rows])
        return FitJob(
            family=self.fitted.family,
            initial=self.initial(rows),
            inputs=inputs,
            targets=targets,
            config=self.fit,
            compiled=compiled,
        )

    def write_shard(self, start: int, result: FitResult) -> None:
        """Write one shard."""
        ids, views = self.ids[self.rows(start)], self.views[self.rows(start)]
        columns = {"num_steps": result.num_steps, self.plan.loss_column: result.loss}
        write_shard(
            self.shard(start),
            result.weights,
            {"signal_id": ids, "view": views, **columns},
            self.fitted.source.labels(ids),
        )

    def initial(self, rows: Tensor) -> WeightBatch:
        """Where the fits of these rows start."""
        if self.fitted.shared_init:
            seeds = [derive_seed(self.zoo.seed, INIT_STREAM)] * len(rows)
        else:
            pairs = zip(self.ids[rows].tolist(), self.views[rows].tolist(), strict=True)
            seeds = [derive_seed(self.zoo.seed, i, view, INIT_STREAM) for i, view in pairs]
        return self.fitted.initial(seeds)


class _ProgressBar(tqdm):  # type: ignore[type-arg]
    """Counts networks, those under way by their steps, and shows how well finished ones fit.

    The time that is left is estimated from the rate over the last third of the time since the first
    step: compiling and the start of further workers come before that.
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
        quality_text: str = FittedInrs.quality_text,
        **options: Any,
    ) -> None:
        self.quality, self.quality_text = quality, quality_text
        self.reports: deque[tuple[float, float]] = deque()  # time, and work until then
        self.num_before = initial
        super().__init__(initial=initial, **options)

    def add(self, work: float, loss: Tensor) -> None:
        """Take note of what an engine reports, see ``OnProgress``."""
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
        """Networks a second, if known."""
        if not self.reports:
            return None
        began, before = self.reports[0]
        seconds = time.monotonic() - began
        return (self.work - before) / seconds if seconds > 0 and self.work > before else None

    @property
    def format_dict(self) -> dict[str, Any]:
        """What tqdm shows."""
        return {**super().format_dict, "rate": self.rate}
