"""Running a command under Hydra: the user's mistakes become one line, without a traceback."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dws.cli.arguments import check_files, prepare_arguments
from dws.cli.errors import (
    command_name,
    is_users,
    one_line,
    settings_added,
    unknown_setting,
)
from dws.cli.help import register_resolvers
from dws.config import COMMANDS, config_dir, did_you_mean, register_schemas, to_settings
from dws.errors import UserError


def run_hydra(config_name: str, function: Callable[..., object]) -> None:
    """Compose ``configs/<config_name>.yaml`` with the command line and call the function.

    It gets the settings, an object of the command's schema, and as ``command`` what was typed.

    Errors that are the user's end with one line and exit status 1. ``HYDRA_FULL_ERROR=1`` shows the
    traceback instead.
    """
    register_schemas()
    register_resolvers()

    def checked(config: DictConfig) -> None:
        check_files(COMMANDS[config_name])
        for setting in settings_added(config):
            raise UserError(unknown_setting(setting, config))
        typed = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
        command = shlex.join([command_name(), *map(str, typed or ())])
        function(to_settings(config), command=command)

    with user_errors():
        sys.argv[1:] = prepare_arguments(sys.argv[1:], COMMANDS[config_name])
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
        if error is not None and is_users(error):
            _exit(one_line(error))
        if isinstance(error, Exception):
            print(
                f"{command_name()}: the following error is a bug, in dws or in a class of yours; "
                "please report it with its traceback if it is in dws",
                file=sys.stderr,
            )


class OneLineParser(argparse.ArgumentParser):
    """A parser of arguments whose complaints are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to look."""
        refused = re.match(r"argument (.*): invalid choice: '(.*)' \(choose from (.*)\)", message)
        if refused:
            what, got, listed = refused.groups()
            choices = [choice.strip(" '") for choice in listed.split(",")]  # quoted by old Pythons
            message = (
                f"expected {what} in {'|'.join(choices)}, got {got}{did_you_mean(got, choices)}"
            )
        _exit(f"{message}; {self.prog} --help says more", status=2)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _exit(message: str, *, status: int = 1) -> NoReturn:
    print(f"{command_name()}: {message}", file=sys.stderr)
    raise SystemExit(status)
