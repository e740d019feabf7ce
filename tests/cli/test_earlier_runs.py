"""Run folders of earlier versions can be evaluated, loaded and resumed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.cli.conftest import Command

import dws
from dws.settings import TrainerConfig
from dws.training import RunDir
from dws.training.checkpoint import is_finished, load_checkpoint
from dws.training.resolve import resolve
from dws.zoo import Zoo

GOLDEN = Path(__file__).parents[1] / "golden"
ZOO = f"zoo.path={GOLDEN / 'zoo'}"
# The command of tests/golden/run. `drawing` is now called `reconstruction`; optim.lr=3e-3 was
# the default, which the recipe of the method has replaced.
TRAIN = (
    "dws-train", "task=sine", "model=mlp", "model.hidden_features=[8]", ZOO, "wandb=disabled",
    "trainer.num_epochs=2", "trainer.batch_size=3", "augment.noise=0.1", "optim.lr=3e-3",
    "reconstruction.weight=0.5", "reconstruction.resolution=4",
)  # fmt: skip
EVALUATE = ("dws-evaluate", "run=run", f"zoo_path={GOLDEN / 'zoo'}", "wandb=disabled")
RUN = Path("run")


@pytest.fixture
def golden(command: Command) -> Path:
    """A copy of the run in ``./run`` of the working directory of ``command``."""
    return Path(shutil.copytree(GOLDEN / "run", RUN))


def change_config(change: Callable[[dict[str, Any]], object], file: Path) -> None:
    content = yaml.safe_load(file.read_text())
    change(content)
    file.write_text(yaml.safe_dump(content))


def test_earlier_run_has_the_same_evaluation(golden: Path, command: Command) -> None:
    result = golden / "result.json"
    before = json.loads(result.read_text())
    assert "is already evaluated" in command(*EVALUATE)
    result.unlink()
    assert "test split, 2 networks: mse 0.52" in command(*EVALUATE)
    after = json.loads(result.read_text())
    for metrics in ("test", "validation", "test_permuted"):
        assert after[metrics] == pytest.approx(before[metrics], rel=1e-4, nan_ok=True)
    assert (after["num_parameters"], after["num_train"]) == (129, 3)


@pytest.mark.parametrize("spec", [None, (1, 4, 1)])
def test_model_of_an_earlier_run_is_loaded(golden: Path, spec: tuple[int, ...] | None) -> None:
    if spec is not None:  # like versions that did not record the widths
        change_config(lambda content: content.pop("dims"), golden / "config.yaml")
        with pytest.raises(ValueError, match=r"run .* did not record the widths .* spec"):
            dws.load_trained(golden)
    model = dws.load_trained(golden, spec)
    with torch.no_grad():
        outputs = model(Zoo.open(GOLDEN / "zoo").split("test").weights())
    expected = load_file(golden / "predictions.safetensors")["outputs"]
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("folder", ["run", "outputs/runs/sine/mlp/seed0-fa759184"])
def test_current_command_finds_an_earlier_run_complete(
    folder: str, golden: Path, command: Command
) -> None:
    if folder != "run":  # named by an earlier version, without run_dir
        Path(folder).parent.mkdir(parents=True)
        shutil.move(golden, folder)
    # That version wrote the learning curve later; W&B was disabled.
    before = (Path(folder) / "checkpoint-last.pt").read_bytes()
    printed = command(*TRAIN, *(["run_dir=run"] if folder == "run" else []))
    assert f"run {folder}: best validation mse" in printed or "already complete" in printed
    assert f"dws-evaluate run={folder}" in printed
    assert (Path(folder) / "checkpoint-last.pt").read_bytes() == before
    assert [path.name for path in Path(folder).parent.iterdir() if path.is_dir()] == [
        Path(folder).name
    ]
    assert "is already complete" in command(*TRAIN, f"run_dir={folder}")


def test_different_settings_are_a_different_run(golden: Path, command: Command) -> None:
    folder = Path("outputs/runs/sine/mlp/seed0-fa759184")
    folder.parent.mkdir(parents=True)
    shutil.move(golden, folder)
    command(*TRAIN, "optim.lr=4e-3")
    assert len(list(folder.parent.iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c["optim"].update(weight_decay=0.1), "optim.weight_decay: 0.1 (existing) vs 0."),
        (lambda c: c["model"].update(hidden_features=[9]), "model.hidden_features: [9] (existing)"),
        (lambda c: c["augment"].update(omega_0=1.0), "augment.omega_0: 1.0 (existing) vs 30.0"),
        (lambda c: c.update(aligned=True), "aligned: True (existing) vs False (requested)"),
    ],
)
def test_changed_default_does_not_change_an_earlier_run(
    change: Callable[[dict[str, Any]], object], expected: str, golden: Path, complaint: Command
) -> None:
    change_config(change, golden / "config.yaml")
    before = {file: file.read_bytes() for file in golden.iterdir()}
    assert expected in complaint(*TRAIN, "run_dir=run")
    assert {file: file.read_bytes() for file in golden.iterdir() if file.name[0] != "."} == before


# --- runs of this version, read by a later version ------------------------------------------------

NEW = (*TRAIN, "optim.lr=1e-3")


@pytest.fixture
def run(command: Command) -> Path:
    """A run of this version in its default folder."""
    command(*NEW)
    (folder,) = Path("outputs/runs/sine/mlp").iterdir()
    return folder


LATER = ["augment.extra", "optim.clip_norm", "trainer.patience", "task.num_train", "plugins"]


@pytest.mark.parametrize("setting", LATER)
def test_run_recorded_before_a_setting_existed_keeps_its_identity(
    setting: str, run: Path, command: Command
) -> None:
    def remove(content: dict[str, Any]) -> None:
        *groups, key = setting.split(".")
        for group in groups:
            content = content[group]
        del content[key]

    identity = RunDir(run).identity()
    assert run.name == f"seed0-{identity}"
    change_config(remove, run / "config.yaml")
    assert RunDir(run).identity() == identity
    assert f"run {run} is already complete" in command(*NEW)
    assert "is already complete" in command(*NEW, f"run_dir={run}")


def test_seeds_share_an_identity_in_folder_and_result(run: Path, command: Command) -> None:
    command(*NEW, "seed=1")
    first, second = sorted(run.parent.iterdir())
    assert first.name.removeprefix("seed0-") == second.name.removeprefix("seed1-")
    for folder in (first, second):
        evaluated = command("dws-evaluate", f"run={folder}", "wandb=disabled")
        assert "test split" in evaluated
        hashed = json.loads((folder / "result.json").read_text())["settings_hash"]
        assert folder.name.endswith(f"-{hashed}")


def test_changed_class_default_is_rejected_in_the_same_folder(
    run: Path, complaint: Command
) -> None:
    change_config(lambda content: content["optim"].update(lr=0.5), run / "config.yaml")
    assert "optim.lr: 0.5 (existing) vs 0.001 (requested)" in complaint(*NEW)


# --- runs that were started on another machine ----------------------------------------------------


def resolved_to_bf16(*arguments: Any) -> TrainerConfig:
    return replace(resolve(*arguments), precision="bf16")


def test_run_is_resumed_in_its_original_precision(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = RunDir.append_metrics

    def interrupted(run: RunDir, row: dict[str, float]) -> None:
        append(run, row)
        if row["epoch"] == 1 and run.path.name == "halved":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # a machine on which auto is bf16
        patch.setattr("dws.experiment.training.resolve", resolved_to_bf16)
        patch.setattr(RunDir, "append_metrics", interrupted)
        assert "cpu, bf16; run folder whole" in command(*TRAIN, "run_dir=whole")
        with pytest.raises(SystemExit, match="130"):
            command(*TRAIN, "run_dir=halved", "trainer.checkpoint_minutes=0")
    assert not is_finished(Path("halved/checkpoint-last.pt"))
    assert "cpu, bf16; run folder halved" in command(*TRAIN, "run_dir=halved")
    assert "cpu, fp32; run folder other" in command(
        *TRAIN, "run_dir=other"
    )  # auto is fp32 on this machine
    whole, halved, other = (
        load_checkpoint(Path(run, "checkpoint-last.pt"))["reader"]
        for run in ("whole", "halved", "other")
    )
    assert all(torch.equal(whole[name], halved[name]) for name in whole)
    assert not all(torch.equal(whole[name], other[name]) for name in whole)
    assert RunDir(Path("whole")).identity() == RunDir(Path("other")).identity()


def test_requested_precision_is_a_different_run(run: Path, command: Command) -> None:
    command(*NEW, "trainer.precision=fp32")
    assert len(list(run.parent.iterdir())) == 2


def test_moved_run_is_not_resumed(run: Path, command: Command) -> None:
    moved = [run.rename(run.with_name(name)) for name in ("seed0-backup",)]
    assert "is already complete" not in command(*NEW)
    assert RunDir(moved[0]).last_checkpoint.is_file()
