from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import needs_compiler

from dws import hardware
from dws.metanets import DWSNet
from dws.tasks import Reader, Regression
from dws.training import LabelledNetworks, OptimConfig, RunDir, TrainerConfig, train
from dws.training import loop as loop_module
from dws.training.checkpoint import load_checkpoint, save_checkpoint
from dws.training.loggers import WandbLogger
from dws.zoo import Zoo

TASK = Regression()


def run_training(
    zoo: Zoo, folder: Path, *, num_epochs: int = 4, lr: float = 1e-3, compile_: str = "auto"
) -> tuple[Reader, dict[str, float]]:
    cpu = torch.device("cpu")
    train_set = LabelledNetworks.load(zoo.split("train"), TASK, cpu)
    torch.manual_seed(0)
    net = DWSNet(zoo.spec, out_features=1, hidden_channels=4, num_layers=2)
    reader = Reader(zoo.spec, net, TASK.output_layer(train_set.targets))
    reader.standardize.fit(train_set.weights)
    best = train(
        reader,
        TASK,
        train_set,
        LabelledNetworks.load(zoo.split("val"), TASK, cpu),
        optim=OptimConfig(lr=lr),
        trainer=TrainerConfig(
            num_epochs=num_epochs, batch_size=8, compile=compile_, precision="fp32"
        ),
        seed=0,
        run=RunDir.claim(folder, {"a": 1}, zoo_path="zoo"),
        logger=WandbLogger(None),
    )
    return reader, best


def test_learns_and_keeps_the_best_epoch(sine_zoo: Zoo, tmp_path: Path) -> None:
    _, best = run_training(sine_zoo, tmp_path, num_epochs=12, lr=1e-2)
    epochs = RunDir(tmp_path).metrics()
    assert len(epochs) == 12
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] / 2
    assert best["val_mse"] == min(row["val_mse"] for row in epochs)
    kept = load_checkpoint(RunDir(tmp_path).best_checkpoint)
    assert kept["metrics"]["epoch"] == best["epoch"]


@pytest.mark.parametrize("killed_in", [1, 3])
def test_a_killed_run_goes_on_exactly(
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
    assert len(metrics.read_text().splitlines()) == killed_in  # one more than the checkpoint
    metrics.write_text(metrics.read_text() + '{"epoch": 9, "st')  # cut off in the middle of a line
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


def test_a_loss_that_explodes_says_what_to_do(sine_zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"became .* in epoch 1 .* lower optim.lr=1e\+30"):
        run_training(sine_zoo, tmp_path, lr=1e30)


def test_other_settings_in_a_run_folder_are_refused(tmp_path: Path) -> None:
    RunDir.claim(tmp_path / "run", {"optim": {"lr": 0.1}}, zoo_path="here")
    RunDir.claim(tmp_path / "run", {"optim": {"lr": 0.1}}, zoo_path="there")
    with pytest.raises(ValueError, match=r"optim.lr: 0.1 there, 0.2 asked for.* another run_dir"):
        RunDir.claim(tmp_path / "run", {"optim": {"lr": 0.2}}, zoo_path="here")


def test_an_epoch_visits_networks_once(sine_zoo: Zoo) -> None:
    data = LabelledNetworks.load(sine_zoo.split("train"), TASK, torch.device("cpu"))
    batches = list(data.shuffled_batches(16, torch.Generator().manual_seed(0)))
    assert [len(targets) for _, targets in batches] == [16, 16]
    seen = torch.cat([targets for _, targets in batches])
    assert len(seen.unique()) == 32
    for weights, targets in batches:  # weights and targets stay together
        row = int((data.targets == targets[0]).nonzero()[0, 0])
        assert torch.equal(weights.flatten()[0], data.weights.flatten()[row])


@pytest.mark.parametrize(
    ("config", "step", "factor"),
    [
        (OptimConfig(warmup_fraction=0.1), 0, 0.1),
        (OptimConfig(warmup_fraction=0.1), 10, 1.0),
        (OptimConfig(warmup_fraction=0.1), 100, 0.0),
        (OptimConfig(warmup_fraction=0.0), 50, 0.5),
        (OptimConfig(schedule="constant"), 99, 1.0),
    ],
)
def test_schedule(config: OptimConfig, step: int, factor: float) -> None:
    assert config.factor(step, 100) == pytest.approx(factor)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OptimConfig(lr=0.0),
        lambda: OptimConfig(schedule="step"),
        lambda: TrainerConfig(num_epochs=0),
        lambda: TrainerConfig(batch_size=1),
    ],
)
def test_bad_settings_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint-last.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"expected a checkpoint in {path}, got a damaged one"):
        load_checkpoint(path)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))

    torch.save({"reader": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match="got a damaged one"):
        load_checkpoint(tmp_path / "bomb.pt")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("num_networks", "has_bfloat16", "expected"),
    [
        (99_999, True, ("never", "fp32")),
        (100_000, True, ("always", "bf16")),
        (100_000, False, ("always", "fp32")),
    ],
)
def test_auto_is_decided_by_the_length_and_the_processor(
    num_networks: int,
    has_bfloat16: bool,
    expected: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "compiler_found", lambda: True)
    monkeypatch.setattr(loop_module, "computes_bfloat16", lambda device: has_bfloat16)
    decided = TrainerConfig(num_epochs=1, device="cpu", precision="auto").resolved(num_networks)
    assert (decided.compile, decided.precision) == expected
    assert decided.resolved(1) == decided  # nothing is left to decide


@needs_compiler
def test_compiled_training_goes_where_eager_training_goes(sine_zoo: Zoo, tmp_path: Path) -> None:
    losses = []
    for compile_ in ("never", "always"):
        run_training(sine_zoo, tmp_path / compile_, num_epochs=2, compile_=compile_)
        losses.append([row["train_loss"] for row in RunDir(tmp_path / compile_).metrics()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
