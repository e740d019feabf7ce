"""Final output of ``make demo``."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from tests.conftest import write_result
from tests.workflow.conftest import Select

import reproduce
from dws.config import compose_settings
from dws.report.methods import PAPER_METHODS
from selection import DEMO, Selection
from summary import summary

CHOSEN = {"SCALE": "debug", "TASKS": "mnist sine", "METHODS": "mlp dwsnet", "SIZES": ""}
CHANGED = {"mnist/mlp": 0.79, "mnist/dwsnet": 0.0, "sine/mlp": 1.5, "sine/dwsnet": 0.0}


@pytest.fixture
def complete(select: Select, monkeypatch: pytest.MonkeyPatch) -> Selection:
    """A complete selection whose variables are set in the environment, as by make."""
    selection = select(**CHOSEN)
    for name, value in CHOSEN.items():
        monkeypatch.setenv(name, value)
    for run in selection.runs.values():
        task, model = run.settings.task["name"], run.settings.model["name"]
        metric = "accuracy" if task == "mnist" else "mse"
        result = {
            "task": task,
            "model": model,
            "metric": metric,
            "higher_is_better": task == "mnist",
            "labels": ["label"],
            "confusion": [[1]] if task == "mnist" else None,
            **{split: {metric: 0.5} for split in ("test", "validation")},
            "test_permuted": {metric: 0.25},
            "permutation_change": CHANGED[f"{task}/{model}"],
        }
        write_result(Path(run.folder), **result)
    Path(selection.report).parent.mkdir(parents=True)
    Path(selection.report).touch()
    pictures = Path(selection.settings.report, "pictures")
    pictures.mkdir()
    (pictures / "tsne-mnist-label.png").touch()
    return selection


def test_demo_prints_results_on_permuted_networks(
    complete: Selection, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce.main("demo", [])
    lines = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]
    assert cells[0] == ["task", "method", "trained on", "test", "permuted", "changed", "minutes"]
    assert cells[2:] == [
        ["MNIST, accuracy ↑", "MLP", "100", "50.0 %", "25.0 %", "79.0 %", "1.0"],
        ["MNIST, accuracy ↑", "DWSNet", "100", "50.0 %", "25.0 %", "0.0 %", "1.0"],
        ["sine regression, MSE of b ↓", "MLP", "100", "0.5000", "0.2500", "1.5000", "1.0"],
        ["sine regression, MSE of b ↓", "DWSNet", "100", "0.5000", "0.2500", "0.0000", "1.0"],
    ]


def test_demo_prints_paths_and_valid_commands(
    complete: Selection, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce.main("demo", [])
    text = capsys.readouterr().out
    report = complete.settings.report
    assert f"picture  {report}/pictures/tsne-mnist-label.png" in text
    assert f"report   {report}/index.html" in text
    commands = [line for line in text.partition("Next:")[2].splitlines() if line[2:3].strip()]
    demo, train, predict, playground, plan = (shlex.split(line) for line in commands)
    assert demo == ["make", "demo", "SCALE=debug", f"METHODS=mlp dwsnet {PAPER_METHODS[1]}"]
    assert Path(train[0]).name == "dws-train"
    assert compose_settings("train", train[1:]).paths == complete.paths
    assert Path(predict[0]).name == "dws-predict"
    assert predict[1:] == [complete.zoos["mnist"].folder, "--split", "test"]
    assert Path(playground[0]).name == "dws-playground"
    assert plan[:2] == ["make", "reproduce-plan"]


def test_demo_suggests_what_is_left_to_do(
    complete: Selection, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(complete.settings.report, "pictures/tsne-mnist-label.png").unlink()
    values = {**CHOSEN, "METHODS": " ".join(PAPER_METHODS)}
    chosen = complete.variables.model_copy(update={"METHODS": PAPER_METHODS, "TASKS": ("sine",)})
    complete.variables = chosen
    text = summary(complete, values)
    assert "picture " not in text
    assert "make demo" not in text
    assert "task=sine model=dwsnet_sign" in text


def test_plan_prints_no_results(complete: Selection, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce.main("plan", [])
    assert "|" not in capsys.readouterr().out


def test_demo_has_three_methods_and_two_tasks(select: Select) -> None:
    runs = Selection(DEMO).runs
    assert {name.rpartition("/")[0] for name in runs} == {
        f"{task}/{method}"
        for task in ("mnist", "sine")
        for method in ("mlp", "dwsnet", "dwsnet_sign")
    }
    assert len(runs) == 6
