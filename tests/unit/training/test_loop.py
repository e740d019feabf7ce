from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import needs_compiler
from tests.unit.training.conftest import kill_after, run_training

from dws.tasks import Contrastive
from dws.training import (
    AugmentConfig,
    OptimConfig,
    ReconstructionConfig,
    RunDir,
)
from dws.training import loop as loop_module
from dws.training.checkpoint import load_checkpoint, save_checkpoint
from dws.zoo import Zoo


def test_training_improves_and_saves_the_best_epoch(sine_zoo: Zoo, tmp_path: Path) -> None:
    _, best = run_training(sine_zoo, tmp_path, num_epochs=12, optim=OptimConfig(lr=1e-2))
    epochs = RunDir(tmp_path).metrics()
    assert len(epochs) == 12
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] / 2
    assert best["val_mse"] == min(row["val_mse"] for row in epochs)
    kept = load_checkpoint(RunDir(tmp_path).best_checkpoint)
    assert kept["metrics"]["epoch"] == best["epoch"]
    assert epochs[-1]["lr"] > 0  # the rate of the last step, not of the next one


@pytest.mark.parametrize("killed_in", [1, 3])
def test_killed_run_resumes_exactly(
    killed_in: int, sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, best = run_training(sine_zoo, tmp_path / "whole")
    saves = 0

    def killed(path: Path, state: dict[str, object]) -> None:
        nonlocal saves
        saves += path.name == "checkpoint-last.pt"
        if saves == killed_in:
            raise SystemExit("killed")
        save_checkpoint(path, state)

    monkeypatch.setattr(loop_module, "save_checkpoint", killed)
    with pytest.raises(SystemExit):
        run_training(sine_zoo, tmp_path / "killed")
    metrics = RunDir(tmp_path / "killed").metrics_file
    assert len(metrics.read_text().splitlines()) == killed_in  # one epoch more than the checkpoint
    metrics.write_text(metrics.read_text() + '{"epoch": 9, "st')  # an incomplete line
    monkeypatch.undo()
    resumed, best_resumed = run_training(sine_zoo, tmp_path / "killed")

    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    timing = ("seconds", "networks_per_second")
    rows, rows_resumed = (
        [{k: v for k, v in row.items() if k not in timing} for row in RunDir(folder).metrics()]
        for folder in (tmp_path / "whole", tmp_path / "killed")
    )
    assert rows == rows_resumed
    assert best["val_mse"] == best_resumed["val_mse"]


EVERYTHING = {
    "augment": AugmentConfig(noise=0.1, mask=0.1, permute=True, until=0.5),
    "dropout": 0.2,
    "optim": OptimConfig(lr=1e-3, muon_lr=1e-2, amsgrad=True, clip_norm=1.0),
    "reconstruction": ReconstructionConfig(0.5, 8),
    "ema_decay": 0.9,
    "checkpoint_minutes": 0.0,
}


@pytest.mark.parametrize("steps", [1, 3, 5, 7, 12])
def test_run_killed_within_an_epoch_resumes_exactly(
    steps: int, sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, best = run_training(sine_zoo, tmp_path / "whole", **EVERYTHING)
    kill_after(steps, monkeypatch)
    with pytest.raises(SystemExit):
        run_training(sine_zoo, tmp_path / "killed", **EVERYTHING)
    monkeypatch.undo()
    torch.rand(3)  # another process has another generator state
    resumed, best_resumed = run_training(sine_zoo, tmp_path / "killed", **EVERYTHING)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert best["val_mse"] == best_resumed["val_mse"]
    kept = [
        load_checkpoint(RunDir(tmp_path / name).best_checkpoint)["reader"]
        for name in ("whole", "killed")
    ]
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in kept[0].items())


def test_augmentation_ends_at_the_given_step(sine_zoo: Zoo, tmp_path: Path) -> None:
    weights = [
        run_training(sine_zoo, tmp_path / str(i), augment=augment)[0].state_dict()
        for i, augment in enumerate(
            (AugmentConfig(), AugmentConfig(noise=0.1, until=0.0), AugmentConfig(noise=0.1))
        )
    ]
    same = [
        all(torch.equal(tensor, other[name]) for name, tensor in weights[0].items())
        for other in weights[1:]
    ]
    assert same == [True, False]


def test_contrastive_run_with_patience_resumes_exactly(
    sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Contrastive(out_features=3, projection_features=4)
    kind = {"task": task, "augment": AugmentConfig(noise=0.2, mask=0.3), "patience": 2}
    whole, best = run_training(sine_zoo, tmp_path / "whole", checkpoint_minutes=0.0, **kind)
    saves = 0

    def killed(path: Path, state: dict[str, object]) -> None:
        nonlocal saves
        save_checkpoint(path, state)
        saves += path.name == "checkpoint-last.pt"
        if saves == 8:
            raise SystemExit("killed")

    monkeypatch.setattr(loop_module, "save_checkpoint", killed)
    with pytest.raises(SystemExit):
        run_training(sine_zoo, tmp_path / "killed", checkpoint_minutes=0.0, **kind)
    monkeypatch.undo()
    resumed, best_resumed = run_training(
        sine_zoo, tmp_path / "killed", checkpoint_minutes=0.0, **kind
    )
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert best["val_mse_frequency"] == best_resumed["val_mse_frequency"]


@needs_compiler
def test_compiled_training_matches_eager_training(sine_zoo: Zoo, tmp_path: Path) -> None:
    losses = []
    for compile_ in ("never", "always"):
        run_training(sine_zoo, tmp_path / compile_, num_epochs=2, compile_=compile_)
        losses.append([row["train_loss"] for row in RunDir(tmp_path / compile_).metrics()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
