"""Where the commands begin: loading their libraries takes seconds, and Ctrl-C ends that quietly."""

from __future__ import annotations

import importlib
import signal


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
    is_heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    module = importlib.import_module(f"dws.cli.{name}")
    if is_heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    module.main()
