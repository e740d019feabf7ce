"""Error reporting of commands: user errors and interruptions end with a one-line message."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from dws.errors import UserError, describe, is_out_of_memory

# environment variable: file to which the final message of each failed command is appended
ERROR_LOG = "DWS_ERROR_LOG"


def wants_tracebacks() -> bool:
    """Whether ``HYDRA_FULL_ERROR=1`` is set."""
    return os.environ.get("HYDRA_FULL_ERROR") == "1"


@contextmanager
def user_errors(*, tracebacks: bool | None = None) -> Iterator[None]:
    """Context in which user errors and interruptions end the program with a one-line message.

    Args:
        tracebacks: Let all errors propagate; None for ``wants_tracebacks``.
    """
    passes = wants_tracebacks() if tracebacks is None else tracebacks
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        exit_with("interrupted; rerun the same command to resume", status=130)
    except BrokenPipeError:  # the reader of the pipe, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards buffered output
        raise SystemExit(128 + signal.SIGPIPE) from None
    except Exception as error:
        if passes:
            raise
        is_system_error = isinstance(error, OSError) and error.errno is not None  # e.g. full disk
        if isinstance(error, UserError) or is_system_error or is_out_of_memory(error):
            exit_with(describe(error))
        if hasattr(error, "is_announced"):
            raise
        error.is_announced = True  # type: ignore[attr-defined]
        print(
            f"{command_name()}: the following error is a bug in dws or in a custom class; "
            "if it is in dws, please report it with the traceback",
            file=sys.stderr,
        )
        _log(f"{command_name()}: {type(error).__name__}: {describe(error)}")
        raise


def command_name() -> str:
    """Name under which the running command was called."""
    return Path(sys.argv[0]).name


def exit_with(message: str, *, status: int = 1) -> NoReturn:
    """Print a one-line message to standard error and exit."""
    line = f"{command_name()}: {message}"
    print(line, file=sys.stderr)
    _log(line)
    raise SystemExit(status)


def _log(line: str) -> None:
    """Append a line to the file that ``ERROR_LOG`` names, if set."""
    if file := os.environ.get(ERROR_LOG):
        with suppress(OSError), Path(file).open("a") as log:
            log.write(f"{line}\n")


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
