"""Base of the commands whose settings Hydra composes."""

from __future__ import annotations

import os
import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

import dws
from dws.cli.errors import command_name, exit_with, user_errors, wants_tracebacks
from dws.cli.help import register_help
from dws.config import check_choices, config_dir, explain, one_line, to_settings
from dws.errors import UserError

OPTIONS = [  # of every command, from Hydra
    "--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun",
    "--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun",
    "--info",
]  # fmt: skip
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")  # of --info
WITH_VALUE = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--experimental-rerun",
)  # fmt: skip
EXTRAS = {  # extra of dws that installs a Hydra plugin
    "hydra/sweeper/optuna": "sweep",
    "hydra/launcher/joblib": "slurm",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/submitit_slurm": "slurm",
}


def run_hydra(name: str, function: Callable[[Any, str], object]) -> None:
    """Compose ``configs/<name>.yaml`` with the command line and call a function.

    User errors end the program with a one-line message and exit status 1. ``HYDRA_FULL_ERROR=1``
    shows their tracebacks.

    Args:
        name: Name of the command in ``dws.settings.COMMANDS``.
        function: Called with the settings, an instance of the command's class in ``dws.settings``,
            and the command line. A Hydra sweeper optimises its return value.
    """
    if "--version" in sys.argv[1:]:
        print(f"{command_name()} {dws.__version__}")
        return
    register_help()
    tracebacks = wants_tracebacks()

    def job(config: DictConfig) -> object:
        overrides = HydraConfig.get().overrides.task
        return function(to_settings(config, name, overrides=overrides), _command(name))

    def quiet_job(config: DictConfig) -> object:
        # the process of a sweep reports errors, as jobs may run on other machines
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return job(config)
        # reports errors before Hydra prints its own message
        with user_errors(tracebacks=tracebacks), _errors_of_hydra(name):
            return job(config)

    start = hydra.main(version_base="1.3", config_path=config_dir(), config_name=name)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors instead of printing them
    try:
        with user_errors(tracebacks=tracebacks), _errors_of_hydra(name):
            sys.argv[1:] = options_first(sys.argv[1:])
            check_choices(sys.argv[1:])
            start(quiet_job)()
    finally:
        if not tracebacks:
            del os.environ["HYDRA_FULL_ERROR"]


def options_first(arguments: Sequence[str]) -> list[str]:
    """Sort the options of Hydra before the settings, because argparse needs this order.

    An unknown option ends the command with the exit status 2.
    """
    options: list[str] = []
    settings: list[str] = []
    remaining = deque(arguments)
    while remaining:
        argument = remaining.popleft()
        if not argument.startswith("-"):
            settings.append(argument)
            continue
        option, is_assigned, value = argument.partition("=")
        if option.startswith("--"):
            option = _full_option(option, value)
        if option in ("--info", "-i") and not is_assigned:
            is_choice = remaining and remaining[0] in INFO
            option, is_assigned, value = "--info", "=", remaining.popleft() if is_choice else "all"
        options.append(f"{option}{is_assigned}{value}")
        if option in WITH_VALUE and not is_assigned and remaining:
            options.append(remaining.popleft())
    return [*options, *settings]


def _full_option(option: str, value: str) -> str:
    """Complete an abbreviated option; an unknown one ends the command with the exit status 2."""
    found = [each for each in OPTIONS if each == option] or [
        each for each in OPTIONS if each.startswith(option)
    ]
    if found:
        return found[0] if len(found) == 1 else option  # argparse reports ambiguous ones
    meant = [] if value else get_close_matches(option, OPTIONS, n=1)
    name, given = option.removeprefix("--"), f"{option}={value}" if value else option
    hint = (
        f"Did you mean {meant[0]}?"
        if meant
        else f"Settings are written without dashes, such as {name}={value or '...'}"
    )
    exit_with(f"There is no option {given}. {hint} (see {command_name()} --help)", status=2)


@contextmanager
def _errors_of_hydra(name: str) -> Iterator[None]:
    """Context that converts errors of Hydra and its launchers to ``UserError``."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        missing = error.missing_cfg_file if isinstance(error, MissingConfigException) else None
        extra = EXTRAS.get(missing or "")
        remedy = f". Install it with: pip install 'dwsnets[{extra}]'" if extra else ""
        raise UserError(f"{explain(error, name, sys.argv[1:])}{remedy}") from error
    except Exception as error:
        if "Config group override" in str(error):  # such as task=null; not a HydraException
            raise UserError(one_line(error)) from error
        if type(error).__module__.startswith("submitit."):  # the message ends with a traceback
            raise UserError(str(error).strip().splitlines()[-1].partition(": ")[2]) from error
        raise


def _command(name: str) -> str:
    """Shell command that runs this job alone."""
    hydra_config = HydraConfig.get()
    flags: list[str] = []
    for source in hydra_config.runtime.config_sources:
        if source.provider == "command-line":
            flags += ["--config-dir", source.path]
    if hydra_config.job.config_name != name:
        flags += ["--config-name", str(hydra_config.job.config_name)]
    return shlex.join([command_name(), *flags, *hydra_config.overrides.task])
