"""The format of the data that NFN released (Zhou et al. 2023).

An INR is a state dict with ``net.<layer>.linear.weight`` and ``.bias``, without ``linear`` in the
last layer, in a file ``<prefix>_<label>s/net<number>.pth``; splits are ranges of the number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dws.inr import SirenConfig
from dws.signals import SPLITS
from dws.zoo.imports import Entry, import_networks
from dws.zoo.store import (
    Zoo,
)

NFN_NAME = re.compile(r"_(?P<label>\d+)s/net(?P<number>\d+)\.pth$")


def import_nfn(
    source: Path,
    path: Path,
    *,
    inr: SirenConfig,
    grid: Sequence[int] = (28, 28),
    prefix: str = "randinit_smaller",
    split_points: tuple[int, int] = (45000, 50000),
    shard_size: int = 512,
    skip_bad: bool = False,
) -> Zoo:
    """Read INRs of the NFN format into a zoo. Nothing in the files is executed.

    Those released were fitted to images in [-1, 1], without an output offset; their first input is
    the row of a pixel, so that our pictures of them are transposed.

    Args:
        source: The folder with the folders ``<prefix>_<label>s``.
        path: Folder of the new zoo.
        inr: What the files do not say of the networks; ``hidden`` is read off them.
        grid: Points along each axis at which the signals were known, over [-1, 1].
        prefix: Of the folders to read; others are augmentations.
        split_points: Number of the first validation INR, and of the first test INR.
        shard_size: INRs in one file of the zoo.
        skip_bad: Leave out unreadable files, naming each, instead of stopping.

    Returns:
        The zoo, see ``import_dwsnets``.

    Raises:
        FileNotFoundError: If there is nothing to read.
        ValueError: If two files have one number; unless ``skip_bad``, if files cannot be read or
            do not fit the first.
    """
    numbered: dict[int, Entry] = {}
    num_others = 0  # such as augmentations
    for file in sorted(source.glob("*/net*.pth")):
        match = NFN_NAME.search(file.as_posix())
        if match is None or file.parent.name != f"{prefix}_{match['label']}s":
            num_others += file.parent.name.startswith(f"{prefix}_")
            continue
        number = int(match["number"])
        if number in numbered:
            raise ValueError(
                f"expected one INR of each number, got {numbered[number][0]} and {file}"
            )
        numbered[number] = (file, int(match["label"]))
    if not numbered:
        raise FileNotFoundError(
            f"expected files like {prefix}_7s/net123.pth in {source}, got none; --prefix names "
            "other folders"
        )
    if num_others:
        print(f"dws: {num_others} files in other folders {prefix}_* are left out")
    first_val, first_test = split_points
    entries: dict[str, list[Entry]] = {name: [] for name in SPLITS}
    for number, entry in sorted(numbered.items()):
        split = "train" if number < first_val else "val" if number < first_test else "test"
        entries[split].append(entry)
    return import_networks(
        entries, path, inr=inr, grid=grid, seed=0, shard_size=shard_size, skip_bad=skip_bad
    )
