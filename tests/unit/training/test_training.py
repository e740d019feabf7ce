from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LinearRegression
from tests.conftest import needs_compiler

from dws import hardware
from dws.metanets import DWSNet
from dws.tasks import Contrastive, Reader, Regression, Task
from dws.training import (
    AugmentConfig,
    LabelledNetworks,
    OptimConfig,
    RunDir,
    TrainerConfig,
    train,
)
from dws.training import loop as loop_module
from dws.training import settings as settings_module
from dws.training.checkpoint import is_finished, load_checkpoint, save_checkpoint
from dws.training.loggers import WandbLogger
from dws.training.loop import embed, predict
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Zoo

TASK = Regression()


def run_training(
    zoo: Zoo,
    folder: Path,
    *,
    num_epochs: int = 4,
    compile_: str = "auto",
    augment: AugmentConfig = AugmentConfig(),  # noqa: B008 - frozen
    dropout: float = 0.0,
    task: Task = TASK,
    optim: OptimConfig = OptimConfig(lr=1e-3),  # noqa: B008
    **trainer: object,
) -> tuple[Reader, dict[str, float]]:
    cpu = torch.device("cpu")
    train_set = LabelledNetworks.load(zoo.split("train"), task, cpu)
    torch.manual_seed(0)
    net = DWSNet(
        zoo.spec, out_features=task.out_features, hidden_channels=4, num_layers=2, dropout=dropout
    )
    reader = Reader(
        zoo.spec, net, task.output_layer(train_set.targets), embeds_output=task.num_views > 1
    )
    reader.fit(train_set.weights)
    best = train(
        reader,
        task,
        train_set,
        LabelledNetworks.load(zoo.split("val"), task, cpu),
        optim=optim,
        trainer=TrainerConfig(
            num_epochs=num_epochs, batch_size=8, compile=compile_, precision="fp32", **trainer
        ),
        augment=augment,
        seed=0,
        run=RunDir.claim(folder, {"a": 1}, zoo_path="zoo", origin={}),
        logger=WandbLogger(None),
    )
    return reader, best


def test_learns_and_keeps_the_best_epoch(sine_zoo: Zoo, tmp_path: Path) -> None:
    _, best = run_training(sine_zoo, tmp_path, num_epochs=12, optim=OptimConfig(lr=1e-2))
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


EVERYTHING = {
    "augment": AugmentConfig(noise=0.1, mask=0.1, permute=True),
    "dropout": 0.2,
    "optim": OptimConfig(lr=1e-3, amsgrad=True, clip_norm=1.0),
    "ema_decay": 0.9,
    "checkpoint_minutes": 0.0,
}


@pytest.mark.parametrize("steps", [1, 3, 5, 7, 12])
def test_a_run_killed_within_an_epoch_goes_on_exactly(
    steps: int, sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, best = run_training(sine_zoo, tmp_path / "whole", **EVERYTHING)
    saves = 0

    def killed(path: Path, state: dict[str, object]) -> None:
        nonlocal saves
        save_checkpoint(path, state)
        saves += path.name == "checkpoint-last.pt"
        if saves == steps:
            raise SystemExit("killed")

    monkeypatch.setattr(loop_module, "save_checkpoint", killed)
    with pytest.raises(SystemExit):
        run_training(sine_zoo, tmp_path / "killed", **EVERYTHING)
    monkeypatch.undo()
    torch.rand(3)  # another process would not have the state of this one's generator
    resumed, best_resumed = run_training(sine_zoo, tmp_path / "killed", **EVERYTHING)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert best["val_mse"] == best_resumed["val_mse"]
    kept = [
        load_checkpoint(RunDir(tmp_path / name).best_checkpoint)["reader"]
        for name in ("whole", "killed")
    ]
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in kept[0].items())


def test_an_embedding_goes_on_exactly_and_patience_too(
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


def test_the_probe_is_fitted_to_the_training_split_alone(sine_zoo: Zoo) -> None:
    task, cpu = Contrastive(out_features=3, labels=("frequency",)), torch.device("cpu")
    net = DWSNet(sine_zoo.spec, out_features=3, hidden_channels=4, num_layers=1)
    reader = Reader(sine_zoo.spec, net, task.output_layer(None), embeds_output=True).eval()
    train_set, val_set = (
        LabelledNetworks.load(sine_zoo.split(name), task, cpu) for name in ("train", "val")
    )
    outputs, targets = predict(reader, task, val_set, train_set, 7)
    known, asked = embed(reader, train_set, 7), embed(reader, val_set, 7)
    probe = LinearRegression().fit(known.numpy(), train_set.targets.numpy())
    expected = torch.from_numpy(probe.predict(asked.numpy()))
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(targets, val_set.targets)
    with torch.no_grad():  # a dimension that says nothing
        net.head.map.weight[0].zero_()
    assert bool(predict(reader, task, val_set, train_set, 7)[0].isfinite().all())


def test_a_checkpoint_of_another_kind_of_device_is_refused(sine_zoo: Zoo, tmp_path: Path) -> None:
    run_training(sine_zoo, tmp_path, num_epochs=1)
    file = RunDir(tmp_path).last_checkpoint
    save_checkpoint(file, {**load_checkpoint(file), "device": "cuda"})
    with pytest.raises(ValueError, match=r"on cuda, where it began, got cpu; set trainer.device=c"):
        run_training(sine_zoo, tmp_path, num_epochs=1)


@pytest.mark.parametrize(
    ("config", "num_views", "complaint"),
    [
        (AugmentConfig(max_shift=0.1), 1, r"two inputs for augment.max_shift, got 1"),
        (AugmentConfig(), 2, "use augment=contrastive"),
        (AugmentConfig(omega_0=20.0), 2, "use augment=contrastive"),
        (AugmentConfig(shift_phases=1, omega_0=20.0), 1, r"augment.omega_0=30.0, that of the zoo"),
    ],
)
def test_augmentations_that_make_no_sense_are_refused(
    config: AugmentConfig, num_views: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        config.check_fits(WeightSpaceSpec((1, 4, 1)), num_views, 30.0)


@pytest.mark.parametrize("bad", [{"noise": -1.0}, {"noise": float("nan")}, {"mask": 1.0}])
def test_strengths_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected strengths >= 0 in augment"):
        AugmentConfig(**bad)


def test_the_average_is_what_is_evaluated(sine_zoo: Zoo, tmp_path: Path) -> None:
    """With a decay near 1 the average hardly leaves where the training began."""
    optim = OptimConfig(lr=1e-2)
    run_training(sine_zoo, tmp_path / "plain", optim=optim, num_epochs=12)
    last, _ = run_training(
        sine_zoo, tmp_path / "ema", optim=optim, num_epochs=12, ema_decay=0.99999
    )
    epochs = RunDir(tmp_path / "ema").metrics()
    assert epochs[-1]["val_mse"] == pytest.approx(epochs[0]["val_mse"], rel=0.02)
    without = {row["val_mse"] for row in RunDir(tmp_path / "plain").metrics()}
    assert max(without) > 1.2 * min(without)
    kept = load_checkpoint(RunDir(tmp_path / "ema").best_checkpoint)["reader"]
    assert not torch.equal(kept["net.head.map.weight"], last.state_dict()["net.head.map.weight"])


def test_patience_ends_a_run_that_no_longer_improves(sine_zoo: Zoo, tmp_path: Path) -> None:
    still = {"optim": OptimConfig(lr=1e-30, weight_decay=0.0), "num_epochs": 50, "patience": 3}
    run_training(sine_zoo, tmp_path, **still)
    epochs = RunDir(tmp_path).metrics()
    best = min(epochs, key=lambda row: row["val_mse"])["epoch"]
    assert len(epochs) == best + 3 < 50
    assert is_finished(RunDir(tmp_path).last_checkpoint)


def test_gradients_are_clipped(sine_zoo: Zoo, tmp_path: Path) -> None:
    seen = []
    original = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, closure: object = None) -> None:
        grads = [p.grad for group in self.param_groups for p in group["params"]]
        seen.append(float(torch.stack([g.square().sum() for g in grads]).sum().sqrt()))
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        run_training(sine_zoo, tmp_path, optim=OptimConfig(lr=1e-3, clip_norm=0.01), num_epochs=1)
    assert len(seen) == 5
    assert max(seen) == pytest.approx(0.01, rel=1e-3)


def test_a_part_of_the_training_split_is_nested_and_seeded(sine_zoo: Zoo) -> None:
    def load(size: int, seed: int = 0) -> set[float]:
        split, cpu = sine_zoo.split("train"), torch.device("cpu")
        part = LabelledNetworks.load(split, TASK, cpu, num_signals=size, seed=seed)
        assert len(part) == size
        return set(part.targets.tolist())

    assert load(5) < load(11) < load(40)
    assert load(11) != load(11, seed=1)
    with pytest.raises(ValueError, match=r"expected task.num_train between 1 and 40"):
        load(41)


def test_a_loss_that_explodes_says_what_to_do(sine_zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"became .* in epoch 1 .* lower optim.lr=1e\+30"):
        run_training(sine_zoo, tmp_path, optim=OptimConfig(lr=1e30))


def test_a_part_that_is_repeated_has_as_many_steps_as_all(sine_zoo: Zoo) -> None:
    train, cpu = sine_zoo.split("train"), torch.device("cpu")
    part = LabelledNetworks.load(train, TASK, cpu, num_signals=7)
    repeated = LabelledNetworks.load(train, TASK, cpu, num_signals=7, repeat=True)
    assert len(part) == 7
    assert len(repeated) == len(train) > 14
    assert set(repeated.targets.tolist()) == set(part.targets.tolist())
    assert torch.equal(repeated.targets[7:14], part.targets)


def test_other_settings_in_a_run_folder_are_refused(tmp_path: Path) -> None:
    here, there = ({"zoo_path": where, "origin": {"code": where}} for where in ("here", "there"))
    RunDir.claim(tmp_path / "run", {"optim": {"lr": 0.1}}, **here)
    RunDir.claim(tmp_path / "run", {"optim": {"lr": 0.1}}, **there)
    with pytest.raises(ValueError, match=r"optim.lr: 0.1 there, 0.2 asked for.* another run_dir"):
        RunDir.claim(tmp_path / "run", {"optim": {"lr": 0.2}}, **here)


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
    monkeypatch.setattr(settings_module, "computes_bfloat16", lambda device: has_bfloat16)
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
