"""Networks of one architecture from a zoo, a file with a state dict, or a folder of such files."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dws.errors import NotFoundError, UserError
from dws.weightspace import WeightBatch
from dws.zoo.imports import read_state_dict, reason_of
from dws.zoo.manifest import MANIFEST
from dws.zoo.store import Zoo, ZooSplit, shard_name

SUFFIXES = (".pth", ".pt", ".safetensors")  # of files with a state dict, in a folder
NUM_AT_ONCE = 256  # files


@dataclass(frozen=True, eq=False)
class NamedNetworks:
    """A few networks and what each is called.

    Attributes:
        names: Of n networks: the path of a file, or ``<zoo>:<row>``.
        weights: The networks.
        zoo: The zoo that they are from; None if they are from files.
    """

    names: list[str]
    weights: WeightBatch
    zoo: Zoo | None = None


def read_networks(
    path: Path,
    *,
    check: Callable[[WeightBatch | Zoo], object],
    split: str | None = None,
    skip_bad: bool = False,
) -> Iterator[NamedNetworks]:
    """Read networks, a few at a time.

    Args:
        path: A zoo, a file with a state dict (see ``read_state_dict``), or a folder whose files
            ``.pth``, ``.pt`` and ``.safetensors`` at any depth are state dicts.
        check: Raises a ``ValueError`` if a zoo, or a network of a file, is not of the architecture.
        split: Which networks of a zoo to read; None for all of them.
        skip_bad: Leave out and print files that cannot be read or do not pass the check.

    Yields:
        Networks in the order of the zoo, or of the sorted paths of files.

    Raises:
        FileNotFoundError: If there is nothing to read.
        ValueError: If a zoo or a file cannot be read or does not pass the check, or a split is
            given for files.
    """
    is_zoo = (path / MANIFEST).is_file() or (path / shard_name(0)).is_file()
    if is_zoo:
        zoo = Zoo.open(path)
        check(zoo)
        rows = zoo.split(split) if split else ZooSplit(zoo, 0, len(zoo))
        for piece in rows.pieces():
            names = [f"{path}:{row}" for row in range(piece.start, piece.stop)]
            yield NamedNetworks(names, piece.weights(), zoo)
        return
    if split is not None:
        raise UserError(f"{path} is no zoo and has no split {split!r}. Leave --split out.")
    files = _files(path)
    for start in range(0, len(files), NUM_AT_ONCE):
        names, networks = [], []
        for file in files[start : start + NUM_AT_ONCE]:
            try:
                _check_is_no_shard(file)
                network = read_state_dict(file)
                check(network)
            except (OSError, ValueError) as error:
                if not skip_bad:
                    remedy = ". --skip-bad leaves such files out." if len(files) > 1 else ""
                    raise UserError(f"{file}: {reason_of(error)}{remedy}") from error
                print(f"dws: {file}: {reason_of(error)}, left out", file=sys.stderr)
                continue
            names.append(str(file))
            networks.append(network)
        if names:
            yield NamedNetworks(names, WeightBatch.cat(networks))


def _check_is_no_shard(file: Path) -> None:
    """Refuse a shard, whose networks are read with their zoo.

    Raises:
        UserError: If the file is one.
    """
    if file.match("shard-*.safetensors") and (file.parent / MANIFEST).is_file():
        raise UserError(f"a shard of a zoo. Give the zoo, {file.parent}, as an input of its own")


def _files(path: Path) -> list[Path]:
    """The file, or all files with state dicts in a folder.

    Raises:
        NotFoundError: If there is none.
    """
    if not path.exists():
        raise NotFoundError(
            f"{path} does not exist. Give a zoo, a file with a state dict, or a folder of them."
        )
    if path.is_file():
        return [path]
    found = [
        Path(parent, name)
        for parent, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(SUFFIXES)
    ]
    if not found:
        raise NotFoundError(
            f"{path} is neither a zoo nor a folder with {', '.join(SUFFIXES)} files. Give a zoo, a "
            "file with a state dict, or a folder of them."
        )
    return sorted(found)
