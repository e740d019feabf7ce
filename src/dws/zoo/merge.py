"""One zoo from parts that were fitted apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dws.files import claim_folder, hold_folder, read_yaml, write_atomically
from dws.zoo.build import CONFIG, PART
from dws.zoo.store import Zoo, num_shards, shard_name, write_manifest


def merge_parts(parts: Sequence[Path], path: Path) -> Zoo:
    """Copy the shards of parts, as ``build_part`` makes them, into one zoo.

    The zoo is the same bytes as one that ``build_zoo`` makes in one go.

    Args:
        parts: Folders of all parts, in any order.
        path: Folder of the zoo. One that was begun is completed.

    Returns:
        The zoo.

    Raises:
        ValueError: If a folder is no part, the parts do not belong together, or shards are missing.
    """
    plans = [_plan(part) for part in parts]
    for part, plan in zip(parts, plans, strict=True):
        different = sorted(key for key in {*plan, *plans[0]} if plan.get(key) != plans[0].get(key))
        if different:
            raise ValueError(
                f"expected parts of one zoo, got {parts[0]} and {part}, which differ in "
                f"{', '.join(different)}"
            )
    names = [shard_name(index) for index in range(num_shards(plans[0]))]
    files = {file.name: file for part in parts for file in part.glob("shard-*.safetensors")}
    missing = [name for name in names if name not in files]
    if missing:
        raise ValueError(
            f"expected all {len(names)} shards in the parts, got none of {len(missing)}, the first "
            f"of which is {missing[0]}; fit the parts to their end and give all of them"
        )
    with hold_folder(path):
        claim_folder(path / CONFIG, plans[0], option="path")
        for name in names:
            write_atomically(path / name, files[name].read_bytes())
        write_manifest(path, plans[0])
    return Zoo.open(path)


def _plan(part: Path) -> dict[str, Any]:
    """Of the whole zoo, as a part tells it."""
    file = part / CONFIG
    plan = read_yaml(file) if file.is_file() else None
    if not isinstance(plan, dict) or PART not in plan:
        raise ValueError(
            f"expected a part of a zoo, made with zoo.part and zoo.num_parts, in {part}, got none"
        )
    del plan[PART]
    return plan
