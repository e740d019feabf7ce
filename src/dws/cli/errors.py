"""How a command ends: the user's mistakes and interruptions become one line."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from dws.errors import UserError, describe, is_out_of_memory

ERROR_LOG = "DWS_ERROR_LOG"  # file to which what ends a command is added, for who has started many


def wants_tracebacks() -> bool:
    """Whether ``HYDRA_FULL_ERROR=1`` is set, which all commands heed."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextmanager
def user_errors(*, tracebacks: bool | None = None) -> Iterator[None]:
    """Context in which the user's errors and interruptions end the program with one line.

    Args:
        tracebacks: Let errors pass; None for ``wants_tracebacks``.
    """
    passes = wants_tracebacks() if tracebacks is None else tracebacks
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        exit_with("interrupted; rerun the same command to resume", status=130)
    except BrokenPipeError:  # who reads the pipe, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left
        raise SystemExit(128 + signal.SIGPIPE) from None
    except Exception as error:
        if passes:
            raise
        is_of_system = isinstance(error, OSError) and error.errno is not None  # as a full disk
        if isinstance(error, UserError) or is_of_system or is_out_of_memory(error):
            exit_with(describe(error))
        if hasattr(error, "is_announced"):
            raise
        error.is_announced = True  # type: ignore[attr-defined]
        print(
            f"{command_name()}: the following error is a bug, in dws or in a class of yours; "
            "please report it with its traceback if it is in dws",
            file=sys.stderr,
        )
        _note(f"{command_name()}: {type(error).__name__}: {describe(error)}")
        raise


def command_name() -> str:
    """What the user has typed."""
    return Path(sys.argv[0]).name


def exit_with(message: str, *, status: int = 1) -> NoReturn:
    """End the program with one line on standard error."""
    line = f"{command_name()}: {message}"
    print(line, file=sys.stderr)
    _note(line)
    raise SystemExit(status)


def _note(line: str) -> None:
    if file := os.environ.get(ERROR_LOG):
        with suppress(OSError), Path(file).open("a") as log:
            log.write(f"{line}\n")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
