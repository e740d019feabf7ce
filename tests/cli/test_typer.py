"""Commands that use typer: help, completion, usage errors and tracebacks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.cli.conftest import Command

import dws
from dws.cli.data import DataSet
from dws.errors import UserError
from dws.signals.download import DATASETS
from dws.zoo import Zoo

SUBCOMMANDS = ("info", "verify", "render", "align", "import", "merge", "combine", "export")
MISUSE: list[tuple[tuple[str, ...], tuple[str, ...]]] = [
    (("dws-zoo",), ("Missing command",)),
    (("dws-zoo", "inof", "zoo"), ("'inof'", "'info'")),
    (("dws-zoo", "render"), ("'path'", "dws-zoo render --help")),
    (("dws-zoo", "render", "zoo", "more"), ("more",)),
    (("dws-zoo", "render", "zoo", "--magnify"), ("--magnify",)),
    (("dws-zoo", "render", "zoo", "--rows"), ("--rows",)),
    (("dws-zoo", "render", "zoo", "--rows", "first"), ("--rows", "integer")),
    (("dws-zoo", "import", "a", "b"), ("--format", "dwsnets", "nfn")),
    (("dws-zoo", "import", "--format", "x", "a", "b"), ("'x'", "dwsnets", "nfn")),
    (("dws-zoo", "import", "--fomat", "nfn", "a", "b"), ("--fomat", "--format")),
    (("dws-zoo", "import", "--format", "nfn", "--split-points", "3", "a", "b"), ("integer",)),
    (("dws-zoo", "merge", "part"), ("Missing argument",)),
    (("dws-data", "minst"), ("'minst'", "mnist")),
    (("dws-predict",), ("Missing argument", "INPUT")),
    (("dws-predict", "zoo", "--format", "xml"), ("'xml'", "text", "csv", "json")),
    (("dws-predict", "zoo", "--split", "all"), ("'all'", "train", "val", "test")),
    (("dws-export", "run"), ("Missing argument",)),
]


@pytest.mark.parametrize(
    "words",
    [
        ("dws-zoo", "--help"),
        *(("dws-zoo", name, "--help") for name in SUBCOMMANDS),
        ("dws-data", "--help"),
        ("dws-predict", "--help"),
        ("dws-export", "--help"),
        ("dws-playground", "--help"),
    ],
)
def test_help_explains_every_option(
    words: tuple[str, ...], command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    text = command(*words)
    assert f"Usage: {' '.join(words[:-1])} " in text
    options = [line.split() for line in text.splitlines() if line.startswith("  --")]
    assert [words[0] for words in options if len(words) < 3] == []
    if words[1] == "--help":
        assert "HYDRA_FULL_ERROR=1" in text


@pytest.mark.parametrize(
    "name", ["dws-zoo", "dws-data", "dws-predict", "dws-export", "dws-playground"]
)
def test_version_matches_the_package(name: str, command: Command) -> None:
    assert command(name, "--version") == f"{name} {dws.__version__}\n"


@pytest.mark.parametrize(("words", "facts"), MISUSE)
def test_usage_error_is_one_line_with_status_2(
    words: tuple[str, ...], facts: tuple[str, ...], command: Command,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with pytest.raises(SystemExit) as error:
        command(*words)
    assert error.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{words[0]}: ")
    assert [fact for fact in (*facts, "--help") if fact not in line] == []


def test_user_error_has_status_1(command: Command) -> None:
    with pytest.raises(SystemExit) as error:
        command("dws-zoo", "info", "nowhere")
    assert error.value.code == 1


def test_tracebacks_are_shown_on_request(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dws-zoo", "info", "nowhere"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    from dws.cli.zoo import main

    with pytest.raises(UserError, match="nowhere"):
        main()


@pytest.mark.parametrize(
    "options",
    [
        ("--rows", "1", "0", "55"),
        ("--rows", "1", "--rows", "0", "55"),
        ("--rows", "1", "--magnify", "1", "--rows", "0", "55"),
        ("--rows=1", "--rows", "0", "55"),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_list_options_take_several_values(
    options: tuple[str, ...], is_first: bool, command: Command, sine_zoo: Zoo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rows: list[Any] = []
    monkeypatch.setattr("dws.zoo.figures.plot_rows", lambda path, zoo, r, **_: rows.extend(r))
    path = str(sine_zoo.path)
    command("dws-zoo", "render", *((*options, path) if is_first else (path, *options)))
    assert rows == [1, 0, 55]


def test_folder_name_may_be_a_number(command: Command, sine_zoo: Zoo) -> None:
    Path("2026").symlink_to(sine_zoo.path)
    assert "rendered 8 INRs of 2026" in command("dws-zoo", "render", "--magnify", "2", "2026")
    assert "1 INRs of 2026" in command("dws-zoo", "render", "--rows", "3", "--", "2026")


def test_every_data_set_can_be_requested() -> None:
    assert set(get_args(DataSet)) == {*DATASETS, "cifar10"}
