"""The user's mistakes, each said in one line."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from dws.config import as_argument, choices_of, did_you_mean
from dws.errors import UserError

GROUPS = ("experiment", "model", "task", "zoo", "fit", "augment", "engine", "scale", "wandb")
USER_ERRORS = (UserError, HydraException, OmegaConfBaseException, yaml.YAMLError)


def settings_added(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Those that Hydra's ``+key=value`` added to a schema that does not have them."""
    schema = OmegaConf.get_type(config)
    names = {field.name for field in fields(schema)} if is_dataclass(schema) else set(config)
    for key in map(str, config):
        if key not in names:
            yield f"{prefix}{key}"
        elif isinstance(child := config._get_node(key), DictConfig) and child:
            yield from settings_added(child, f"{prefix}{key}.")


def one_line(error: BaseException) -> str:
    """What went wrong and what to do, in one line."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _missing_choice(str(error.missing_cfg_file), error.options)
    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        if not equals:
            group = next((g for g in GROUPS if key in choices_of(g)), None)
            hint = f"; did you mean {group}={key}?" if group else ""
            return f"expected settings as key=value, got {key}{hint}; {_where_listed()}"
        home = Path(value).expanduser() if value.startswith("~/") else value  # no shell does it
        return (
            f"expected a value that Hydra can read, got {error.override}; put it into quotes "
            f"that your shell leaves: {as_argument(key, home)}"
        )
    if _is_out_of_memory(error):
        reason = " ".join(str(error).split())
        return f"expected enough memory, got: {reason}; take less at a time, or a smaller model"
    if _is_submitit(error):  # ends with the traceback of a job, and that with the job's own error
        return str(error).strip().splitlines()[-1].partition(": ")[2]
    if isinstance(error.__cause__, (ConfigAttributeError, ConfigKeyError)):
        return unknown_setting(str(error.__cause__.full_key), error.__cause__.parent_node)
    if isinstance(error, ConfigCompositionException):
        refused = re.match(r"Could not override '(.+?)'", str(error))
        if refused:
            return f"{command_name()} takes no {refused[1]}=...; {_where_listed()}"
    if isinstance(error, MissingMandatoryValue):
        return f"expected {error.full_key}=..., got none; {_where_listed()}"
    sweep = re.match(r"Ambiguous value for argument '(.+?)=(.+?)'", str(error))
    if sweep:
        return (
            f"expected one value of {sweep[1]}, got {sweep[2]}; add -m to take one after the other,"
            f" or write {sweep[1]}=[{sweep[2]}] for a list"
        )
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        error = error.__cause__
    if isinstance(error, InterpolationResolutionError):
        return _interpolation(error)
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename is not None:
        place = Path(error.filename)
        file = next((p for p in (place, *place.parents) if p.is_file()), place)
        return f"expected a folder, got {file}: a file is in the way; choose another"
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"expected a file or folder that can be used, got {error.filename}: {error.strerror}; "
            "choose another, or change who may use it"
        )
    message = " ".join(str(error).split())
    message = message.split(" full_key:")[0].split(" object_type=")[0]
    if "@experiment." in message:
        message += " Or does the file of the experiment not begin with '# @package _global_'?"
    if isinstance(error, OmegaConfBaseException):
        if "is not Optional" in message:
            return f"expected a value, got null ({message})"
        setting = getattr(error, "full_key", None)
        return f"{setting}: {message}" if setting and setting not in message else message
    return message


def _interpolation(error: InterpolationResolutionError) -> str:
    """What to say of ``${...}`` that has no value."""
    key = str(error.full_key)
    given = next((word for word in sys.argv if word.startswith(f"{key}=")), f"{key}=...")
    value = given.partition("=")[2].strip("'")
    variable = re.search(r"Environment variable '(.+?)' not found", str(error))
    if variable:
        name = variable[1]
        default = re.sub(
            rf"\$\{{oc\.env:\s*{re.escape(name)}\s*\}}", f"${{oc.env:{name},other}}", value
        )
        return (
            f"expected the environment variable {name} in {given}, got none; export it, or name "
            f"what to take without it: {shlex.quote(f'{key}={default}')}"
        )
    missing = re.search(r"Interpolation key '(.+?)' not found", str(error))
    reason = (
        f"no setting {missing[1]}"
        if missing
        else " ".join(str(error).split(" full_key:")[0].split())
    )
    return (
        f"expected an interpolation that has a value in {given}, got {reason}; {_where_listed()}, "
        f"or for the text as it is: {as_argument(key, value)}"
    )


def _missing_choice(name: str, options_of_hydra: Sequence[str]) -> str:
    """What to say of ``<group>/<choice>`` that is not there."""
    group, _, choice = name.partition("/")
    options = sorted({*choices_of(group), *options_of_hydra})  # those of --config-dir too
    if not choices_of(group):  # one of Hydra's groups, such as hydra/launcher
        group, _, choice = name.rpartition("/")
        options = sorted(options_of_hydra)
    folder = choice.rpartition("/")[0]
    below = [option for option in options if option.startswith(f"{choice}/")]
    beside = [option for option in options if option.rpartition("/")[0] == folder]
    listed = "|".join(below or beside or options)
    hint = did_you_mean(choice, options, f"{group}=")
    return f"expected {group}={listed}, got {group}={choice}{hint}"


def unknown_setting(setting: str, node: object) -> str:
    """What to say of a setting that is not there, with a node of the configuration that is."""
    prefix, dot, name = setting.rpartition(".")
    hint = ""
    if isinstance(node, DictConfig):
        settings = [s for s in _all_settings(node._get_root()) if s != setting]
        beside = [s.rpartition(".")[2] for s in settings if s.rpartition(".")[0] == prefix]
        same_name = [s for s in settings if s.rpartition(".")[2] == name]
        hint = did_you_mean(name, beside, f"{prefix}{dot}") or (
            f"; did you mean {' or '.join(same_name)}?" if same_name else ""
        )
    return f"unknown setting {setting}{hint}; {_where_listed()}"


def _all_settings(node: Any, prefix: str = "") -> Iterator[str]:
    for key in (key for key in map(str, node) if key != "hydra"):
        yield f"{prefix}{key}"
        if isinstance(child := node._get_node(key), DictConfig) and child:
            yield from _all_settings(child, f"{prefix}{key}.")


def is_users(error: BaseException) -> bool:
    """Whether the user can do something about it, so that one line says more than a traceback.

    Anything else is a bug, whose traceback is shown.
    """
    is_of_system = isinstance(error, OSError) and error.errno is not None  # such as a full disk
    is_known = isinstance(error, USER_ERRORS) or is_of_system
    return is_known or _is_out_of_memory(error) or _is_submitit(error)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of which PyTorch complains on a CPU with no type of its own."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def _is_submitit(error: BaseException) -> bool:
    return type(error).__module__.startswith("submitit.")


def _where_listed() -> str:
    name = command_name()
    return f"{name if name.startswith('dws-') else 'dws-fit-inrs and dws-train'} --help lists them"


def command_name() -> str:
    """What the user has typed."""
    return Path(sys.argv[0]).name
