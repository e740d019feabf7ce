"""The format of a zoo, and reading it.

A zoo is a folder of safetensors shards and a ``manifest.json`` that is written last: a folder
without one is unfinished. Row r of the zoo is row ``r % shard_size`` of shard ``r // shard_size``;
the rows of each split are contiguous. A shard holds, each with its rows first,

- ``weight.<i>`` (n, d_i, d_{i+1}) and ``bias.<i>`` (n, d_{i+1}), float32, inputs before outputs,
- ``signal_id``, ``view``, ``num_steps`` (n,) int64 and (n,) float32 ``mse`` of INRs or
  ``cross_entropy`` of classifiers,
- ``label.<name>`` (n,) for each label of the signals.

The manifest holds the SHA-256 of each shard; one that does not match is refused when it is read.
Weights that another program wrote in another dtype are converted to float32 when they are read.
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
    how_to_make_again,
    read_manifest,
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
        path: Where to.
        weights: n networks with one channel.
        columns: What else is known of each row, (n,) each.
        labels: Labels of each row, (n,) each.
    """
    tensors = {f"weight.{i}": w.squeeze(-1).contiguous() for i, w in enumerate(weights.weights)}
    tensors |= {f"bias.{i}": b.squeeze(-1).contiguous() for i, b in enumerate(weights.biases)}
    tensors |= {**columns, **{LABEL_PREFIX + name: label for name, label in labels.items()}}
    # of its own each: safetensors refuses columns of one tensor
    write_atomically(path, save({name: t.clone().contiguous() for name, t in tensors.items()}))


def is_whole(file: Path, expected: str | None = None) -> bool:
    """Whether a safetensors file is there, whole; says so if it is there and damaged.

    Args:
        file: A shard, or what else is kept so.
        expected: Its SHA-256, of a finished zoo or part. In an unfinished one, None: renaming made
            sure that it was whole, and its size is in its header.
    """
    try:
        with safe_open(file, framework="pt"):
            pass
    except FileNotFoundError:
        return False
    except SafetensorError as error:
        print(f"dws: {file} is damaged ({error}) and will be made again")
        return False
    if expected is not None and sha256(file) != expected:
        print(f"dws: {file} is not what was written there and will be made again")
        return False
    return True


def write_manifest(path: Path, plan: Mapping[str, Any]) -> None:
    """Declare the shards in a folder a finished zoo.

    Args:
        path: The zoo's folder.
        plan: What the zoo's content depends on, with ``format_version``, ``dims``, ``num_rows``,
            ``splits``, ``labels``, ``zoo.shard_size``, and ``inr`` and ``domain`` (of the signals:
            ``low`` and ``high`` of each input, ``grid`` of points) or ``classifier`` among it.
    """
    not_known: dict[str, Any] = {"shards": [], "train_mean": {}, "train_std": {}, "versions": {}}
    not_known |= {"train_psnr": None, "train_num_steps_median": None}
    draft = to_plan({**plan, **not_known}, Manifest, what=f"plan of a zoo in {path}")
    shards = [sha256(path / shard_name(index)) for index in range(draft.num_shards)]
    train = Zoo(path, draft.model_copy(update={"shards": shards})).split("train")
    mean, std = layer_moments(piece.weights() for piece in train.pieces())
    layers = range(train.zoo.spec.num_layers)
    names = [f"{kind}.{i}" for i in layers for kind in ("weight", "bias")]
    loss = train.column(draft.loss_column).float()
    is_known = not bool(loss.isnan().any())  # it is not for imported networks
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
    """A finished zoo, opened read-only.

    Attributes:
        path: Its folder.
        manifest: Its ``manifest.json``.
    """

    path: Path
    manifest: Manifest
    _verified: set[int] = field(default_factory=set, init=False, repr=False, compare=False)

    @classmethod
    def open(cls, path: str | Path) -> Zoo:
        """Read the manifest; weights are read when asked for.

        Raises:
            FileNotFoundError: If there is no zoo, or an unfinished one.
            ValueError: If the manifest is damaged or of a newer format.
        """
        path = Path(path)
        file = path / MANIFEST
        if not file.is_file():
            found = len(list(path.glob("*.safetensors")))
            state = f"unfinished, {found} shards so far" if found else "no manifest.json there"
            raise NotFoundError(f"expected a zoo in {path}, got none ({state})")
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
            ValueError: If the networks are classifiers.
        """
        return self._of_inrs(self.manifest.inr)

    @property
    def domain(self) -> Domain:
        """Where the signals of the INRs are defined.

        Raises:
            ValueError: If the networks are classifiers.
        """
        return self._of_inrs(self.manifest.domain)

    def _of_inrs(self, section: AnySection | None) -> AnySection:
        if section is None:
            raise UserError(
                f"expected a zoo of INRs, got one of {self.manifest.noun} in {self.path}; they "
                "compute no signal"
            )
        return section

    @property
    def digest(self) -> str:
        """SHA-256 of all shards: what tells its networks from those of another fit."""
        return hashlib.sha256(" ".join(self.manifest.shards).encode()).hexdigest()

    def split(self, name: str) -> ZooSplit:
        """One of "train", "val" and "test".

        Raises:
            ValueError: On another name.
        """
        if name not in SPLITS:
            raise UserError(f"expected a split of {', '.join(SPLITS)}, got {name!r}")
        start, stop = self.manifest.splits[name]
        return ZooSplit(self, start, stop)

    @property
    def labels(self) -> dict[str, Tensor]:
        """All labels of all rows, each (len,)."""
        return ZooSplit(self, 0, len(self)).labels

    def shard(self, index: int) -> Path:
        """A shard's file, whose content was checked once.

        Raises:
            FileNotFoundError: If it is missing.
            ValueError: If it is not what the manifest says.
        """
        file = self.path / shard_name(index)
        if index not in self._verified:
            remedy = how_to_make_again(self.path)
            expected = self.manifest.shards[index]
            try:
                got = sha256(file)
            except FileNotFoundError:
                raise NotFoundError(f"expected shard {file}, got no such file; {remedy}") from None
            if got != expected:
                raise UserError(
                    f"expected SHA-256 {expected} of shard {file}, got {got}: it was truncated, "
                    f"edited or is another zoo's; {remedy}"
                )
            self._verified.add(index)
        return file

    def find_problems(self) -> list[str]:
        """Check every byte; one line for each shard that is missing, altered or not finite."""
        problems = []
        for rows in ZooSplit(self, 0, len(self)).pieces():
            try:
                if not bool(rows.weights().flatten().isfinite().all()):
                    problems.append(f"rows {rows.start} to {rows.stop - 1} hold NaN or infinity")
            except (OSError, ValueError) as error:
                problems.append(str(error))
        return problems


@dataclass(frozen=True)
class ZooSplit:
    """Rows ``start`` to ``stop`` of a zoo."""

    zoo: Zoo
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def labels(self) -> dict[str, Tensor]:
        """Labels by name, each (len,)."""
        return {name: self.column(LABEL_PREFIX + name) for name in self.zoo.manifest.labels}

    def weights(self) -> WeightBatch:
        """All networks of the split, (len, ..., C=1) float32, in memory."""
        layers = range(self.zoo.spec.num_layers)
        names = [f"weight.{i}" for i in layers] + [f"bias.{i}" for i in layers]
        tensors = [t.unsqueeze(-1).float() for t in self._read(names)]
        batch = WeightBatch(tuple(tensors[: len(layers)]), tuple(tensors[len(layers) :]))
        if batch.spec != self.zoo.spec:
            raise UserError(
                f"expected networks of widths {self.zoo.spec.dims} in {self.zoo.path}, "
                f"got {batch.spec.dims}; {how_to_make_again(self.zoo.path)}"
            )
        return batch

    def images(self, root: Path) -> Float[Tensor, "n p d_m"]:
        """The images that the networks of the split were fitted to, pixels row by row.

        Args:
            root: Data folder; see ``ImageSignals``.

        Raises:
            ValueError: If the manifest does not say which images these are.
            FileNotFoundError: If the images are not there and cannot be fetched.
        """
        record = self.zoo.manifest.signals.content()
        what = f"The manifest of {self.zoo.path}"
        return images_of(record, root, what=what).values(self.column("signal_id"))

    def pieces(self) -> Iterator[ZooSplit]:
        """The split cut at the ends of shards, so that each piece reads one file."""
        size = self.zoo.manifest.zoo.shard_size
        cuts = [*range((self.start // size + 1) * size, self.stop, size), self.stop]
        start = self.start
        for stop in cuts:
            yield ZooSplit(self.zoo, start, stop)
            start = stop

    def column(self, name: str) -> Tensor:
        """One column of the shards, such as ``mse``, (len,)."""
        return self._read([name])[0]

    def _read(self, names: list[str]) -> list[Tensor]:
        """Rows of the named tensors, from every shard that they touch.

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
                                f"expected {name} of shape {expected} and {columns[name].dtype} in "
                                f"{file}, got {tuple(part.shape)} and {part.dtype}; "
                                f"{how_to_make_again(self.zoo.path)}"
                            )
                        # copied at once: a slice keeps its whole file in memory
                        columns[name][piece.start - self.start : piece.stop - self.start] = part
            except SafetensorError as error:
                raise UserError(
                    f"expected a shard of a zoo in {file}, got: {error}; "
                    f"{how_to_make_again(self.zoo.path)}"
                ) from error
        return [columns[name] for name in names]
