"""Running a command under Hydra: the user's mistakes become one line, without a traceback."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn

import hydra
import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from dws.cli.help import choices_of, register_resolvers
from dws.config import config_dir, register_schemas

USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException, yaml.YAMLError)
FLAGS = (  # of Hydra; everything else is written key=value
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run",
    "--multirun", "--shell-completion", "--config-path", "--config-name", "--config-dir",
    "--experimental-rerun", "--info",
)  # fmt: skip


def run_hydra(config_name: str, function: Callable[[DictConfig], None]) -> None:
    """Compose ``configs/<config_name>.yaml`` with the command line and call the function.

    Errors that are the user's end with one line and exit status 1. ``HYDRA_FULL_ERROR=1`` shows the
    traceback instead.
    """
    register_schemas()
    register_resolvers()

    def checked(config: DictConfig) -> None:
        for setting in _unknown_settings(config):
            raise ValueError(_unknown(setting, config))
        function(config)

    with user_errors():
        _check_flags(sys.argv[1:])
    # argparse takes it before or after the settings only
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in ("-m", "--multirun"))
    start = hydra.main(version_base="1.3", config_path=config_dir(), config_name=config_name)
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        start(checked)()
        return

    def job(config: DictConfig) -> None:
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # maybe on another machine: tell the sweep
            checked(config)
        else:
            with user_errors():
                checked(config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of print
    try:
        with user_errors():
            start(job)()
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


class user_errors:  # noqa: N801 - reads as a verb where it is used
    """Context in which the user's errors and interruptions end the program with one line."""

    def __enter__(self) -> None:
        signal.signal(signal.SIGTERM, _interrupt)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            _exit("interrupted; what was saved stays, the same command goes on", status=130)
        if error is None:
            try:
                sys.stdout.flush()
            except BrokenPipeError as closed:
                error = closed
        if isinstance(error, BrokenPipeError):  # who reads the pipe, such as head, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left
            raise SystemExit(128 + signal.SIGPIPE)
        if error is not None and _is_users(error):
            _exit(one_line(error))


class OneLineParser(argparse.ArgumentParser):
    """A parser of arguments whose complaints are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to look."""
        refused = re.match(r"argument (.*): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if refused:
            what, got, listed = refused.groups()
            choices = re.findall(r"'(.*?)'", listed)
            message = f"expected {what} in {'|'.join(choices)}, got {got}{_hint(got, choices)}"
        _exit(f"{message}; {self.prog} --help says more", status=2)


def _check_flags(arguments: Sequence[str]) -> None:
    """Say how settings are written where they are written like flags."""
    for argument in arguments:
        flag = argument.partition("=")[0]
        if flag.startswith("--") and not any(known.startswith(flag) for known in FLAGS):
            setting = f"; did you mean {flag.strip('-').replace('-', '_')}=...?"
            hint = setting if "=" in argument else _hint(flag, FLAGS) or setting
            raise ValueError(f"expected settings as key=value, got {argument}{hint}")


def _unknown_settings(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Those that Hydra's ``+key=value`` added to a schema that does not have them."""
    schema = OmegaConf.get_type(config)
    names = {field.name for field in fields(schema)} if is_dataclass(schema) else set(config)
    for key in map(str, config):
        if key not in names:
            yield f"{prefix}{key}"
        elif isinstance(child := config._get_node(key), DictConfig) and child:
            yield from _unknown_settings(child, f"{prefix}{key}.")


def one_line(error: BaseException) -> str:
    """What went wrong and what to do, in one line."""
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).partition("/")
        options = choices_of(group)
        if not options:  # one of Hydra's, such as hydra/launcher
            group, _, choice = str(error.missing_cfg_file).rpartition("/")
            options = sorted(error.options)
        folder = choice.rpartition("/")[0]
        beside = [o for o in options if o.startswith(f"{choice}/")] or [
            o for o in options if o.rpartition("/")[0] == folder
        ]
        listed = "|".join(beside or options)
        return (
            f"expected {group}={listed}, got {group}={choice}{_hint(choice, options, f'{group}=')}"
        )
    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        if not equals:
            return f"expected settings as key=value, got {key}; {_command()} --help lists them"
        return (
            f"expected a value that Hydra can read, got {error.override}; put it into quotes "
            f"that your shell leaves: {as_argument(key, value)}"
        )
    if _is_out_of_memory(error):
        reason = " ".join(str(error).split())
        return f"expected enough memory, got: {reason}; take less at a time, or a smaller model"
    if _is_submitit(error):  # ends with the traceback of a job, and that with the job's own error
        return str(error).strip().splitlines()[-1].partition(": ")[2]
    if isinstance(error.__cause__, (ConfigAttributeError, ConfigKeyError)):
        return _unknown(str(error.__cause__.full_key), error.__cause__.parent_node)
    if isinstance(error, ConfigCompositionException):
        refused = re.match(r"Could not override '(.+?)'", str(error))
        if refused:
            return (
                f"{_command()} takes no {refused[1]}=...; {_command()} --help lists what it takes"
            )
    if isinstance(error, HydraException) and isinstance(error.__cause__, OmegaConfBaseException):
        error = error.__cause__
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return f"expected a folder, got {error.filename}: a file is in the way; choose another"
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


def as_argument(key: str, value: object) -> str:
    """``key=value`` to be pasted into a shell, such that Hydra takes any value as it is."""
    text = str(value)
    if not re.fullmatch(r"[\w./+@%:-]+", text, re.ASCII):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return shlex.quote(f"{key}={text}")


def _unknown(setting: str, node: object) -> str:
    """What to say of a setting that is not there, with a node of the configuration that is."""
    prefix, dot, name = setting.rpartition(".")
    hint = ""
    if isinstance(node, DictConfig):
        settings = [s for s in _all_settings(node._get_root()) if s != setting]
        beside = [s.rpartition(".")[2] for s in settings if s.rpartition(".")[0] == prefix]
        same_name = [s for s in settings if s.rpartition(".")[2] == name]
        hint = _hint(name, beside, f"{prefix}{dot}") or (
            f"; did you mean {' or '.join(same_name)}?" if same_name else ""
        )
    return f"unknown setting {setting}{hint}; {_command()} --help lists them"


def _all_settings(node: Any, prefix: str = "") -> Iterator[str]:
    for key in (key for key in map(str, node) if key != "hydra"):
        yield f"{prefix}{key}"
        if isinstance(child := node._get_node(key), DictConfig) and child:
            yield from _all_settings(child, f"{prefix}{key}.")


def _hint(word: str, there: Iterable[str], prefix: str = "") -> str:
    """The nearest of what is there, if any is near."""
    close = difflib.get_close_matches(word, list(there), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _is_users(error: BaseException) -> bool:
    """Whether the user can do something about it, so that one line says more than a traceback."""
    return isinstance(error, USER_ERRORS) or _is_out_of_memory(error) or _is_submitit(error)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, of which PyTorch complains on a CPU with no type of its own."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def _is_submitit(error: BaseException) -> bool:
    return type(error).__module__.startswith("submitit.")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _exit(message: str, *, status: int = 1) -> NoReturn:
    print(f"{_command()}: {message}", file=sys.stderr)
    raise SystemExit(status)


def _command() -> str:
    return Path(sys.argv[0]).name
