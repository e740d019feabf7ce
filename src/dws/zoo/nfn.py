"""Import of the format in which NFN (Zhou et al. 2023) released INRs.

An INR is a state dict with the keys ``net.<layer>.linear.weight`` and ``.bias``, without ``linear``
in the last layer. Its file is ``<prefix>_<label>s/net<number>.pth``. Each split is a range of
numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dws.errors import NotFoundError, UserError
from dws.inr import SirenConfig
from dws.signals import SPLITS
from dws.zoo.imports import Entry, NewZoo, import_networks
from dws.zoo.store import Zoo

NFN_NAME = re.compile(r"_(?P<label>[0-9]{1,18})s/net(?P<number>[0-9]+)\.pth$")


def import_nfn(
    source: Path,
    path: Path,
    *,
    inr: SirenConfig,
    grid: Sequence[int] = (28, 28),
    domain: Sequence[float] = (-1.0, 1.0),
    prefix: str = "randinit_smaller",
    split_points: tuple[int, int] = (45000, 50000),
    shard_size: int = 512,
    skip_bad: bool = False,
) -> Zoo:
    """Import INRs of the NFN format into a zoo. No code in the files is executed.

    The released INRs were fitted to images in [-1, 1] without an output offset. Their first input
    is the row of a pixel, therefore renderings by this project are transposed.

    Args:
        source: The folder with the folders ``<prefix>_<label>s``.
        path: Folder of the new zoo.
        inr: Settings of the networks that the files do not contain; ``hidden`` is inferred.
        grid: Number of points along each axis at which the signals were sampled.
        domain: Lowest and highest coordinate, once for all inputs or once per input.
        prefix: Prefix of the folders to import; other folders contain augmentations.
        split_points: Numbers of the first validation INR and of the first test INR.
        shard_size: Number of INRs per shard.
        skip_bad: Skip and list files that cannot be imported instead of raising an error.

    Returns:
        The zoo, see ``import_dwsnets``.

    Raises:
        FileNotFoundError: If no file is found.
        ValueError: If a setting is invalid, the zoo's folder has other content, two files have the
            same number, or the same weights are in two splits. Also, unless ``skip_bad``, if a file
            cannot be read or its architecture differs from the most frequent one.
    """
    new = NewZoo(path, inr, grid, domain, 0, shard_size)
    first_val, first_test = split_points
    if not 0 < first_val < first_test:
        raise UserError(
            f"Split points must satisfy 0 < VAL < TEST, got {first_val} and {first_test}"
        )
    new.check()
    if not source.is_dir():
        state = "is not a folder" if source.exists() else "does not exist"
        raise NotFoundError(
            f"{source} {state}. Give a folder with files such as {prefix}_7s/net123.pth."
        )
    numbered: dict[int, Entry] = {}
    num_others = 0  # files with other names, such as augmentations
    for file in sorted(source.glob("*/net*.pth")):
        match = NFN_NAME.search(file.as_posix())
        if match is None or file.parent.name != f"{prefix}_{match['label']}s":
            num_others += file.parent.name.startswith(f"{prefix}_")
            continue
        number = int(match["number"])
        if number in numbered:
            raise UserError(
                f"{numbered[number][0]} and {file} have the same number. Remove one of them."
            )
        numbered[number] = (file, int(match["label"]))
    if not numbered:
        others = sorted(source.glob("**/*.pth"))
        found = f"{len(others)} others such as {others[0]}" if others else "no .pth file"
        raise NotFoundError(
            f"{source} has no files such as {prefix}_7s/net123.pth but {found}. Choose other "
            "folders with --prefix."
        )
    if num_others:
        print(f"dws: skipped {num_others} files with other names in {prefix}_*")
    entries: dict[str, list[Entry]] = {name: [] for name in SPLITS}
    for number, entry in sorted(numbered.items()):
        split = "train" if number < first_val else "val" if number < first_test else "test"
        entries[split].append(entry)
    missing = [split for split in SPLITS if not entries[split]]
    if missing:
        raise UserError(
            f"Each of {', '.join(SPLITS)} needs INRs, but the numbers {min(numbered)} to "
            f"{max(numbered)} leave none for {', '.join(missing)}. Set the first numbers of val "
            f"({first_val}) and test ({first_test}) with --split-points."
        )
    return import_networks(entries, new, skip_bad=skip_bad)
