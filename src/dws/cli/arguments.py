"""The command line before Hydra reads it: how settings are written, and text that stays text."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from hydra._internal.utils import get_args_parser
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep
from hydra.errors import HydraException
from omegaconf import OmegaConf

from dws import schemas
from dws.config import as_argument, config_dir, did_you_mean
from dws.errors import UserError
from dws.signals import ImageSignals, SineSignals

FLAGS = (  # of Hydra; everything else is written key=value
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run",
    "--multirun", "--shell-completion", "--config-path", "--config-name", "--config-dir",
    "--experimental-rerun", "--info",
)  # fmt: skip
SWEEP_FLAGS = ("-m", "--multirun")
PIECE = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,'"])+""")  # between commas
UNIONS = (Union, UnionType)
NUMBERS = (bool, int, float)


def prepare_arguments(arguments: Sequence[str], schema: type) -> list[str]:
    """The arguments such that Hydra reads them as they are meant.

    Hydra reads ``2026_11_26`` as a number; in the value of a setting that is text it is quoted.

    Args:
        arguments: Of the command line.
        schema: Of the command's configuration.

    Raises:
        ValueError: If a setting is written like a flag, a flag is misused, or the value of a
            setting that is text is something else; the message says how it is written.
    """
    _check_flags(arguments, schema)
    sweeps = any(word in SWEEP_FLAGS for word in arguments)
    kept = [_keep_text(argument, schema, sweeps=sweeps) for argument in arguments]
    kept.sort(key=lambda word: word not in SWEEP_FLAGS)  # Hydra takes it before the settings only
    parser = get_args_parser()

    def refuse(message: str) -> None:
        raise UserError(f"{message}; flags stand by themselves, settings are written key=value")

    parser.error = refuse  # type: ignore[assignment, method-assign]
    parser.parse_args(kept)
    return kept


def _check_flags(arguments: Sequence[str], schema: type) -> None:
    settings = [*_settings(schema), *(["experiment"] if schema is schemas.TrainSchema else [])]
    for argument, following in zip(arguments, (*arguments[1:], ""), strict=False):
        flag, equals, value = argument.partition("=")
        name = flag.strip("-").replace("-", "_")
        is_hydras = any(known.startswith(flag) for known in FLAGS) and name not in settings
        if flag.startswith("--") and not is_hydras:
            if not equals and not following.startswith("-") and "=" not in following:
                value = following
            hint = _setting_for(name, value, settings) or did_you_mean(flag, FLAGS)
            raise UserError(f"expected settings as key=value, got {argument}{hint}")
        if argument in SWEEP_FLAGS and following and "=" not in following and following[0] != "-":
            raise UserError(
                f"expected settings as key=value after {argument}, got {following}; it runs the "
                f"command for each of several values, as in {argument} seed=0,1"
            )


def _setting_for(name: str, value: str, settings: Sequence[str]) -> str:
    """The settings that somebody may mean, if any."""
    meant = [s for s in settings if s == name] or [
        s for s in settings if s.rpartition(".")[2] == name
    ]
    if not meant:
        return did_you_mean(name, settings).replace("?", f"={value or '...'}?")
    written = [shlex.quote(f"{s}={value}") if value else f"{s}=..." for s in meant]
    return f"; did you mean {' or '.join(written)}?"


def _settings(schema: type, prefix: str = "") -> Iterator[str]:
    for name, kind in get_type_hints(schema).items():
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            yield from _settings(kind, f"{prefix}{name}.")  # type: ignore[arg-type]


def _keep_text(argument: str, schema: type, *, sweeps: bool) -> str:
    """An argument whose value Hydra reads as text, if that is what the setting holds."""
    key, equals, value = argument.partition("=")
    if argument.startswith(("-", "~")) or not equals or not is_text(schema, key.lstrip("+")):
        return argument
    try:
        parsed = OverridesParser.create().parse_override(argument)._value
    except HydraException:  # Hydra complains of it
        return argument
    if isinstance(parsed, ChoiceSweep):
        if not sweeps:
            raise UserError(
                f"expected one value of {key}, got {value}; add -m to take one after the other, "
                f"or for the text as it is: {as_argument(key, value)}"
            )
        begin, inside, end = re.fullmatch(r"(choice\()?(.*?)(\)?)", value).groups("")  # type: ignore[union-attr]
        pieces = PIECE.findall(inside)
        if len(pieces) != len(parsed.list):
            return argument
        kept = [_keep_text(f"{key}={piece}", schema, sweeps=sweeps) for piece in pieces]
        return f"{key}={begin}{','.join(one.partition('=')[2] for one in kept)}{end}"
    if isinstance(parsed, NUMBERS):
        return f'{key}="{value.strip()}"'
    if isinstance(parsed, (list, dict)):
        raise UserError(
            f"expected text for {key}, got {value}; for the text as it is: "
            f"{as_argument(key, value)}"
        )
    variable = re.search(r"\$(\w+)", parsed) if isinstance(parsed, str) else None
    if variable:
        raise UserError(
            f"expected a value in which the shell replaced ${variable[1]}, got {argument}; write "
            f'{key}="{value}" without other quotes, or for the text as it is: '
            f"{as_argument(key, value)}"
        )
    return argument


def check_files(schema: type) -> None:
    """Refuse numbers that the user's YAML files give settings that are text: Hydra changes them.

    Raises:
        ValueError: If ``2026_11_26`` stands there without quotes, which YAML reads as 20261126.
    """
    runtime = HydraConfig.get().runtime
    folders = [Path(s.path) for s in runtime.config_sources if s.schema == "file"]
    for folder in (folder for folder in folders if folder != Path(config_dir())):
        for group, choice in runtime.choices.items():
            file = folder / group / f"{choice}.yaml"
            if file.is_file():
                prefix = "" if "@package _global_" in file.read_text() else f"{group}."
                for key, text, value in _scalars(file):
                    if text != str(value) and is_text(schema, prefix + key):
                        raise UserError(
                            f"expected text for {prefix}{key} in {file}, got {text}, which YAML "
                            f'reads as {value}; write it in quotes: "{text}"'
                        )


def _scalars(file: Path) -> Iterator[tuple[str, str, object]]:
    """Dotted keys of the numbers in a YAML file, as they are written and as they are read."""

    def walk(written: Any, read: Any, prefix: str) -> Iterator[tuple[str, str, object]]:
        for key, value in read.items():
            if str(key) not in written:
                continue
            if isinstance(value, dict):
                yield from walk(written[str(key)], value, f"{prefix}{key}.")
            elif isinstance(value, NUMBERS):
                yield f"{prefix}{key}", written[str(key)], value

    read = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    written = yaml.load(file.read_text(), Loader=yaml.BaseLoader)  # all of it is text
    if isinstance(read, dict) and isinstance(written, dict):
        yield from walk(written, read, "")


def is_text(schema: type, key: str) -> bool:
    """Whether a setting holds text, such as ``run_dir`` or ``zoo.path``."""
    kinds: list[Any] = [schema]
    if key.startswith("hydra."):
        kinds, key = [HydraConf], key.removeprefix("hydra.")
    for name in key.split("."):
        kinds = [kind for each in kinds for kind in _kinds_of(each, name)]
    return str in kinds and set(kinds) <= {str, Path}


def _kinds_of(kind: Any, name: str) -> list[Any]:
    """Types that a setting may have, but for None, in a node of the configuration."""
    if get_origin(kind) is dict:
        kind = get_args(kind)[1]
    nodes = _open_nodes() if kind is Any else [kind] if dataclasses.is_dataclass(kind) else []
    hints = [get_type_hints(node).get(name, NoneType) for node in nodes]
    unions = [get_args(hint) if get_origin(hint) in UNIONS else (hint,) for hint in hints]
    return [kind for kinds in unions for kind in kinds if kind is not NoneType]


@cache
def _open_nodes() -> list[Any]:
    """What may stand where the schema of a command leaves it open: ``task``, ``zoo.signals``."""
    targets = [kind for kind in vars(schemas).values() if hasattr(kind, "_target_")]
    return [*targets, ImageSignals.__init__, SineSignals.__init__]
