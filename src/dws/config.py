"""Where ``configs/`` lies, registering its schemas, and building objects from it."""

from __future__ import annotations

import difflib
import inspect
import json
import pkgutil
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from dws.errors import UserError
from dws.schemas import (
    AttentionDWSNetSchema,
    ClassificationSchema,
    ContrastiveSchema,
    DWSNetSchema,
    EvaluateSchema,
    FitInrsSchema,
    InProcessSchema,
    INR2VecSchema,
    MLPSchema,
    ProbeNetSchema,
    RaySchema,
    RegressionSchema,
    ReportSchema,
    SignDWSNetSchema,
    TrainSchema,
    TransformerSchema,
)

TARGETS = "dws."
COMMANDS: Mapping[str, type] = {
    "fit_inrs": FitInrsSchema,
    "train": TrainSchema,
    "evaluate": EvaluateSchema,
    "report": ReportSchema,
}


def config_dir() -> str:
    """Absolute path of ``configs/``: in the package if installed from a wheel, else beside it."""
    packaged = Path(__file__).parent / "configs"
    in_repository = Path(__file__).parents[2] / "configs"
    return str(packaged if packaged.is_dir() else in_repository)


def register_schemas() -> None:
    """Make the schemas known to Hydra, under the names that ``configs/`` uses."""
    store = ConfigStore.instance()
    for name, schema in {
        **COMMANDS,
        "in_process": InProcessSchema,
        "ray": RaySchema,
        "dwsnet": DWSNetSchema,
        "attention_dwsnet": AttentionDWSNetSchema,
        "sign_dwsnet": SignDWSNetSchema,
        "probe": ProbeNetSchema,
        "mlp": MLPSchema,
        "inr2vec": INR2VecSchema,
        "transformer": TransformerSchema,
        "contrastive": ContrastiveSchema,
        "classification": ClassificationSchema,
        "regression": RegressionSchema,
    }.items():
        store.store(group="schema", name=name, node=_unlocked(OmegaConf.structured(schema)))


def _unlocked(node: DictConfig) -> DictConfig:
    """Make settings overridable although their classes are frozen."""
    OmegaConf.set_readonly(node, False)
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            _unlocked(child)
    return node


def choices_of(group: str) -> list[str]:
    """What a group of ``configs/`` offers, such as ``mnist/dwsnet`` of ``experiment``."""
    folder = Path(config_dir(), group)
    files = (file.relative_to(folder) for file in folder.rglob("*.yaml"))
    return sorted(file.with_suffix("").as_posix() for file in files)


def as_argument(key: str, value: object) -> str:
    """``key=value`` to be pasted into a shell, such that Hydra takes any text as it is."""
    return shlex.quote(as_override(key, value))


def as_override(key: str, value: object) -> str:
    """``key=value`` such that Hydra takes any text as it is."""
    text = str(value)
    is_plain = re.fullmatch(r"[A-Za-z/][\w./+@-]*", text, re.ASCII)
    if not is_plain or text.lower() in ("null", "true", "false", "inf", "nan"):
        # in quotes, backslashes count before a quote only, and ${ begins an interpolation
        text = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + found[2], text)
        text = text.replace('"', '\\"').replace("${", "\\${")
        text = f'"{text}"'
    return f"{key}={text}"


def did_you_mean(word: str, there: Iterable[str], prefix: str = "") -> str:
    """The nearest of what is there, if any is near."""
    close = difflib.get_close_matches(word, list(there), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def compose_settings(name: str, overrides: Sequence[str]) -> Any:
    """The settings of a command, composed as the command composes them.

    Args:
        name: A key of ``COMMANDS``.
        overrides: ``key=value``, as on the command line.

    Returns:
        An object of the command's schema.

    Raises:
        ValueError: If a setting is unknown, of another type or out of range.
    """
    register_schemas()
    outer = GlobalHydra.instance().hydra  # of a command or notebook that composes by itself
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir(), version_base="1.3"):
            return to_settings(compose(name, list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        raise UserError(" ".join(str(cause).split())) from error
    finally:
        GlobalHydra.instance().hydra = outer


def to_settings(config: DictConfig) -> Any:
    """A composed configuration as an object of its schema.

    Raises:
        ValueError: If a zoo has no such preset, or on the complaints of the settings' classes.
    """
    try:
        return OmegaConf.to_object(config)
    except InterpolationKeyError as error:
        if "'zoo.presets." not in str(error):
            raise
        presets = "|".join(config.zoo.presets) or "a preset that its configuration has to name"
        raise UserError(
            f"expected fit={presets} for zoo={config.zoo.name}, got one that it has no preset for; "
            "presets are in the zoo's configuration"
        ) from error


def build(settings: Mapping[str, Any], **arguments: Any) -> Any:
    """Construct what ``_target_`` names.

    Args:
        settings: Plain settings: ``_target_`` and its arguments.
        **arguments: What the configuration does not know, such as the weight space.

    Raises:
        ValueError: On the complaints of ``class_of``, if the arguments do not fit the signature of
            the class, or on the complaints of the class.
    """
    target = str(settings.get("_target_"))
    constructor = class_of(target)
    given = {
        key: to_plain(value) if OmegaConf.is_config(value) else value
        for key, value in settings.items()
        if key != "_target_"
    }
    _check_arguments(constructor, given, arguments, target)
    return constructor(**given, **arguments)


def _check_arguments(
    constructor: type, given: Mapping[str, Any], others: Mapping[str, Any], target: str
) -> None:
    """Compare arguments with the names and types of a signature. A TypeError after it is a bug.

    Raises:
        ValueError: If they do not fit.
    """
    signature = inspect.signature(constructor)
    what = f"expected arguments of {target}, got some that do not fit"
    try:
        signature.bind(**given, **others)
    except TypeError as error:
        names = [name for name in {**given, **others} if name not in signature.parameters]
        unknown = f"; unknown: {', '.join(names)}" if names else ""
        raise UserError(
            f"{what}: {error}{unknown}; it takes {', '.join(signature.parameters)}"
        ) from error
    for name, value in given.items():
        try:
            hints = get_type_hints(constructor.__init__)  # type: ignore[misc]
            kind = TypeAdapter(hints.get(name, Any))
        except (NameError, PydanticUserError):  # a type that only its author knows
            continue
        try:
            kind.validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise UserError(f"{what}: {name}={value!r}: {reason}") from error


def class_of(target: str) -> type:
    """The class of ours that ``_target_`` names.

    Raises:
        ValueError: If it is not one of ours, or unknown.
    """
    if not target.startswith(TARGETS):
        raise UserError(f"expected _target_ in {TARGETS}, got {target}")
    try:
        constructor = pkgutil.resolve_name(target)
    except Exception as error:  # whatever the import raised
        raise UserError(f"expected _target_ to name a class, got {target} ({error})") from error
    # a module of ours leads to all that it imports, as in dws.io.folders.os.system
    if not (isinstance(constructor, type) and constructor.__module__.startswith(TARGETS)):
        raise UserError(f"expected _target_ to name a class of ours, got {target}")
    return constructor


def to_plain(node: Any) -> Any:
    """Resolve a node to dicts, lists and numbers."""
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
