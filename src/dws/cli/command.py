"""Running a command under Hydra: the user's mistakes become one line, without a traceback."""

from __future__ import annotations

import difflib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import NoReturn

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from dws.config import config_dir, register_schemas

USER_ERRORS = (ValueError, OSError, HydraException, OmegaConfBaseException)


def run_hydra(config_name: str, function: Callable[[DictConfig], None]) -> None:
    """Compose ``configs/<config_name>.yaml`` with the command line and call the function.

    Errors that are the user's end with one line and exit status 1. ``HYDRA_FULL_ERROR=1`` shows the
    traceback instead.
    """
    register_schemas()

    def checked(config: DictConfig) -> None:
        for setting in _unknown_settings(config):
            raise ValueError(_unknown(setting))
        function(config)

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
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        options = error.options
        if "/" in group:  # as in experiment=mnist/dwsnet
            group, _, folder = group.partition("/")
            choice = f"{folder}/{choice}"
            files = Path(config_dir(), group).rglob("*.yaml")
            options = [
                file.relative_to(Path(config_dir(), group)).with_suffix("").as_posix()
                for file in files
            ]
        close = difflib.get_close_matches(choice, options, n=1)
        hint = f"; did you mean {group}={close[0]}?" if close else ""
        return f"expected {group}={'|'.join(sorted(options))}, got {group}={choice}{hint}"
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
    if isinstance(error, OSError) and error.filename is not None:
        return (
            f"expected a file or folder that can be used, got {error.filename}: {error.strerror}; "
            "choose another, or change who may use it"
        )
    message = " ".join(str(error).split())
    if isinstance(error, OmegaConfBaseException):
        message = message.split(" full_key:")[0].split(" object_type=")[0]
        key = getattr(error, "full_key", None)
        return f"{key}: {message}" if key and key not in message else message
    return message


def _unknown(setting: str, group: object = None) -> str:
    """What to say of a setting that is not there; ``group`` has those that are beside it."""
    prefix, dot, name = setting.rpartition(".")
    names = [str(key) for key in group] if isinstance(group, DictConfig) else []
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {prefix}{dot}{close[0]}? " if close else ""
    return f"unknown setting {setting}; {hint}{_command()} --help lists them"


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
