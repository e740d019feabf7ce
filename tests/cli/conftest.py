"""Fixtures that run commands in this process."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., str]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command in this process, in an empty folder; returns its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
        importlib.import_module(f"dws.cli.{name.removeprefix('dws-').replace('-', '_')}").main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def complaint(command: Command, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command that must fail; returns its one-line error message."""

    def run(name: str, *arguments: str) -> str:
        with pytest.raises(SystemExit) as error:
            command(name, *arguments)
        assert error.value.code not in (0, None)
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith(f"{name}: ")
        return line

    return run
