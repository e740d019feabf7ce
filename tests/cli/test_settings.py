"""Settings on the command line and in files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.cli.conftest import Command

import dws
from dws.config import compose_settings
from dws.zoo import Zoo

SMALL = (
    "task=sine", "model=mlp", "model.hidden_features=[8]", "wandb=disabled",
    "trainer.num_epochs=1", "trainer.batch_size=8",
)  # fmt: skip


@pytest.mark.parametrize(
    "value", ["a:b", "a b", "a+b", "a@b", "a%b", "a\\b", "a.b-c_d", "/x y/z", "007", "0x1F"]
)
def test_special_paths_need_no_quotes(value: str) -> None:
    assert compose_settings("train", [f"run_dir={value}"]).run_dir == value


@pytest.mark.parametrize("value", ["2026_11_26", "1e3", "1.50", "true", "False", "-5", ".5", "nan"])
def test_numeric_text_is_rejected_with_a_working_hint(value: str, complaint: Command) -> None:
    line = complaint("dws-train", f"run_dir={value}")
    (hint,) = re.findall(r"quote it: (.*)$", line)
    (quoted,) = shlex.split(hint.replace("...", value))
    assert compose_settings("train", [quoted]).run_dir == value
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("experiment/x.yaml", "# @package _global_\nrun_dir: 2026_11_26", "run_dir=20261126"),
        ("experiment/x.yaml", "# @package _global_\nzoo: {path: 1e3}", "zoo.path=1000.0"),
        ("experiment/x.yaml", "# @package _global_\nwandb: {project: true}", "wandb.project=true"),
        ("paths/x.yaml", "outputs: 1_0\ndata: a\nzoos: b\nruns: c", "paths.outputs=10"),
    ],
)
def test_numbers_for_text_settings_in_files_are_rejected(
    file: str, content: str, expected: str, complaint: Command
) -> None:
    path = Path("my", file)
    path.parent.mkdir(parents=True)
    path.write_text(content)
    line = complaint("dws-train", "--config-dir", "my", f"{path.parent.name}=x", "task=sine")
    assert expected in line
    assert "quote it" in line


def test_sweep_runs_are_in_the_requested_folders(command: Command, sine_zoo: Zoo) -> None:
    command("dws-train", "-m", *SMALL, f"zoo.path={sine_zoo.path}", 'run_dir="2026_11_26",b')
    assert {path.name for path in Path().iterdir()} >= {"2026_11_26", "b"}
    printed = command("dws-evaluate", 'run="2026_11_26"', "wandb=disabled", "device=cpu")
    assert "see 2026_11_26/" in printed
    assert Path("2026_11_26/result.json").is_file()


def test_rejected_sweep_job_is_named(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        command("dws-train", "-m", *SMALL, "optim.lr=-1,1")
    *_, job, line = capsys.readouterr().err.splitlines()
    assert "'optim.lr=-1'" in job  # printed by Hydra
    assert line.startswith("dws-train: optim.lr=-1")


@pytest.mark.parametrize("name", ["fit-inrs", "train", "evaluate", "report"])
def test_version_option_prints_the_package_version(name: str, command: Command) -> None:
    assert command(f"dws-{name}", "x=1", "--version") == f"dws-{name} {dws.__version__}\n"
