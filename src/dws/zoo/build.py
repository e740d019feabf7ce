"""From signals to a zoo: fit shard after shard, going on where an earlier run stopped."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from dws.files import claim_folder, hold_folder, sha256
from dws.inr import FitConfig, SirenConfig, fit_inrs, init_siren
from dws.inr.fit import use_compiler
from dws.signals import SPLITS, SignalSource
from dws.signals.source import derive_seed
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo.store import (
    FORMAT_VERSION,
    MANIFEST,
    Zoo,
    psnr,
    shard_name,
    write_manifest,
    write_shard,
)

CONFIG = "config.yaml"
INIT_STREAM = 1  # keeps the seeds of initialisations apart from those of signals


@dataclass(frozen=True)
class ZooConfig:
    """What a zoo consists of, beside its signals.

    Attributes:
        seed: Initialisations and signals depend on it.
        limit: Number of signals in all splits together, or None for all.
        num_views: Independently initialised INRs for each signal.
        shard_size: INRs in one file.

    Raises:
        ValueError: If a number is out of range.
    """

    seed: int = 0
    limit: int | None = None
    num_views: int = 1
    shard_size: int = 512

    def __post_init__(self) -> None:
        if self.seed < 0 or min(self.num_views, self.shard_size) < 1:
            raise ValueError(
                "expected zoo.seed >= 0, zoo.num_views >= 1 and zoo.shard_size >= 1, got "
                f"{self.seed}, {self.num_views} and {self.shard_size}"
            )


def build_zoo(
    path: str | Path,
    signals: SignalSource,
    *,
    zoo: ZooConfig,
    inr: SirenConfig,
    fit: FitConfig,
) -> Zoo:
    """Fit INRs to signals and write them to a folder; go on if it holds a part of the same zoo.

    Each INR starts from its own initialisation, which depends on (zoo seed, signal id, view) alone.

    Args:
        path: The zoo's folder.
        signals: What to fit.
        zoo: Seed, size and sharding.
        inr: The architecture of the INRs.
        fit: How they are fitted.

    Returns:
        The finished zoo.

    Raises:
        ValueError: If the folder holds a zoo with other settings, with the keys that differ, or
            another process is writing to it.
    """
    builder = _Builder(Path(path), signals, zoo, inr, fit)
    with hold_folder(builder.path):
        claim_folder(builder.path / CONFIG, builder.plan, option="zoo.path")
        missing = builder.missing_shards()
        if missing:
            builder.fit_shards(missing)
        if missing or not (builder.path / MANIFEST).is_file():
            builder.write_manifest()
        else:
            print(f"dws: {path} is done already, {len(builder.ids)} INRs")
    return Zoo.open(path)


@dataclass(frozen=True)
class _Builder:
    path: Path
    signals: SignalSource
    zoo: ZooConfig
    inr: SirenConfig
    fit: FitConfig

    @cached_property
    def spec(self) -> WeightSpaceSpec:
        """The weight space of INRs of these signals."""
        d_0 = self.signals.coordinates.shape[1]
        return WeightSpaceSpec((d_0, *self.inr.hidden, self.signals.num_outputs))

    @cached_property
    def splits(self) -> dict[str, Tensor]:
        """Signal ids of each split."""
        return self.signals.split(self.zoo.limit)

    @cached_property
    def ids(self) -> Tensor:
        """Signal id of each row: split after split, the views of a signal in a row."""
        return torch.cat([self.splits[s] for s in SPLITS]).repeat_interleave(self.zoo.num_views)

    @cached_property
    def views(self) -> Tensor:
        """View of each row, 0 to ``num_views - 1``."""
        return torch.arange(len(self.ids)) % self.zoo.num_views

    @cached_property
    def plan(self) -> dict[str, Any]:
        """All that the zoo's content depends on; a folder belongs to one plan."""
        how_not_what = ("chunk_size", "compile")
        fit = {k: v for k, v in asdict(self.fit).items() if k not in how_not_what}
        return {
            "format_version": FORMAT_VERSION,
            "signals": {"name": self.signals.name, **self.signals.describe()},
            "zoo": asdict(self.zoo),
            "inr": asdict(self.inr),
            "fit": fit,
            "dims": self.spec.dims,
            "num_rows": len(self.ids),
        }

    def missing_shards(self) -> list[int]:
        """First rows of the shards that are not there, or damaged."""
        size = self.zoo.shard_size
        finished = (self.path / MANIFEST).is_file()
        expected = Zoo.open(self.path).manifest["shards"] if finished else None
        return [
            start
            for index, start in enumerate(range(0, len(self.ids), size))
            if not _is_whole(self.path / shard_name(index), expected and expected[index])
        ]

    def fit_shards(self, starts: list[int]) -> None:
        """Fit shards, given by their first rows, with a progress bar."""
        left = sum(len(self.ids[s : s + self.zoo.shard_size]) for s in starts)
        done = len(self.ids) - left
        compiled = use_compiler(self.fit, len(self.ids))  # also when going on: the same bytes
        if done:
            print(f"dws: going on in {self.path}, {done} of {len(self.ids)} INRs are there")
        print(f"dws: fitting {left} INRs in {'a compiled' if compiled else 'an eager'} loop")
        with _ProgressBar(
            total=len(self.ids), initial=done, unit="INR", desc=f"fitting {self.path.name}"
        ) as bar:
            for start in starts:
                self.fit_shard(start, compiled, bar)

    def fit_shard(self, start: int, compiled: bool, bar: _ProgressBar) -> None:
        """Fit the rows of one shard, chunk by chunk, and write it."""
        rows = torch.arange(start, min(start + self.zoo.shard_size, len(self.ids)))
        results = [
            fit_inrs(
                self.initial(chunk),
                self.signals.coordinates,
                self.signals.values(self.ids[chunk]),
                config=self.fit,
                omega_0=self.inr.omega_0,
                output_offset=self.inr.output_offset,
                compiled=compiled,
                on_finished=bar.add,
            )
            for chunk in rows.split(self.fit.chunk_size)
        ]
        columns = {
            "signal_id": self.ids[rows],
            "view": self.views[rows],
            "num_steps": torch.cat([r.num_steps for r in results]),
            "mse": torch.cat([r.mse for r in results]),
        }
        weights = torch.cat([r.weights.flatten() for r in results])
        write_shard(
            self.path / shard_name(start // self.zoo.shard_size),
            WeightBatch.from_flat(self.spec, weights),
            columns,
            self.signals.labels(self.ids[rows]),
        )

    def initial(self, rows: Tensor) -> WeightBatch:
        """Where the fits of these rows start."""
        if self.inr.shared_init:
            seeds = [derive_seed(self.zoo.seed, INIT_STREAM)] * len(rows)
        else:
            pairs = zip(self.ids[rows].tolist(), self.views[rows].tolist(), strict=True)
            seeds = [derive_seed(self.zoo.seed, i, view, INIT_STREAM) for i, view in pairs]
        return init_siren(self.spec, seeds, omega_0=self.inr.omega_0, init=self.inr.init)

    def write_manifest(self) -> None:
        """Declare the zoo finished."""
        coordinates = self.signals.coordinates
        plan = {
            **self.plan,
            "labels": sorted(self.signals.labels(self.ids[:1])),
            "domain": {
                "low": coordinates.amin(0).tolist(),
                "high": coordinates.amax(0).tolist(),
                "grid": self.signals.grid or [len(coordinates)],
            },
        }
        sizes = {name: len(ids) * self.zoo.num_views for name, ids in self.splits.items()}
        write_manifest(self.path, plan, sizes)


class _ProgressBar(tqdm):  # type: ignore[type-arg]
    """Counts INRs and shows the mean PSNR of those that this run finished."""

    total_psnr = 0.0
    num_finished = 0

    def add(self, mse: Tensor) -> None:
        """Take note of INRs that finished, by their mean squared errors."""
        self.total_psnr += float(psnr(mse).sum())
        self.num_finished += len(mse)
        if self.num_finished:
            mean = self.total_psnr / self.num_finished
            self.set_postfix_str(f"PSNR {mean:.1f} dB", refresh=False)
        self.update(len(mse))


def _is_whole(file: Path, expected: str | None) -> bool:
    """Whether a shard is there with the SHA-256 of a finished zoo.

    In an unfinished one renaming made sure that it was whole, and its size is in its header.
    """
    try:
        with safe_open(file, framework="pt"):
            pass
    except FileNotFoundError:
        return False
    except SafetensorError as error:
        print(f"dws: {file} is damaged ({error}) and will be fitted again")
        return False
    if expected is not None and sha256(file) != expected:
        print(f"dws: {file} is not what was written there and will be fitted again")
        return False
    return True
