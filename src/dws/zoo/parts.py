"""Fitting a zoo in parts, such as on several machines, and merging them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dws.errors import UserError
from dws.inr import ClassifierConfig, FitConfig, SirenConfig
from dws.io.atomic import write_atomically
from dws.io.content import check_content, read_json, read_yaml, write_json
from dws.io.folders import check_can_make, check_claim, claim_folder
from dws.io.hashing import checksums_match, sha256
from dws.io.names import sibling
from dws.settings import ZooConfig
from dws.signals import BinaryTasks, SignalSource
from dws.zoo.build import CONFIG, NOTES, Builder
from dws.zoo.engine import Engine, Workers
from dws.zoo.manifest import (
    MANIFEST,
    OtherFormatError,
    Plan,
    Preset,
    to_plan,
)
from dws.zoo.problem import to_problem
from dws.zoo.store import Zoo, shard_name, write_manifest

PART = "part"  # settings key of a part: its index and the number of parts
CHECKSUMS = "checksums.json"  # checksums of a part's shards, written when all are complete


def build_part(
    path: str | Path,
    signals: SignalSource | BinaryTasks,
    *,
    part: int,
    num_parts: int,
    zoo: ZooConfig,
    inr: SirenConfig | None = None,
    classifier: ClassifierConfig | None = None,
    fit: FitConfig,
    preset: str = "custom",
    engine: Engine | None = None,
) -> Path:
    """Fit one of several disjoint ranges of a zoo's shards, for ``merge_parts``.

    An unfinished part is resumed. A complete part is returned as it is, without writing.

    Args:
        path: Folder of the whole zoo.
        part: Index of the range, from 0.
        num_parts: Number of ranges.
        signals: The signals, or the binary tasks.
        zoo: Seed, size and sharding of the whole zoo.
        inr: The architecture of INRs; None for the default.
        classifier: The architecture of classifiers; None for the default.
        fit: Settings of the fit.
        preset: Name of these settings, for the manifest.
        engine: Where the fits run; None for one worker process per core of this machine.

    Returns:
        The folder of the part, ``<path>.parts/<part>-of-<num_parts>``.

    Raises:
        ValueError: If ``part`` or ``num_parts`` is out of range, or for the reasons that
            ``build_zoo`` lists.
    """
    path = Path(path)
    folder = sibling(path, "parts") / f"{part}-of-{num_parts}"
    problem = to_problem(signals, inr, classifier)
    builder = Builder(folder, problem, zoo, fit, preset, engine or Workers())
    builder.check()
    starts = builder.starts
    if not 0 <= part < num_parts <= len(starts):
        raise UserError(
            f"zoo.part={part} and zoo.num_parts={num_parts} are out of range: zoo.part must be "
            f"between 0 and zoo.num_parts - 1, and zoo.num_parts at most {len(starts)}, the number "
            "of shards"
        )
    starts = starts[part * len(starts) // num_parts : (part + 1) * len(starts) // num_parts]
    identity = {**builder.identity, PART: [part, num_parts]}
    names = [builder.shard(start).name for start in starts]
    check_claim(folder / CONFIG, identity, option="zoo.path", notes=builder.notes)
    try:
        checksums = read_checksums(folder)
    except FileNotFoundError:
        checksums = {}
    except ValueError as error:
        print(f"dws: {error}")
        checksums = {}
    if sorted(checksums) == names and checksums_match(folder, checksums):  # without a lock
        return folder
    with claim_folder(folder / CONFIG, identity, option="zoo.path", notes=builder.notes):
        missing = builder.missing_shards(starts, checksums)
        if missing:
            builder.fit_shards(starts, missing)
        write_json(folder / CHECKSUMS, {name: sha256(folder / name) for name in names})
    return folder


def read_checksums(part: Path) -> dict[str, str]:
    """SHA-256 of each shard of a complete part, by file name.

    Raises:
        FileNotFoundError: If the part is not complete.
        ValueError: If the file is damaged.
    """
    file = part / CHECKSUMS
    try:
        checksums = read_json(file)
        check_content(checksums, dict[str, str], what=f"shard checksums in {file}")
    except ValueError as error:
        raise UserError(f"{error}. Rerun the dws-fit-inrs command of the part.") from error
    return dict(checksums)


class PartPlan(Plan):
    """The ``config.yaml`` of a part: the plan of the whole zoo and the index of the part.

    Attributes:
        part: Index of the part, and number of parts.
        fit_preset: Name of the settings of the fit.
    """

    part: list[int]
    fit_preset: Preset


def merge_parts(parts: Sequence[Path], path: Path) -> Zoo:
    """Merge parts that ``build_part`` created into one zoo.

    The files are identical to those that ``build_zoo`` creates.

    Args:
        parts: Folders of all parts, in any order.
        path: Folder of the zoo. Intact shards in it are not copied again.

    Returns:
        The zoo.

    Raises:
        ValueError: If a folder is not a complete part, the parts belong to different zoos, or a
            shard is missing or damaged.
    """
    if not parts:
        raise UserError("No parts given. Give the folders of all parts of a zoo.")
    if not path.exists():
        check_can_make(path)
    elif not (path / CONFIG).is_file():  # otherwise compared with the parts below
        check_claim(path / CONFIG, {}, option="path")
    plans = [_plan(part) for part in parts]
    for part, plan in zip(parts, plans, strict=True):
        different = sorted(key for key in {*plan, *plans[0]} if plan.get(key) != plans[0].get(key))
        if different:
            raise UserError(
                f"{parts[0]} and {part} are parts of different zoos: they differ in "
                f"{', '.join(different)}. Give the parts of one zoo."
            )
    checksums = {
        part / name: digest for part in parts for name, digest in read_checksums(part).items()
    }
    files = {file.name: file for file in checksums}
    num_shards = Plan.model_validate(plans[0]).num_shards
    names = [shard_name(index) for index in range(num_shards)]
    missing = [name for name in names if name not in files]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(names)} shards are missing in the parts, the first is "
            f"{missing[0]}. Give all parts."
        )
    for file, digest in checksums.items():
        if not file.is_file() or sha256(file) != digest:
            raise UserError(
                f"{file} is missing or damaged: its SHA-256 is not {digest}. Copy the part again, "
                "or rerun the dws-fit-inrs command of the part."
            )
    notes = {key: plans[0].pop(key) for key in NOTES if key in plans[0]}
    digests = {name: checksums[files[name]] for name in names}
    check_claim(path / CONFIG, plans[0], option="path", notes=notes)
    if (path / MANIFEST).is_file() and checksums_match(path, digests):
        try:
            return Zoo.open(path)  # without a lock
        except OtherFormatError:
            raise
        except ValueError:
            print(f"dws: rewriting the manifest of {path}, which is damaged")
    with claim_folder(path / CONFIG, plans[0], option="path", notes=notes):
        for name, digest in digests.items():
            if not checksums_match(path, {name: digest}):
                write_atomically(path / name, files[name].read_bytes())
        write_manifest(path, {**plans[0], **notes})
    return Zoo.open(path)


def _plan(part: Path) -> dict[str, Any]:
    """Read the plan of the whole zoo from a part."""
    file = part / CONFIG
    plan: Any = read_yaml(file) if file.is_file() else None
    to_plan(plan, PartPlan, what=f"part of a zoo in {part} (made with zoo.part and zoo.num_parts)")
    if not (part / CHECKSUMS).is_file():
        raise UserError(f"The part in {part} is unfinished. Rerun its dws-fit-inrs command.")
    del plan[PART]
    return dict(plan)
