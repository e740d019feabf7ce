"""Final output of ``make demo``: results, paths of the figure and report, and next commands."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dws.evaluation.result import read_result
from dws.report.embeddings import picture_name
from dws.report.methods import PAPER_METHODS
from dws.report.results import to_frame
from dws.report.tables import PERMUTED, Table, changes, spread
from dws.report.tasks import describe
from selection import DEMO, Selection


def summary(selection: Selection, values: Mapping[str, str]) -> str:
    """Format the results of a complete selection as a table, with paths and next commands.

    Args:
        selection: The selection.
        values: The variables of make that it was created from.
    """
    results = to_frame(
        (read_result(Path(run.result)), run.folder) for run in selection.runs.values()
    )
    table = Table("summary", "Results", _table(results))
    report = Path(selection.settings.report)
    picture = report / "pictures" / picture_name(results["task"][0], results["result"][0].labels[0])
    return "\n".join(
        [
            "",
            table.markdown(),
            "",
            f"Permuted: {PERMUTED}",
            "The predictions of metanets that are invariant to permutations do not change.",
            "",
            *([f"picture  {picture}"] if picture.is_file() else []),
            f"report   {report / 'index.html'}",
            "",
            "Next:",
            *(f"  {command}\n      {text}" for command, text in _next(selection, values).items()),
        ]
    )


def _table(results: pd.DataFrame) -> pd.DataFrame:
    """Create a table with one row per task and method, in the order of the selection."""
    groups = results.groupby(["task", "num_train", "model"], sort=False)
    rows = [runs for _, runs in groups]
    return pd.DataFrame(
        {
            "task": [_title(runs.iloc[0]) for runs in rows],
            "method": [runs["model"].iloc[0] for runs in rows],
            "trained on": [runs["num_train"].iloc[0] for runs in rows],
            "test": [spread(runs) for runs in rows],
            "permuted": [spread(runs, "permuted") for runs in rows],
            "changed": [changes(runs) for runs in rows],
            "minutes": [runs["train_seconds"].mean() / 60 for runs in rows],
        }
    )


def _title(run: pd.Series) -> str:
    """Title of the task and its metric."""
    info = describe(run["task"], [run["result"]])
    return f"{info.title}, {info.metric or run['metric']} {'↑' if run['higher_is_better'] else '↓'}"


def _next(selection: Selection, values: Mapping[str, str]) -> dict[str, str]:
    """Next commands with descriptions."""
    chosen = selection.variables
    commands = {}
    more = next((name for name in PAPER_METHODS if name not in chosen.METHODS), None)
    if more:
        given = {**values, "METHODS": " ".join([*chosen.METHODS, more])}
        words = [f"{name}={value}" for name, value in given.items() if value != DEMO.get(name)]
        text = "adds a method to the table and the picture"
        commands[shlex.join(["make", "demo", *words])] = text
    train = [f"task={chosen.TASKS[0]}", "model=dwsnet_sign", "trainer.num_epochs=60"]
    commands[_command("dws-train", *selection.common, *train)] = (
        "trains for more epochs; dws-train --help lists all settings"
    )
    if "mnist" in selection.zoos:
        predict = _command("dws-predict", selection.zoos["mnist"].folder, "--split", "test")
        commands[predict] = "predicts digits with a pretrained model"
    return {
        **commands,
        _command("dws-playground"): "opens a page on which you draw a digit to be classified",
        "make reproduce-plan SCALE=small": "estimates the time of the paper's experiments",
    }


def _command(program: str, *arguments: str) -> str:
    """A command of the environment that runs this, for a shell in the current folder."""
    path = Path(sys.executable).with_name(program)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return shlex.join([str(path), *arguments])
