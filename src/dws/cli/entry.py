"""Where the commands begin: loading their libraries takes seconds, and Ctrl-C ends that quietly.

``--version`` is answered before.
"""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path

import dws


def fit_inrs() -> None:
    """``dws-fit-inrs``."""
    _run("fit_inrs")


def train() -> None:
    """``dws-train``."""
    _run("train")


def evaluate() -> None:
    """``dws-evaluate``."""
    _run("evaluate")


def report() -> None:
    """``dws-report``."""
    _run("report")


def zoo() -> None:
    """``dws-zoo``."""
    _run("zoo")


def data() -> None:
    """``dws-data``."""
    _run("data")


def _run(name: str) -> None:
    if any(len(word) > 4 and "--version".startswith(word) for word in sys.argv[1:]):
        print(f"{Path(sys.argv[0]).name} {dws.__version__}")
        return
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    module = importlib.import_module(f"dws.cli.{name}")
    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    module.main()
