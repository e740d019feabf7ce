"""Composition of a command's settings from ``configs/`` with Hydra."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from threading import RLock
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from dws.errors import UserError
from dws.settings import COMMANDS
from dws.targets import plugins

# the setting that a first argument without a name most likely is, by command
FIRST_SETTING = {"fit_inrs": "zoo", "train": "task", "evaluate": "run", "report": "runs"}
ZOO_FOLDER = {"train": "zoo.path", "evaluate": "zoo_path"}  # settings, by command
_composing = RLock()  # Hydra composes one configuration at a time


def config_dir() -> str:
    """Return the absolute path of ``configs/``: in the wheel's package, else in the repository."""
    packaged = Path(__file__).parent / "configs"
    in_repository = Path(__file__).parents[2] / "configs"
    return str(packaged if packaged.is_dir() else in_repository)


def as_argument(key: str, value: object) -> str:
    """Format ``key=value`` as ``as_override`` does, quoted for a shell."""
    return shlex.quote(as_override(key, value))


def as_override(key: str, value: object) -> str:
    """Format ``key=value`` for Hydra, quoting any text and any list or tuple of texts."""
    if isinstance(value, list | tuple):
        return f"{key}=[{','.join(map(_as_text, value))}]"
    return f"{key}={_as_text(value)}"


def _as_text(value: object) -> str:
    text = str(value)
    is_plain = re.fullmatch(r"[A-Za-z/][\w./+@-]*", text, re.ASCII)
    if is_plain and text.lower() not in ("null", "true", "false", "inf", "nan"):
        return text
    # In quotes, Hydra interprets backslashes before a quote only; ${ starts an interpolation.
    text = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + found[2], text)
    text = text.replace('"', '\\"').replace("${", "\\${")
    return f'"{text}"'


def as_plugins(packages: Sequence[str]) -> str:
    """Format ``plugins=[...]`` for a shell, with a leading space; empty without packages."""
    return f" {as_argument('plugins', packages)}" if packages else ""


def compose_settings(name: str, overrides: Sequence[str]) -> Any:
    """Compose the settings of a command in the same way as the command does.

    Args:
        name: A key of ``COMMANDS``.
        overrides: ``key=value``, as on the command line.

    Returns:
        An object of the command's class in ``dws.settings``.

    Raises:
        UserError: If a setting is unknown, of a wrong type or out of range, or an override gives
            several choices of a group.
    """
    check_choices(overrides)
    try:
        return to_settings(_compose(name, overrides), name, overrides=overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, name, overrides)) from error


def _compose(name: str, overrides: Sequence[str]) -> DictConfig:
    with _composing:
        outer = GlobalHydra.instance().hydra  # of a calling command or notebook that uses Hydra
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(config_dir(), version_base="1.3"):
                return compose(name, list(overrides))
        finally:
            GlobalHydra.instance().hydra = outer


def check_choices(overrides: Sequence[str]) -> None:
    """Check that no override gives several choices of a group, except of ``experiment``.

    Hydra would merge ``augment=[permute,images]``, but each choice of most groups resets the
    settings of the one before it.

    Raises:
        UserError: If there is such an override.
    """
    for override in overrides:
        key, _, choice = override.partition("=")
        group = key.lstrip("+").partition("@")[0]
        is_group = group not in ("", "experiment") and Path(config_dir(), group).is_dir()
        if is_group and choice.lstrip().startswith("["):
            raise UserError(
                f"expected one choice of {group}, not a list, got {override}. Choose one, and "
                f"change single settings by {group.replace('/', '.')}.<setting>=<value>."
            )


def to_settings(config: DictConfig, name: str, *, overrides: Sequence[str]) -> Any:
    """Convert a composed configuration to the command's class in ``dws.settings``.

    Args:
        config: The configuration.
        name: A key of ``COMMANDS``.
        overrides: The user's overrides. Only these may allow further ``plugins``, because a
            configuration file may come from somebody else.

    Raises:
        UserError: If a setting is unknown, of a wrong type or out of range, the zoo lacks the fit
            preset, or a file names plugins that are not allowed.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except InterpolationKeyError as error:
        if "'zoo.presets." not in str(error):
            raise
        raise UserError(
            f"The zoo {config.zoo.name} does not have this fit preset. Available presets: "
            f"{', '.join(config.zoo.presets) or 'none'}."
        ) from error
    settings = validate(plain, name)
    unknown = [package for package in settings.plugins if package not in plugins()]
    if unknown and not any(override.lstrip("+").startswith("plugins=") for override in overrides):
        raise UserError(
            f"A configuration file names the plugin {unknown[0]}, whose code would be executed. If "
            f"you trust it, add{as_plugins(settings.plugins)}."
        )
    return settings


def validate(plain: Any, name: str) -> Any:
    """Convert plain values to the command's class in ``dws.settings``.

    Raises:
        UserError: If a setting is unknown, of a wrong type or out of range.
    """
    try:
        kind: TypeAdapter[Any] = TypeAdapter(COMMANDS[name])
        return kind.validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        raise UserError("; ".join(map(_describe, error.errors()[:3]))) from error


def _describe(error: Any) -> str:
    """Format a pydantic error with the name and value of the setting."""
    setting = ".".join(map(str, error["loc"]))
    if error["type"] == "unexpected_keyword_argument":
        return f"{setting}: no such setting"
    if error["type"] == "missing":
        return f"{setting}: missing; set {setting}=..."
    value = error["input"]
    if not isinstance(value, str | float):
        value = json.dumps(value)  # null, true, [1] as in YAML
    is_text = error["type"] == "string_type"
    hint = f"; to pass it as text, quote it: '{setting}=\"...\"'" if is_text else ""
    return f"{setting}={value}: {error['msg']}{hint}"


def explain(error: BaseException, name: str, overrides: Sequence[str]) -> str:
    """Format an error of Hydra or OmegaConf in one line that says what to do.

    Args:
        error: The error.
        name: Name of the command, a key of ``COMMANDS``.
        overrides: The user's overrides.
    """
    text, command = one_line(error), f"dws-{name.replace('_', '-')}"
    if found := re.match(r"Could not override '(.+)'\. To append to your config", text):
        setting = found[1]
        meant = _similar(setting, name, overrides)
        hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
        if setting.startswith(("model.", "task.", "zoo.signals.")):
            hint += f" If it is an argument of the class, add it with +{setting}=..."
        return f"There is no setting {setting}.{hint} See {command} --help."
    if found := re.match(r"Could not override '(.+)'\. No match in the defaults list", text):
        group = found[1]
        folder = ZOO_FOLDER.get(name) if group == "zoo" else None
        hint = f" To name the folder of a zoo, set {folder}=..." if folder else ""
        return f"{command} has no choices of {group}.{hint} See {command} --help."
    if found := re.match(r"Error parsing override '(.*)' missing EQUAL at '<EOF>'", text):
        value, key = found[1], FIRST_SETTING[name]
        return f"'{value}' is not of the form setting=value. Did you mean {key}={value}?"
    if found := re.search(r"Missing mandatory value: (\S+)$", text):
        return f"{found[1]} is not set. Set {found[1]}=..., see {command} --help."
    missing = re.search(r"Could not find '(\S+)' Available options in '(\S+)': (.+)", text)
    if missing:
        group, choices = missing[2], missing[3].split()
        choice = missing[1].removeprefix(f"{group}/")
        meant = get_close_matches(choice, choices, n=2)
        hint = f" Did you mean {' or '.join(meant)}?" if meant else ""
        return f"There is no {group}={choice}.{hint} Choices: {', '.join(choices)}."
    return text


def _similar(setting: str, name: str, overrides: Sequence[str]) -> list[str]:
    """Settings of a command with a similar name, at most three."""
    group, _, last = setting.rpartition(".")
    if setting.startswith("hydra."):
        return []
    groups = {each.partition("=")[0]: each for each in overrides if "=" in each}
    choices = [each for key, each in groups.items() if Path(config_dir(), key).is_dir()]
    try:
        config = _compose(name, choices)
    except (HydraException, OmegaConfBaseException):
        config = _compose(name, [])
    content = OmegaConf.to_container(config, resolve=False)
    keys = [key for key in _keys(content) if not key.startswith("scale.")]
    by_last: dict[str, list[str]] = {}
    for key in keys:
        by_last.setdefault(key.rpartition(".")[2], []).append(key)
    names = [last] if last in by_last else get_close_matches(last, by_last, n=1)
    found = [key for each in names for key in by_last[each]]
    return sorted(found, key=lambda key: not key.startswith(f"{group}."))[:3]


def _keys(content: Any, prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _keys(value, f"{prefix}{key}.")
        elif key != "_target_":
            yield f"{prefix}{key}"


def one_line(error: BaseException) -> str:
    """Format an error of Hydra or OmegaConf without line breaks and search paths."""
    cause = f" {error.__cause__}" if "Error merging" in str(error) else ""
    message = " ".join(f"{error}{cause}".split()).split(" Config search path:")[0]
    return re.sub(r" (full_key|object_type)[:=]\s?\S*", "", message)
