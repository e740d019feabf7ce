"""File format of a zoo: writing shards and the manifest, and reading them.

A zoo is a folder of safetensors shards and a ``manifest.json``. The manifest is written last; a
folder without a manifest is an unfinished zoo. Row r of the zoo is row ``r % shard_size`` of shard
``r // shard_size``. The rows of each split are contiguous. A shard of n rows contains

- ``weight.<i>`` (n, d_i, d_{i+1}) and ``bias.<i>`` (n, d_{i+1}), float32, inputs before outputs,
- ``signal_id``, ``view`` and ``num_steps`` (n,), int64,
- ``mse`` (n,) of INRs or ``cross_entropy`` (n,) of classifiers, float32,
- ``label.<name>`` (n,) for each label of the signals.

The manifest contains the SHA-256 of each shard. It is verified before a shard is read. Weights that
another program wrote in another dtype are converted to float32 on reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import dws
from dws.errors import NotFoundError, UserError
from dws.inr.fit import psnr
from dws.io.atomic import write_atomically
from dws.io.content import write_json
from dws.io.hashing import sha256
from dws.signals import SPLITS
from dws.signals.images import images_of
from dws.weightspace import WeightBatch, WeightSpaceSpec, layer_moments
from dws.zoo.manifest import (
    MANIFEST,
    Architecture,
    Domain,
    Manifest,
    OtherFormatError,
    read_manifest,
    repair_advice,
    to_plan,
)

LABEL_PREFIX = "label."
AnySection = TypeVar("AnySection")


def shard_name(index: int) -> str:
    """File name of a shard."""
    return f"shard-{index:05d}.safetensors"


def write_shard(
    path: Path, weights: WeightBatch, columns: Mapping[str, Tensor], labels: Mapping[str, Tensor]
) -> None:
    """Write one shard atomically.

    Args:
        path: File to write.
        weights: n networks with one channel.
        columns: Further columns, (n,) each.
        labels: Labels, (n,) each.
    """
    tensors = {f"weight.{i}": w.squeeze(-1).contiguous() for i, w in enumerate(weights.weights)}
    tensors |= {f"bias.{i}": b.squeeze(-1).contiguous() for i, b in enumerate(weights.biases)}
    tensors |= {**columns, **{LABEL_PREFIX + name: label for name, label in labels.items()}}
    # clones: safetensors does not save tensors that share memory
    write_atomically(path, save({name: t.clone().contiguous() for name, t in tensors.items()}))


def write_networks(
    path: Path,
    plan: Mapping[str, Any],
    weights: WeightBatch,
    columns: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
) -> None:
    """Write all shards and the manifest of networks that are in memory.

    Args:
        path: The zoo's folder.
        plan: The entries of ``dws.zoo.manifest.Plan``.
        weights: n networks with one channel, in the order of the rows.
        columns: Further columns, (n,) each.
        labels: Labels, (n,) each.
    """
    size = plan["zoo"]["shard_size"]
    for index, start in enumerate(range(0, weights.batch_size, size)):
        rows = slice(start, start + size)
        write_shard(
            path / shard_name(index),
            weights[rows],
            {name: values[rows] for name, values in columns.items()},
            {name: values[rows] for name, values in labels.items()},
        )
    write_manifest(path, plan)


def columns_without_fit(num_rows: int, loss: str) -> dict[str, Tensor]:
    """Columns of networks that dws did not fit: each has a signal of its own, no steps, no loss.

    Args:
        num_rows: Number of networks.
        loss: Name of the column with the loss.
    """
    rows = torch.arange(num_rows)
    zeros = torch.zeros_like(rows)
    nan = torch.full(rows.shape, torch.nan)
    return {"signal_id": rows, "view": zeros, "num_steps": zeros, loss: nan}


def is_intact(file: Path, expected: str | None = None) -> bool:
    """Whether a safetensors file exists and is undamaged; prints a message if it is damaged.

    Args:
        file: A shard or another safetensors file.
        expected: SHA-256 of the file. None if it is unknown, as in an unfinished zoo; then only the
            header is checked, which contains the size. Atomic writes exclude incomplete files.
    """
    try:
        with safe_open(file, framework="pt"):
            pass
    except FileNotFoundError:
        return False
    except SafetensorError as error:
        print(f"dws: {file} is damaged ({error}) and will be created again")
        return False
    if expected is not None and sha256(file) != expected:
        print(f"dws: the checksum of {file} does not match; it will be created again")
        return False
    return True


def describe_missing(path: Path) -> str:
    """First sentence, without a period, of the message about a folder without a complete zoo."""
    num_shards = len(list(path.glob("shard-*.safetensors")))
    if num_shards:
        return f"The zoo in {path} is unfinished ({num_shards} shards so far)"
    return f"No zoo found in {path} (no {MANIFEST})"


def write_manifest(path: Path, plan: Mapping[str, Any]) -> None:
    """Write the manifest of a zoo whose shards are complete.

    Args:
        path: The zoo's folder.
        plan: The entries of ``dws.zoo.manifest.Plan``.
    """
    unknown: dict[str, Any] = {"shards": [], "train_mean": {}, "train_std": {}, "versions": {}}
    unknown |= {"train_psnr": None, "train_num_steps_median": None}
    draft = to_plan({**plan, **unknown}, Manifest, what=f"plan of a zoo in {path}")
    shards = [sha256(path / shard_name(index)) for index in range(draft.num_shards)]
    train = Zoo(path, draft.model_copy(update={"shards": shards})).split("train")
    mean, std = layer_moments(piece.weights() for piece in train.pieces())
    layers = range(train.zoo.spec.num_layers)
    names = [f"{kind}.{i}" for i in layers for kind in ("weight", "bias")]
    loss = train.column(draft.loss_column).float()
    is_known = not bool(loss.isnan().any())  # the loss of imported networks is NaN
    quality = psnr(loss) if draft.inr else loss
    values = quality.quantile(torch.tensor([0.05, 0.5, 0.95])).tolist()
    quantiles = dict(zip(("q05", "median", "q95"), values, strict=True)) if is_known else None
    statistics = {
        "train_mean": dict(zip(names, mean.tolist(), strict=True)),
        "train_std": dict(zip(names, std.tolist(), strict=True)),
        "train_psnr": quantiles if draft.inr else None,
        **({} if draft.inr else {"train_cross_entropy": quantiles}),
        "train_num_steps_median": int(train.column("num_steps").median()) if is_known else None,
        "versions": {"dws": dws.__version__, "torch": torch.__version__},
    }
    write_json(path / MANIFEST, {**plan, "shards": shards, **statistics})


@dataclass(frozen=True)
class Zoo:
    """A complete zoo, opened read-only.

    Attributes:
        path: Folder of the zoo.
        manifest: Content of ``manifest.json``.
    """

    path: Path
    manifest: Manifest
    _verified: set[int] = field(default_factory=set, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        return (
            f"Zoo('{self.path}', {len(self)} {self.manifest.noun} of widths "
            f"{tuple(self.manifest.dims)})"
        )

    @classmethod
    def open(cls, path: str | Path) -> Zoo:
        """Open a zoo. Only the manifest is read; weights are read on demand.

        Raises:
            FileNotFoundError: If the folder contains no zoo, or an unfinished one.
            ValueError: If the manifest is damaged or has another format version.
        """
        path = Path(path)
        file = path / MANIFEST
        if not file.is_file():
            raise NotFoundError(
                f"{describe_missing(path)}. Create or resume it with dws-fit-inrs, dws-zoo "
                "import or dws-zoo combine."
            )
        return cls(path, read_manifest(path))

    def __len__(self) -> int:
        return self.manifest.num_rows

    @property
    def spec(self) -> WeightSpaceSpec:
        """The widths of the networks."""
        return WeightSpaceSpec(tuple(self.manifest.dims))

    @property
    def inr(self) -> Architecture:
        """The architecture of the INRs.

        Raises:
            ValueError: If the networks are not INRs.
        """
        return self._require_inrs(self.manifest.inr)

    @property
    def domain(self) -> Domain:
        """The domain of the signals of the INRs.

        Raises:
            ValueError: If the networks are not INRs.
        """
        return self._require_inrs(self.manifest.domain)

    def _require_inrs(self, section: AnySection | None) -> AnySection:
        if section is None:
            raise UserError(
                f"{self.path} is a zoo of {self.manifest.noun}, not of INRs. Choose a zoo of INRs."
            )
        return section

    @property
    def digest(self) -> str:
        """SHA-256 over the checksums of all shards, which identifies the networks of the zoo."""
        return hashlib.sha256(" ".join(self.manifest.shards).encode()).hexdigest()

    def split(self, name: str) -> ZooSplit:
        """The rows of one split.

        Args:
            name: "train", "val" or "test".

        Raises:
            ValueError: If there is no such split.
        """
        if name not in SPLITS:
            raise UserError(f"Unknown split {name!r}. Choose one of {', '.join(SPLITS)}")
        start, stop = self.manifest.splits[name]
        return ZooSplit(self, start, stop)

    @property
    def labels(self) -> dict[str, Tensor]:
        """Labels of all rows by name, (len,) each."""
        return ZooSplit(self, 0, len(self)).labels

    def shard(self, index: int) -> Path:
        """File of a shard. Its checksum is verified on the first call.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If the checksum does not match.
        """
        file = self.path / shard_name(index)
        if index not in self._verified:
            remedy = repair_advice(self.path)
            expected = self.manifest.shards[index]
            try:
                digest = sha256(file)
            except FileNotFoundError:
                raise NotFoundError(f"Shard {file} is missing. {remedy}") from None
            if digest != expected:
                raise UserError(
                    f"Shard {file} is damaged or belongs to another zoo: its SHA-256 is {digest} "
                    f"instead of {expected}. {remedy}"
                )
            self._verified.add(index)
        return file

    def find_problems(self) -> list[str]:
        """Verify all shards; returns one line for each that is missing, damaged or not finite."""
        problems = []
        for rows in ZooSplit(self, 0, len(self)).pieces():
            try:
                if not bool(rows.weights().flatten().isfinite().all()):
                    problems.append(f"rows {rows.start} to {rows.stop - 1} contain NaN or infinity")
            except (OSError, ValueError) as error:
                problems.append(str(error))
        return problems


@dataclass(frozen=True)
class ZooSplit:
    """Rows ``start`` (inclusive) to ``stop`` (exclusive) of a zoo."""

    zoo: Zoo
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def labels(self) -> dict[str, Tensor]:
        """Labels by name, (len,) each."""
        return {name: self.column(LABEL_PREFIX + name) for name in self.zoo.manifest.labels}

    def weights(self) -> WeightBatch:
        """Load all networks of the split as one batch with one channel, in float32.

        Raises:
            FileNotFoundError: If a shard is missing.
            ValueError: If a shard is damaged.
        """
        layers = range(self.zoo.spec.num_layers)
        names = [f"weight.{i}" for i in layers] + [f"bias.{i}" for i in layers]
        tensors = [t.unsqueeze(-1).float() for t in self._read(names)]
        batch = WeightBatch(tuple(tensors[: len(layers)]), tuple(tensors[len(layers) :]))
        if batch.spec != self.zoo.spec:
            raise UserError(
                f"The networks in {self.zoo.path} have widths {batch.spec.dims}, but its manifest "
                f"says {self.zoo.spec.dims}. {repair_advice(self.zoo.path)}"
            )
        return batch

    def images(self, root: Path) -> Float[Tensor, "n p d_m"]:
        """The images that the networks of the split were fitted to.

        Args:
            root: Data folder, see ``ImageSignals``.

        Returns:
            Pixel values, row by row.

        Raises:
            ValueError: If the zoo was not fitted to images that the manifest identifies.
            FileNotFoundError: If the images are missing and cannot be downloaded.
        """
        record = self.zoo.manifest.signals.content()
        what = f"The manifest of {self.zoo.path}"
        return images_of(record, root, what=what).values(self.column("signal_id"))

    def pieces(self) -> Iterator[ZooSplit]:
        """Divide the rows at the ends of shards, so that each piece reads one file."""
        size = self.zoo.manifest.zoo.shard_size
        cuts = [*range((self.start // size + 1) * size, self.stop, size), self.stop]
        start = self.start
        for stop in cuts:
            yield ZooSplit(self.zoo, start, stop)
            start = stop

    def column(self, name: str) -> Tensor:
        """Load one column of the shards, such as ``signal_id``, (len,).

        Raises:
            ValueError: If there is no such column. The message lists all columns.
        """
        manifest = self.zoo.manifest
        columns = (*manifest.columns, *(LABEL_PREFIX + label for label in manifest.labels))
        if name not in columns:
            raise UserError(
                f"{self.zoo.path} has no column {name}. Choose one of: {', '.join(columns)}."
            )
        return self._read([name])[0]

    def _read(self, names: list[str]) -> list[Tensor]:
        """Load rows of the named tensors from all shards that contain them.

        Raises:
            FileNotFoundError: If a shard is missing.
            ValueError: If a shard is damaged.
        """
        size = self.zoo.manifest.zoo.shard_size
        columns: dict[str, Tensor] = {}
        for piece in self.pieces():
            index = piece.start // size
            file = self.zoo.shard(index)
            rows = slice(piece.start - index * size, piece.stop - index * size)
            try:
                with safe_open(file, framework="pt") as shard:
                    for name in names:
                        part = shard.get_slice(name)[rows]
                        if name not in columns:
                            columns[name] = part.new_empty(len(self), *part.shape[1:])
                        expected = (len(piece), *columns[name].shape[1:])
                        if part.shape != expected or part.dtype != columns[name].dtype:
                            raise UserError(
                                f"{name} in {file} has shape {tuple(part.shape)} and "
                                f"{part.dtype} instead of {expected} and {columns[name].dtype}. "
                                f"{repair_advice(self.zoo.path)}"
                            )
                        # copied immediately, as a slice keeps the whole file in memory
                        columns[name][piece.start - self.start : piece.stop - self.start] = part
            except SafetensorError as error:
                raise UserError(
                    f"{file} is not a valid shard ({error}). {repair_advice(self.zoo.path)}"
                ) from error
        return [columns[name] for name in names]


def open_complete(path: Path) -> Zoo | None:
    """Open a zoo; None if it is not complete, or its manifest is damaged (prints a message).

    Raises:
        ValueError: If the manifest has another format version.
    """
    try:
        return Zoo.open(path)
    except FileNotFoundError:
        return None
    except OtherFormatError:
        raise
    except ValueError:
        print(f"dws: rewriting the manifest of {path}, which is damaged")
        return None
