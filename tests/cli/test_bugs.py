"""Exceptions that are not user errors keep their traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Command

from dws.cli.errors import ERROR_LOG
from dws.errors import NotFoundError, UnreachableError, UserError
from dws.zoo import Zoo

SMALL = ("task=sine", "model=mlp", "model.hidden_features=[8]", "trainer.num_epochs=1")
BUGS = [
    ValueError("a library's"), FileNotFoundError("without a file"), TypeError("x"), KeyError("x"),
]  # fmt: skip
MISTAKES = [
    UserError("a mistake"), NotFoundError("a mistake"), UnreachableError("a mistake"),
    OSError(28, "a mistake", "file"),
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS, ids=repr)
def test_bug_shows_a_traceback(
    bug: Exception, command: Command, sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object, **__: object) -> None:
        raise bug

    monkeypatch.setattr("dws.experiment.training.train", fail)
    monkeypatch.setenv(ERROR_LOG, "log")
    with pytest.raises(type(bug)) as error:
        command("dws-train", *SMALL, f"zoo.path={sine_zoo.path}", "wandb=disabled")
    assert error.value is bug
    assert "is a bug in dws or in a custom class" in capsys.readouterr().err
    assert f"dws-train: {type(bug).__name__}: " in Path("log").read_text()


@pytest.mark.parametrize("mistake", MISTAKES, ids=repr)
def test_user_error_is_one_line(
    mistake: Exception, complaint: Command, sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise mistake

    monkeypatch.setattr("dws.experiment.training.train", fail)
    line = complaint("dws-train", *SMALL, f"zoo.path={sine_zoo.path}", "wandb=disabled")
    assert "a mistake" in line
    assert "bug" not in line


def test_error_is_written_to_the_file_named_by_the_environment(
    complaint: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ERROR_LOG, str(tmp_path / "log"))
    lines = [complaint("dws-report", f"kept=nowhere{number}") for number in range(2)]
    assert (tmp_path / "log").read_text().splitlines() == lines


def test_own_exceptions_are_subclasses_of_builtin_ones() -> None:
    assert issubclass(UserError, ValueError)
    assert issubclass(NotFoundError, FileNotFoundError)
    assert issubclass(UnreachableError, ConnectionError)
