"""A zoo in parts that are fitted apart, and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dws.errors import UserError
from dws.inr import ClassifierConfig, FitConfig, SirenConfig
from dws.io.atomic import write_atomically
from dws.io.content import check_content, read_json, read_yaml, write_json
from dws.io.folders import check_can_make, check_claim, claim_folder
from dws.io.hashing import as_written, sha256
from dws.io.names import beside
from dws.settings import ZooConfig
from dws.signals import BinaryTasks, SignalSource
from dws.zoo.build import CONFIG, NOTES, Builder
from dws.zoo.engine import Engine, Workers
from dws.zoo.fitted import to_fitted
from dws.zoo.manifest import (
    MANIFEST,
    OtherFormatError,
    Plan,
    Preset,
    to_plan,
)
from dws.zoo.store import Zoo, shard_name, write_manifest

PART = "part"  # key of a part's settings: which, and of how many
CHECKSUMS = "checksums.json"  # of a part's shards, written when all are there


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
    """Fit one of several disjoint ranges of a zoo's shards, for ``merge_parts``; resume if begun.

    A complete part is returned as it is and nothing is written.

    Args:
        path: The folder that the whole zoo will have.
        part: Which range, from 0.
        num_parts: How many there are.
        signals: What to fit.
        zoo: Seed, size and sharding of the whole zoo.
        inr: The architecture of INRs; None for the default.
        classifier: The architecture of classifiers; None for the default.
        fit: How they are fitted.
        preset: What these settings of the fit are called, for the manifest.
        engine: Where the fits run; on this machine, one worker a core, if None.

    Returns:
        The folder of the part, beside the zoo's.

    Raises:
        ValueError: If there is no such part, or on the complaints of ``build_zoo``.
    """
    path = Path(path)
    folder = beside(path, "parts") / f"{part}-of-{num_parts}"
    fitted = to_fitted(signals, inr, classifier)
    builder = Builder(folder, fitted, zoo, fit, preset, engine or Workers())
    builder.check()
    starts = builder.starts
    if not 0 <= part < num_parts <= len(starts):
        raise UserError(
            f"expected zoo.part from 0 to zoo.num_parts - 1 and at most {len(starts)} parts, one "
            f"for each shard, got zoo.part={part} and zoo.num_parts={num_parts}"
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
    if sorted(checksums) == names and as_written(folder, checksums):  # needs no lock
        return folder
    with claim_folder(folder / CONFIG, identity, option="zoo.path", notes=builder.notes):
        missing = builder.missing_shards(starts, checksums)
        if missing:
            builder.fit_shards(starts, missing)
        write_json(folder / CHECKSUMS, {name: sha256(folder / name) for name in names})
    return folder


def read_checksums(part: Path) -> dict[str, str]:
    """SHA-256 of each shard of a finished part, by file name.

    Raises:
        FileNotFoundError: If the part is not finished.
        ValueError: If the file holds something else.
    """
    file = part / CHECKSUMS
    try:
        checksums = read_json(file)
        check_content(checksums, dict[str, str], what=f"shard checksums in {file}")
    except ValueError as error:
        raise UserError(f"{error}; the dws-fit-inrs command of the part makes it again") from error
    return dict(checksums)


class PartPlan(Plan):
    """The ``config.yaml`` of a part: a plan of the whole zoo.

    Attributes:
        part: Which part, and of how many.
    """

    part: list[int]
    fit_preset: Preset


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
        raise UserError("expected the parts of a zoo, got none")
    if not path.exists():
        check_can_make(path)
    elif not (path / CONFIG).is_file():  # otherwise compared with the parts
        check_claim(path / CONFIG, {}, option="path")
    plans = [_plan(part) for part in parts]
    for part, plan in zip(parts, plans, strict=True):
        different = sorted(key for key in {*plan, *plans[0]} if plan.get(key) != plans[0].get(key))
        if different:
            raise UserError(
                f"expected parts of one zoo, got {parts[0]} and {part}, which differ in "
                f"{', '.join(different)}"
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
            f"expected all {len(names)} shards in the parts, got none of {len(missing)}, the first "
            f"of which is {missing[0]}; give all parts"
        )
    for file, digest in checksums.items():
        if not file.is_file() or sha256(file) != digest:
            raise UserError(
                f"expected {file} as it was written (SHA-256 {digest}), got something else; copy "
                "the part again, or fit it again with the command that made it"
            )
    notes = {key: plans[0].pop(key) for key in NOTES if key in plans[0]}
    digests = {name: checksums[files[name]] for name in names}
    check_claim(path / CONFIG, plans[0], option="path", notes=notes)
    if (path / MANIFEST).is_file() and as_written(path, digests):
        try:
            return Zoo.open(path)  # needs no lock
        except OtherFormatError:
            raise
        except ValueError as error:
            print(f"dws: {error}; merging does it now")
    with claim_folder(path / CONFIG, plans[0], option="path", notes=notes):
        for name, digest in digests.items():
            if not as_written(path, {name: digest}):
                write_atomically(path / name, files[name].read_bytes())
        write_manifest(path, {**plans[0], **notes})
    return Zoo.open(path)


def _plan(part: Path) -> dict[str, Any]:
    """What the whole zoo is to be, as a part tells it."""
    file = part / CONFIG
    plan: Any = read_yaml(file) if file.is_file() else None
    what = f"a part of a zoo, made with zoo.part and zoo.num_parts, in {part}"
    to_plan(plan, PartPlan, what=what)
    if not (part / CHECKSUMS).is_file():
        raise UserError(
            f"expected a finished part of a zoo in {part}, got an unfinished one; go on with the "
            "command that began it"
        )
    del plan[PART]
    return dict(plan)
