"""Code blocks of the README and the documentation run as printed, at smaller sizes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from tests.cli.conftest import Command
from tests.conftest import code_blocks, read_digits, run_block

import dws
from dws.inr import SirenConfig
from dws.zoo import Zoo, import_dwsnets
from dws.zoo.dwsnets import to_state_dict

NOTEBOOKS = Path(__file__).parents[2] / "docs/notebooks"
SMALLER = {
    "limit=400": "limit=30, settings={'fit.num_steps': 20, 'fit.compile': 'never'}",
    '"trainer.num_epochs": 20': '"trainer.num_epochs": 1, "wandb": "disabled"',
}


def test_shell_commands_of_the_readme_produce_a_report(command: Command) -> None:
    (block,) = code_blocks("README.md", "bash")
    lines = block.replace("scale=demo", "scale=debug").replace("outputs/demo", "outputs/debug")
    lines = lines.replace("seed=0,1,2", "seed=0 wandb=disabled")
    lines = lines.replace("zoo=sine", "zoo=sine fit.num_steps=20 fit.compile=never")
    for line in lines.splitlines():
        if loop := re.fullmatch(r"for run in (\S+); do (.*); done", line):
            runs = sorted(Path().glob(loop[1]))
            assert len(runs) == 2
            for run in runs:
                command(*shlex.split(loop[2].replace("$run", str(run))))
        else:
            command(*shlex.split(line))
    assert Path("outputs/debug/report/index.html").is_file()


def test_tutorial_contains_the_shell_commands_of_the_readme() -> None:
    (readme,) = code_blocks("README.md", "bash")
    tutorial = "".join(code_blocks("docs/tutorial.md", "bash"))
    assert sorted(readme.splitlines()) == sorted(tutorial.splitlines())


def test_python_example_of_the_readme_runs(command: Command) -> None:
    names = run_block("README.md", "shuffled", SMALLER)
    assert names["networks"].batch_size == 3
    assert names["run"].evaluate().test["mse"] >= 0
    weight = names["networks"].weights[0]
    assert not torch.equal(weight, names["shuffled"].weights[0])


def test_documented_python_calls_fit_train_and_evaluate(command: Command) -> None:
    names = run_block("docs/guides/library.md", "import dws\n\nzoo", SMALLER)
    assert "mse" in names["result"].test
    assert dws.Run.open(names["run"].path).path == names["run"].path
    results = run_with_runs_of("outputs")
    assert list(results["model"]) == ["dwsnet"]


@pytest.fixture
def zoo_of_digits(tmp_path: Path) -> Zoo:
    """A zoo with one INR of each digit in the folder of the documented MNIST zoo."""
    networks = read_digits()
    files = [tmp_path / f"{digit}.pth" for digit in range(10)]
    for digit, file in enumerate(files):
        torch.save(to_state_dict(networks[digit : digit + 1]), file)
    splits = {"train": range(3), "val": range(3, 6), "test": range(6, 10)}
    content = {
        name: {"path": [str(files[digit]) for digit in part], "label": list(part)}
        for name, part in splits.items()
    }
    (tmp_path / "splits.json").write_text(json.dumps(content))
    path = tmp_path / "outputs/zoos/mnist"
    return import_dwsnets(tmp_path / "splits.json", path, inr=SirenConfig())


def test_documented_prediction_commands_run(command: Command, zoo_of_digits: Zoo) -> None:
    (block,) = code_blocks("docs/guides/pretrained.md", "bash")
    fit, *others = block.splitlines()
    assert fit == "dws-fit-inrs zoo=mnist zoo.limit=200"
    printed = [command(*shlex.split(line)) for line in others]
    assert [len(text.splitlines()) for text in printed] == [4, 0, 4]
    assert len(Path("predictions.csv").read_text().splitlines()) == 5
    assert len(list(Path("pictures").iterdir())) == 1


def test_documented_prediction_calls_run(command: Command, zoo_of_digits: Zoo) -> None:
    names = run_block("docs/guides/pretrained.md", "is_typical")
    assert names["probabilities"].shape == (4, 10)
    assert names["classes"] == ["6", "7", "8", "9"]
    assert names["images"].shape == (4, 14, 14, 1)
    assert bool(names["is_typical"].all())


def test_documented_zoo_of_networks_in_memory_is_trained_on(command: Command) -> None:
    smaller = {"200": "24", "40": "8", '"trainer.num_epochs": 5': '"trainer.num_epochs": 1'}
    names = run_block("docs/guides/exchange.md", "write_zoo", smaller)
    assert names["run"].evaluate().num_test == 8


def run_notebook(name: str, smaller: Mapping[str, str]) -> dict[str, Any]:
    """Run the cells of a notebook in order; returns the names that they define."""
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for text, replacement in smaller.items():
        assert text in code
        code = code.replace(text, replacement)
    names: dict[str, Any] = {}
    try:
        exec(code, names)
    finally:
        plt.close("all")
    return names


def test_notebook_on_the_first_inr_runs(command: Command) -> None:
    names = run_notebook("first-inr", SMALLER)
    assert names["predicted"].shape == names["frequency"].shape


def test_notebook_on_symmetries_shows_which_metanet_is_invariant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(NOTEBOOKS)
    changes = run_notebook("symmetries", {})["changes"]
    is_invariant = {name: [change < 1e-6 for change in both] for name, both in changes.items()}
    assert is_invariant == {
        "MLP": [False, False],
        "DWSNet": [True, False],
        "SignDWSNet": [True, True],
    }


def run_with_runs_of(folder: str) -> object:
    """Run the results table example of the documentation on another folder."""
    Path("outputs/small").symlink_to(Path(folder).absolute() / "runs")
    return run_block("docs/guides/library.md", "load_results")["results"]
