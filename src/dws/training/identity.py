"""The identity of a run: its settings that differ from the defaults, and its zoo.

A setting that did not exist when a run was recorded has its default value. Values that depend on
the machine, such as the precision if ``auto`` is requested, are recorded but are not part of the
identity.
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
# Settings of the execution, which do not define the result.
NOT_PART_OF_A_RUN = ("device", "compile", "cuda_graph", "eval_batch_size", "checkpoint_minutes")


def from_earlier_version(recorded: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Convert settings recorded by versions before 0.2 to the current form.

    These versions recorded the precision that ``auto`` resolved to instead of the requested one.

    Args:
        recorded: Settings that determine the result of a run.
        command: The command of the run.
    """
    requested = re.search(r"trainer\.precision=|experiment=\w+/transformer", command)
    trainer = dict(recorded["trainer"])
    if not requested:
        trainer["precision"] = "auto"
    others = {key: value for key, value in recorded.items() if key != "drawing"}
    return {**others, "trainer": trainer, "reconstruction": recorded.get("drawing", {})}


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add the default values of missing settings.

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
    # NaN becomes text, because NaN != NaN.
    plain: dict[str, Any] = json.loads(json.dumps(filled), parse_constant=str)
    return plain


def identity(settings: Mapping[str, Any]) -> str:
    """Compute the identity of a run: eight hexadecimal digits that do not depend on the seed.

    Raises:
        UserError: If the class of the task or model is not allowed or not found.
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
    """Return the default settings of each group."""
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
