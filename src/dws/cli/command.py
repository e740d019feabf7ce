"""Running a command: Hydra composes its settings, and the user's mistakes become one line."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import dws
from dws.cli.help import register_help
from dws.config import config_dir, one_line, to_settings
from dws.errors import UserError, describe, is_out_of_memory

OF_HYDRA = (HydraException, OmegaConfBaseException, yaml.YAMLError)


def run_hydra(name: str, function: Callable[[Any, str], object]) -> None:
    """Compose ``configs/<name>.yaml`` with the command line and call the function.

    It gets the settings, an object of the command's class in ``dws.settings``, and what was typed.
    What it returns is what a sweeper of Hydra optimises.

    Mistakes of the user end with one line and exit status 1; ``HYDRA_FULL_ERROR=1`` shows their
    traceback.
    """
    if "--version" in sys.argv[1:]:
        print(f"{command_name()} {dws.__version__}")
        return
    register_help()

    def job(config: DictConfig) -> object:
        return function(to_settings(config, name), _command(name))

    start = hydra.main(version_base="1.3", config_path=config_dir(), config_name=name)
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        start(job)()
        return

    def quiet_job(config: DictConfig) -> object:
        if HydraConfig.get().mode == RunMode.MULTIRUN:  # maybe on another machine: tell the sweep
            return job(config)
        with user_errors():  # before Hydra prints a line of its own
            return job(config)

    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise instead of print
    try:
        with user_errors():
            start(quiet_job)()
    finally:
        del os.environ["HYDRA_FULL_ERROR"]


@contextmanager
def user_errors() -> Iterator[None]:
    """Context in which the user's errors and interruptions end the program with one line."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        _exit("interrupted; rerun the same command to resume", status=130)
    except BrokenPipeError:  # who reads the pipe, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left
        raise SystemExit(128 + signal.SIGPIPE) from None
    except Exception as error:
        if isinstance(error, OF_HYDRA):
            _exit(one_line(error))
        if type(error).__module__.startswith("submitit."):  # ends with the traceback of a job
            _exit(str(error).strip().splitlines()[-1].partition(": ")[2])
        is_of_system = isinstance(error, OSError) and error.errno is not None  # as a full disk
        if isinstance(error, UserError) or is_of_system or is_out_of_memory(error):
            _exit(describe(error))
        print(
            f"{command_name()}: the following error is a bug, in dws or in a class of yours; "
            "please report it with its traceback if it is in dws",
            file=sys.stderr,
        )
        raise


def command_name() -> str:
    """What the user has typed."""
    return Path(sys.argv[0]).name


def _command(name: str) -> str:
    """The command of this job alone, as one can paste it into a shell."""
    hydra_config = HydraConfig.get()
    flags: list[str] = []
    for source in hydra_config.runtime.config_sources:
        if source.provider == "command-line":
            flags += ["--config-dir", source.path]
    if hydra_config.job.config_name != name:
        flags += ["--config-name", str(hydra_config.job.config_name)]
    return shlex.join([command_name(), *flags, *hydra_config.overrides.task])


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _exit(message: str, *, status: int = 1) -> NoReturn:
    print(f"{command_name()}: {message}", file=sys.stderr)
    raise SystemExit(status)
