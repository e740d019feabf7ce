"""One zoo from parts that were fitted apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from dws.files import (
    check_content,
    claim_folder,
    read_yaml,
    sha256,
    write_atomically,
)
from dws.zoo.build import CHECKSUMS, CONFIG, NOTES, PART, read_checksums
from dws.zoo.store import (
    MANIFEST,
    Preset,
    Sharding,
    Size,
    Zoo,
    check_layout,
    num_shards,
    shard_name,
    write_manifest,
)


class Plan(TypedDict):
    """What merging relies on in the ``config.yaml`` of a part."""

    part: list[int]
    dims: list[Size]
    num_rows: Size
    zoo: Sharding
    fit_preset: Preset
    splits: dict[str, list[int]]
    labels: list[str]
    domain: dict[str, list[float]]


def merge_parts(parts: Sequence[Path], path: Path) -> Zoo:
    """Copy the shards of parts, as ``build_part`` makes them, into one zoo.

    The zoo is the same bytes as one that ``build_zoo`` makes in one go.

    Args:
        parts: Folders of all parts, in any order.
        path: Folder of the zoo. Shards that it has already, as they were written, are not copied
            again.

    Returns:
        The zoo.

    Raises:
        ValueError: If a folder is no finished part, the parts do not belong together, or a shard
            is missing or not as it was written.
    """
    if not parts:
        raise ValueError("expected the parts of a zoo, got none")
    plans = [_plan(part) for part in parts]
    for part, plan in zip(parts, plans, strict=True):
        different = sorted(key for key in {*plan, *plans[0]} if plan.get(key) != plans[0].get(key))
        if different:
            raise ValueError(
                f"expected parts of one zoo, got {parts[0]} and {part}, which differ in "
                f"{', '.join(different)}"
            )
    checksums = {
        part / name: digest for part in parts for name, digest in read_checksums(part).items()
    }
    files = {file.name: file for file in checksums}
    names = [shard_name(index) for index in range(num_shards(plans[0]))]
    missing = [name for name in names if name not in files]
    if missing:
        raise ValueError(
            f"expected all {len(names)} shards in the parts, got none of {len(missing)}, the first "
            f"of which is {missing[0]}; give all parts"
        )
    for file, digest in checksums.items():
        if not file.is_file() or sha256(file) != digest:
            raise ValueError(
                f"expected {file} as it was written (SHA-256 {digest}), got something else; copy "
                "the part again, or fit it again with the command that made it"
            )
    notes = {key: plans[0].pop(key) for key in NOTES}
    with claim_folder(path / CONFIG, plans[0], option="path", notes=notes):
        copied = [
            name
            for name in names
            if not (path / name).is_file() or sha256(path / name) != checksums[files[name]]
        ]
        for name in copied:
            write_atomically(path / name, files[name].read_bytes())
        if copied or not (path / MANIFEST).is_file():
            write_manifest(path, {**plans[0], **notes})
    return Zoo.open(path)


def _plan(part: Path) -> dict[str, Any]:
    """What the whole zoo is to be, as a part tells it."""
    file = part / CONFIG
    plan: Any = read_yaml(file) if file.is_file() else None
    what = f"a part of a zoo, made with zoo.part and zoo.num_parts, in {part}"
    check_content(plan, Plan, what=what)
    check_layout(plan, what=what)
    if not (part / CHECKSUMS).is_file():
        raise ValueError(
            f"expected a finished part of a zoo in {part}, got an unfinished one; go on with the "
            "command that began it"
        )
    del plan[PART]
    return dict(plan)
