"""Distributed training by two real processes, started like ``torchrun`` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dws.zoo import Zoo

BIN = Path(sys.executable).parent


def train(folder: Path, zoo: Zoo, *settings: str, num_processes: int) -> None:
    torchrun = [
        str(BIN / "torchrun"), f"--nproc-per-node={num_processes}", "--standalone", "--no-python",
    ]  # fmt: skip
    done = subprocess.run(
        [
            *(torchrun if num_processes > 1 else []), str(BIN / "dws-train"),
            f"zoo.path={zoo.path}", "run_dir=run", "wandb=offline", "trainer.num_epochs=2",
            "trainer.batch_size=8", "trainer.compile=never", "augment.noise=0.1", *settings,
        ],
        cwd=folder, text=True, capture_output=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best validation") == 1


@pytest.mark.parametrize(
    "settings",
    [
        # Gradients of biases before a batch norm are rounding errors, which Adam amplifies.
        ("task=sine", "model.hidden_channels=4", "model.num_layers=2", "model.norm=layer"),
        ("task=ssl", "model=mlp", "model.hidden_features=[16]", "reconstruction.weight=1"),
    ],
)
def test_two_processes_train_like_one(
    settings: tuple[str, ...], sine_zoo: Zoo, tmp_path: Path
) -> None:
    runs = []
    for num_processes in (1, 2):
        folder = tmp_path / str(num_processes)
        folder.mkdir()
        train(folder, sine_zoo, *settings, num_processes=num_processes)
        runs.append(folder / "run")
    alone, together = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in runs
    )
    assert [row["epoch"] for row in together] == [1, 2]
    for first, other in zip(alone, together, strict=True):
        for loss in {"train_loss", "train_drawing_loss"} & first.keys():
            assert other[loss] == pytest.approx(first[loss], rel=1e-4)
        assert other["val_mse"] == pytest.approx(first["val_mse"], rel=1e-3)
    assert len(list((runs[1] / "wandb").glob("offline-run-*"))) == 1


GRADIENTS = """
import sys, torch
from dws.metanets import DWSNet
from dws.training.processes import join_processes
from dws.weightspace import WeightBatch, WeightSpaceSpec
torch.manual_seed(0)
spec = WeightSpaceSpec((2, 6, 5, 3))
net = DWSNet(spec, out_features=4, hidden_channels=4, num_layers=2).double()
batch = WeightBatch.from_flat(spec, torch.randn(12, spec.num_params, 1).double())
with join_processes(torch.device("cpu")) as processes:
    wrapped = processes.wrap(net)
    outputs = processes.gather(wrapped(processes.part(batch)), 1)
    (outputs.sin().sum(1) @ torch.arange(12.0).double()).backward()
    if processes.is_first:
        state = {name: p.grad for name, p in net.named_parameters()}
        torch.save({**state, **dict(net.named_buffers())}, sys.argv[1])
"""


def test_distributed_gradients_and_statistics_equal_single_process(tmp_path: Path) -> None:
    (tmp_path / "gradients.py").write_text(GRADIENTS)
    states = []
    for start in ([sys.executable], [str(BIN / "torchrun"), "--nproc-per-node=2", "--standalone"]):
        file = tmp_path / f"{len(states)}.pt"
        command = [*start, str(tmp_path / "gradients.py"), str(file)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        states.append(torch.load(file, weights_only=True))
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-6, atol=1e-9)


def test_indivisible_batch_is_rejected(sine_zoo: Zoo, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            str(BIN / "torchrun"), "--nproc-per-node=2", "--standalone", "--no-python",
            str(BIN / "dws-train"), "task=sine", f"zoo.path={sine_zoo.path}", "run_dir=run",
            "trainer.batch_size=7",
        ],
        cwd=tmp_path, text=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    assert "must be a multiple of the 2 processes and at least 4" in done.stderr
    assert not (tmp_path / "run").exists()  # free for the corrected command
