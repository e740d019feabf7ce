"""What identifies a run: its settings, as far as they differ from the defaults, and its zoo.

A setting that did not exist when a run was recorded has its default there. Facts that the machine
decides, such as the precision where ``auto`` is requested, are recorded but identify nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dws.io.content import is_same
from dws.io.hashing import settings_hash
from dws.settings import (
    AugmentConfig,
    OptimConfig,
    ReconstructionConfig,
    TrainerConfig,
)
from dws.targets import signature_defaults, with_floats

MISSING = object()
# how and where a run is computed, not what comes out
NOT_PART_OF_A_RUN = ("device", "compile", "cuda_graph", "eval_batch_size", "checkpoint_minutes")


def from_earlier_version(recorded: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Settings as versions before 0.2 recorded them, as they are recorded now.

    These versions recorded the precision that ``auto`` resolved to, not the one requested.

    Args:
        recorded: Settings on which the outcome depends.
        command: The command that was run.
    """
    requested = re.search(r"trainer\.precision=|experiment=\w+/transformer", command)
    trainer = dict(recorded["trainer"])
    if not requested:
        trainer["precision"] = "auto"
    others = {key: value for key, value in recorded.items() if key != "drawing"}
    return {**others, "trainer": trainer, "reconstruction": recorded.get("drawing", {})}


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings with the defaults of those that are not mentioned.

    Raises:
        UserError: If the class of the task or model is not allowed or not found.
    """
    defaults = _defaults(settings)
    filled = {
        key: {**defaults[key], **value} if key in defaults else value
        for key, value in {**defaults, **settings}.items()
    }
    for key in ("task", "model"):
        filled[key] = with_floats(filled[key]["_target_"], filled[key])
    filled["augment"]["extra"] = [_with_its_defaults(each) for each in filled["augment"]["extra"]]
    plain: dict[str, Any] = json.loads(json.dumps(filled), parse_constant=str)  # NaN is not NaN
    return plain


def identity(settings: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits; the same for runs that differ in nothing but the seed.

    Raises:
        UserError: As ``with_defaults``.
    """
    defaults = _defaults(settings)
    changed = {
        key: {k: v for k, v in value.items() if not is_same(v, defaults[key].get(k, MISSING))}
        if key in defaults
        else value
        for key, value in with_defaults(settings).items()
        if key != "seed"
    }
    return settings_hash({key: value for key, value in changed.items() if value != {}})


def _with_its_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**signature_defaults(settings["_target_"]), **settings}
    return with_floats(settings["_target_"], filled)


def _defaults(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Defaults of the settings of each group."""
    groups = {
        "optim": asdict(OptimConfig()),
        "trainer": asdict(TrainerConfig()),
        "augment": asdict(AugmentConfig()),
        "reconstruction": asdict(ReconstructionConfig()),
        "task": {
            "num_train": None,
            "repeat_train": False,
            **signature_defaults(settings["task"]["_target_"]),
        },
        "model": signature_defaults(settings["model"]["_target_"]),
    }
    for key in NOT_PART_OF_A_RUN:
        del groups["trainer"][key]
    plain: dict[str, dict[str, Any]] = json.loads(json.dumps(groups))
    return plain
