"""Reading of networks from a zoo, a file with a state dict, or a folder of such files."""

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

SUFFIXES = (".pth", ".pt", ".safetensors")  # suffixes of files that are read from a folder
NUM_AT_ONCE = 256  # files per batch


@dataclass(frozen=True, eq=False)
class NamedNetworks:
    """A batch of networks with their names.

    Attributes:
        names: Name of each network: the path of its file, or ``<zoo>:<row>``.
        weights: The networks.
        zoo: The zoo of the networks; None if they were read from files.
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
    """Read networks in batches.

    Args:
        path: A zoo, a file with a state dict (see ``read_state_dict``), or a folder. All ``.pth``,
            ``.pt`` and ``.safetensors`` files in the folder and its subfolders are read, also
            through symbolic links.
        check: Raises a ``ValueError`` if a zoo or the network of a file has another architecture.
        split: Split of a zoo; None for all networks.
        skip_bad: Skip and list files that cannot be read or do not pass the check instead of
            raising an error.

    Yields:
        Networks in the order of the rows of the zoo, or in the order of the sorted paths.

    Raises:
        FileNotFoundError: If the path does not exist or contains no networks.
        ValueError: If a zoo or file cannot be read or does not pass the check, all files were
            skipped, or ``split`` is given for files.
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
        raise UserError(f"{path} is not a zoo, so it has no split {split!r}. Omit --split.")
    files = _files(path, skip_bad=skip_bad)
    num_read = 0
    for start in range(0, len(files), NUM_AT_ONCE):
        names, networks = [], []
        for file in files[start : start + NUM_AT_ONCE]:
            try:
                _check_is_no_shard(file)
                network = read_state_dict(file)
                check(network)
            except (OSError, ValueError) as error:
                if not skip_bad:
                    reason = reason_of(error)
                    stop = "" if reason.endswith(".") else "."
                    remedy = " --skip-bad skips such files." if len(files) > 1 else ""
                    name = printable(str(file))
                    raise UserError(f"{name}: {reason}{stop}{remedy}") from error
                print(f"dws: skipped {printable(f'{file}: {reason_of(error)}')}", file=sys.stderr)
                continue
            names.append(str(file))
            networks.append(network)
        num_read += len(names)
        if names:
            yield NamedNetworks(names, WeightBatch.cat(networks))
    if not num_read:
        raise UserError(f"{path} contains no file that can be read. See the skipped files above.")


def _check_is_no_shard(file: Path) -> None:
    """Check that a file is not a shard, whose networks are read through its zoo.

    Raises:
        UserError: If the file is a shard.
    """
    if file.match("shard-*.safetensors") and (file.parent / MANIFEST).is_file():
        raise UserError(f"a shard of a zoo. Pass the folder of the zoo, {file.parent}, as an input")


def _files(path: Path, *, skip_bad: bool) -> list[Path]:
    """List the file itself, or all files with state dicts in a folder.

    Raises:
        NotFoundError: If there is no such file.
        UserError: If a subfolder cannot be read, unless ``skip_bad`` is set.
    """
    if not path.exists():
        raise NotFoundError(
            f"{path} does not exist. Pass a zoo, a file with a state dict, or a folder of such "
            "files."
        )
    if path.is_file():
        return [path]

    def fail(error: OSError) -> None:
        problem = f"{error.filename}: {error.strerror}"
        if not skip_bad:
            raise UserError(f"{problem}. --skip-bad skips such folders.") from error
        print(f"dws: skipped {printable(problem)}", file=sys.stderr)

    found, seen = [], set()
    for parent, folders, names in os.walk(path, onerror=fail, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # links can form a cycle
            folders.clear()
            continue
        seen.add(real)
        found += [Path(parent, name) for name in names if name.lower().endswith(SUFFIXES)]
    if not found:
        raise NotFoundError(
            f"{path} is neither a zoo nor a folder with {', '.join(SUFFIXES)} files. Pass a zoo, a "
            "file with a state dict, or a folder of such files."
        )
    return sorted(found)


def printable(text: str) -> str:
    """Escape control characters and undecodable bytes of a file name, as Python's ``repr`` does."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
