"""W&B gets all data of the run folder after any failure, and never stops a training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import wandb
from tests.cli.conftest import Command

from dws.training import RunDir
from dws.training.loggers import WandbLogger
from dws.zoo import Zoo

SMALL = (
    "task=sine", "model=mlp", "model.hidden_features=[8]", "trainer.batch_size=8",
    "trainer.compile=never", "wandb=offline", "run_dir=run",
)  # fmt: skip


def histories(run: Path) -> list[list[dict[str, Any]]]:
    """Rows of each offline W&B file, in the order of the files."""
    inspect = [Path(sys.executable).with_name("wandb"), "leet", "inspect", "--json"]
    files = sorted((run / "wandb").glob("offline-run-*/*.wandb"))
    read = []
    for file in files:
        done = subprocess.run([*inspect, file], capture_output=True, text=True, timeout=60)
        records = map(json.loads, done.stdout.splitlines())
        read.append([r["history"]["item"] for r in records if r["type"] == "history"])
    return read


def epochs_of(history: list[dict[str, Any]], run: Path) -> list[float]:
    """Epochs of a history, after checking its metrics against the run folder."""
    rows = [row for row in history if "epoch" in row]
    metrics = {row["epoch"]: row["val_mse"] for row in RunDir(run).metrics()}
    assert [row["val_mse"] for row in rows] == [metrics[row["epoch"]] for row in rows]
    assert [row["_step"] for row in history] == sorted(row["_step"] for row in history)
    return [row["epoch"] for row in rows]


def test_history_is_complete_after_a_kill(sine_zoo: Zoo, tmp_path: Path) -> None:
    train = [
        Path(sys.executable).with_name("dws-train"), *SMALL, f"zoo.path={sine_zoo.path}",
        "trainer.num_epochs=600",
    ]  # fmt: skip
    metrics = tmp_path / "run/metrics.jsonl"
    # W&B's service of this process, if it runs, would outlive the killed processes.
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    env["OMP_NUM_THREADS"] = "1"
    for num_epochs in (20, 50):
        process = subprocess.Popen(
            train, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        while not metrics.is_file() or metrics.read_text().count("\n") < num_epochs:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL  # before its end
    done = subprocess.run(
        train, cwd=tmp_path, env=env, check=True, capture_output=True, text=True, timeout=240
    )
    assert "W&B failed" not in done.stdout
    whole = max(histories(tmp_path / "run"), key=len)
    assert epochs_of(whole, tmp_path / "run") == list(range(1, 601))


class Broken:
    """A W&B run that fails in one of its calls."""

    step = 0

    def __init__(self, call: str) -> None:
        self.call = call

    def __getattr__(self, name: str) -> Any:
        def call(*_: object, **__: object) -> None:
            if name == self.call:
                raise BrokenPipeError("the service is gone")

        return call


FAILURES = {
    "read-only": OSError(30, "Read-only file system", "/home/me/wandb"),
    "no key": wandb.errors.UsageError("No API key configured"),
    "log": Broken("log"),
    "finish": Broken("finish"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_wandb_errors_do_not_stop_training_and_are_caught_up(
    failure: str, command: Command, sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**_: object) -> Broken:
        if isinstance(FAILURES[failure], Exception):
            raise FAILURES[failure]
        return FAILURES[failure]

    train = ("dws-train", *SMALL, f"zoo.path={sine_zoo.path}", "trainer.num_epochs=3")
    with monkeypatch.context() as patch:
        patch.setattr(wandb, "init", init)
        printed = command(*train)
        assert printed.count("W&B") == printed.count("dws: W&B failed (") + 1 == 2
        assert "best validation mse" in printed
        printed = command("dws-evaluate", "run=run")
        assert "W&B failed" in printed
        assert "test split, 8 networks" in printed
    assert "is already complete" not in command(*train)  # because logging was incomplete
    assert "is already complete" in command(*train)
    command("dws-evaluate", "run=run")
    trained, evaluated = histories(Path("run"))
    assert epochs_of(trained, Path("run")) == epochs_of(evaluated, Path("run")) == [1, 2, 3]
    assert any("learning_curve.path" in row for row in trained)
    assert any("outcome.path" in row for row in evaluated)
    command("dws-evaluate", "run=run")
    assert len(histories(Path("run"))) == 2  # once


def test_next_sweep_run_has_its_own_wandb_run(
    command: Command, sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, failed = wandb.Run.log, []

    def fail_once(run: Any, *arguments: Any, **options: Any) -> None:
        if not failed:
            failed.append(run)
            raise OSError(28, "No space left on device")
        log(run, *arguments, **options)

    monkeypatch.setattr(wandb.Run, "log", fail_once)
    small = [word for word in SMALL if not word.startswith("run_dir=")]
    sweep = ("dws-train", "-m", "seed=0,1", *small, f"zoo.path={sine_zoo.path}")
    assert command(*sweep, "trainer.num_epochs=3").count("W&B failed") == 1
    first, second = sorted(Path("outputs/runs/sine/mlp").iterdir())
    assert not json.loads((first / "wandb.json").read_text())["history_is_logged"]
    assert json.loads((second / "wandb.json").read_text())["history_is_logged"]
    (history,) = histories(second)
    assert epochs_of(history, second) == [1, 2, 3]
    assert not any(histories(first))
    assert not {"WANDB_CACHE_DIR", "WANDB_DATA_DIR"} & set(os.environ)


@pytest.mark.parametrize("content", ["", "{}", '{"id": "a", "mode": "x"}', "[" * 99])
@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_damaged_wandb_file_does_not_stop_training(
    content: str, mode: str, command: Command, sine_zoo: Zoo
) -> None:
    small = [word for word in SMALL if not word.startswith("wandb=")]
    Path("run").mkdir()
    train = ("dws-train", *small, f"zoo.path={sine_zoo.path}", "trainer.num_epochs=1")
    command(*train, "wandb=disabled")
    Path("run/wandb.json").write_text(content)
    assert "is already complete" in command(*train, f"wandb={mode}")
    printed = command("dws-evaluate", "run=run", *(["wandb.mode=offline"] * (mode == "offline")))
    assert "run/wandb.json" in printed
    assert "test split, 8 networks" in printed
    assert len(histories(Path("run"))) == (mode == "offline")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts as root")
def test_read_only_home_is_sufficient(sine_zoo: Zoo, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("dws-train")
    (tmp_path / "home").mkdir()
    script = (
        "mount -t tmpfs -o ro none home && HOME=$PWD/home XDG_CACHE_HOME=$PWD/home "
        f"TMPDIR=$PWD/home exec {program} {' '.join(SMALL)} zoo.path={sine_zoo.path} "
        "trainer.num_epochs=1"
    )
    unshared = ["unshare", "-m", "sh", "-c", script]
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    done = subprocess.run(unshared, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "W&B" not in done.stdout
    (history,) = histories(tmp_path / "run")
    assert epochs_of(history, tmp_path / "run") == [1]


def test_epochs_are_not_logged_twice() -> None:
    sent = []

    class Resumed:
        step = 21  # the next step

        def log(self, row: dict[str, float], *, step: int) -> None:
            sent.append((row["epoch"], step))

    epochs = [{"epoch": float(i), "step": 10.0 * i} for i in range(1, 5)]
    WandbLogger(Resumed()).catch_up(epochs)
    assert sent == [(3.0, 30), (4.0, 40)]
