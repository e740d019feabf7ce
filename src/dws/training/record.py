"""The record of a run, ``config.yaml``: its schema, and how to read it.

``config.yaml`` contains all settings of ``dws-train``, which can repeat the run from this file. The
key ``record`` contains further facts about the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from dws.io.content import check_content, read_yaml
from dws.io.record import Record, check_version
from dws.settings import (
    AugmentConfig,
    Count,
    ModelSettings,
    OptimConfig,
    Paths,
    ReconstructionConfig,
    Seed,
    TaskSettings,
    TrainerConfig,
    TrainSettings,
    TrainZoo,
)
from dws.training.identity import NOT_PART_OF_A_RUN, from_earlier_version

FORMAT_VERSION = 3
# Format versions of files that do not state their version.
BEFORE_0_2 = 1
UNESCAPED = 2  # text without escapes, in which Hydra interprets ${ as an interpolation


class Origin(Record):
    """Origin of a run or of its evaluation.

    Attributes:
        code: Commit, or version if the code is not in a git checkout.
        machine: Processor or GPU, and number of threads.
        command: The command with its arguments.
        torch: Version of torch; None in old files.
    """

    code: str
    machine: str
    command: str
    torch: str | None = None


class Notes(Record):
    """Facts about a run that are recorded in addition to its settings.

    Attributes:
        format_version: Format version of the file.
        zoo: Digest of the zoo's signals and settings.
        zoo_digest: Digest of the zoo's networks, see ``RunDir.check_zoo``; None in old files.
        dims: Widths of the networks; None in old files.
        precision: Precision of the training, which a resumed run keeps.
        origin: Command, code and machine that started the run.
        identity: Identity of the run, see ``dws.training.identity``; written by ``RunDir.claim``,
            None in old files.
    """

    format_version: int = FORMAT_VERSION
    zoo: str
    zoo_digest: str | None
    dims: list[Count] | None
    precision: Literal["fp32", "bf16"]
    origin: Origin
    identity: str | None = None


class RunRecord(Record):
    """Settings and origin of a run; the settings are those of ``dws.settings.TrainSettings``.

    Attributes:
        task: The task.
        model: The metanet.
        zoo: The zoo that the model is trained on.
        optim: Optimiser and learning rate schedule.
        trainer: Length, batch size and device.
        augment: Augmentation of the training networks.
        reconstruction: The auxiliary reconstruction loss.
        seed: Seed of the run.
        paths: Folders; None in old files.
        notes: Facts in addition to the settings; ``record`` in the file.
    """

    task: TaskSettings
    model: ModelSettings
    zoo: TrainZoo
    optim: OptimConfig
    trainer: TrainerConfig
    augment: AugmentConfig
    reconstruction: ReconstructionConfig
    seed: Seed
    paths: Paths | None = None
    notes: Notes = Field(alias="record")

    def outcome(self) -> dict[str, Any]:
        """Return the settings that determine the result of the run, as plain values."""
        return outcome_settings(self, self.notes.zoo)


class EarlierRecord(Record):
    """The parts of a record that versions before 0.2 wrote in a different form."""

    trainer: dict[str, Any]
    aligned: bool
    zoo: str
    zoo_path: str
    zoo_digest: str | None = None
    dims: list[Count] | None = None
    origin: Origin


def read_record(file: Path) -> RunRecord:
    """Read the ``config.yaml`` of a run of this or an earlier version.

    Raises:
        FileNotFoundError: If the file does not exist.
        UserError: If the file has other content, or was written by a newer version of dws.
    """
    return to_record(read_yaml(file), file)


def to_record(content: Any, file: Path) -> RunRecord:
    """Convert the content of a ``config.yaml`` to a ``RunRecord``.

    Raises:
        UserError: If the content is not a run record, or was written by a newer version of dws.
    """
    what = f"run settings in {file}"
    content = check_content(content, dict[str, Any], what=what)
    notes = content.get("record")
    if "record" not in content:
        content = _from_earlier(content, what)
    elif isinstance(notes, Mapping) and "format_version" in notes:
        check_version(notes, file, newest=FORMAT_VERSION)
        content = map_text(content, without_escapes)
    elif isinstance(notes, Mapping):
        content["record"] = {**notes, "format_version": UNESCAPED}
    return check_content(content, RunRecord, what=what)


def _from_earlier(content: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Convert a record of a version before 0.2 to the current form."""
    earlier = check_content(content, EarlierRecord, what=what)
    notes = {key: earlier[key] for key in ("zoo", "zoo_digest", "dims")}
    return {
        **from_earlier_version(content, earlier.origin.command),
        "zoo": {"path": earlier.zoo_path, "aligned": earlier.aligned},
        "record": {
            **notes,
            "format_version": BEFORE_0_2,
            "precision": earlier.trainer.get("precision", "fp32"),
            "origin": earlier.origin.content(),
        },
    }


def outcome_settings(given: TrainSettings | RunRecord, zoo: str) -> dict[str, Any]:
    """Return the settings that determine the result of a run, as plain values.

    Args:
        given: All settings.
        zoo: Digest of the zoo's signals and settings.
    """
    groups = {
        "optim": asdict(given.optim),
        "trainer": asdict(given.trainer),
        "augment": asdict(given.augment),
        "reconstruction": asdict(given.reconstruction),
    }
    for key in NOT_PART_OF_A_RUN:
        del groups["trainer"][key]
    settings = {"task": given.task, "model": given.model, **groups, "seed": given.seed}
    plain = json.loads(json.dumps(settings))
    return {**plain, "aligned": given.zoo.aligned, "zoo": zoo}


def with_escapes(text: str) -> str:
    """Escape ``${`` in a text, which Hydra would interpret as an interpolation."""
    return re.sub(r"(\\*)\$\{", lambda found: rf"{2 * found[1]}\${{", text)


def without_escapes(text: str) -> str:
    """Remove the escapes of ``with_escapes``."""
    return re.sub(r"(\\*)\\\$\{", lambda found: f"{found[1][::2]}${{", text)


def map_text(content: Any, change: Callable[[str], str]) -> Any:
    """Apply a function to each text in plain values, except keys."""
    if isinstance(content, Mapping):
        return {key: map_text(value, change) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [map_text(value, change) for value in content]
    return change(content) if isinstance(content, str) else content
