"""Models from networks to networks, and their training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import random_batch, randomise
from tests.recorded import recording_on_cpus
from tests.unit.training.conftest import Negative, kill_after, run_training

from dws import capture
from dws.metanets import MLP, DWSNet, SignDWSNet
from dws.settings import AugmentConfig, OptimConfig, TrainerConfig
from dws.training import LabelledNetworks, NetworkUpdate, RunDir
from dws.training.augmentation import Augmentations
from dws.training.processes import Processes
from dws.training.state import TrainingState
from dws.training.step import TrainingStep
from dws.weightspace import (
    Permutation,
    SignedPermutation,
    WeightBatch,
    WeightSpaceSpec,
    assert_equivariant,
)
from dws.weightspace.symmetry import Symmetry
from dws.weightspace.transforms import CoordinateTransform
from dws.zoo import Zoo

SPEC = WeightSpaceSpec((2, 6, 5, 1))
NETS = {
    "dwsnet": lambda: DWSNet.to_networks(SPEC, hidden_channels=6, num_layers=2),
    "dwsnet_sign": lambda: SignDWSNet.to_networks(SPEC, hidden_channels=8, num_layers=2),
    "mlp": lambda: MLP(SPEC, out_features=SPEC.num_params, hidden_features=(16,)),
}
MOVES = AugmentConfig(square_symmetries=True, max_angle=20.0, max_shift=0.2, max_scale=0.1)


def update(name: str, *, step_size: float | None = None) -> NetworkUpdate:
    model = NetworkUpdate(SPEC, NETS[name]())
    model.fit(random_batch(SPEC, 30, dtype=torch.float32).map(lambda t: 0.1 * t + 0.05))
    if step_size is not None:
        torch.nn.init.constant_(model.step_size, step_size)
    return model


@pytest.mark.parametrize(
    ("name", "symmetry"), [("dwsnet", Permutation), ("dwsnet_sign", SignedPermutation)]
)
def test_network_update_is_equivariant(name: str, symmetry: type[Symmetry]) -> None:
    """The whole model is equivariant, including standardisation and step size."""
    model = update(name)
    randomise(model.net)
    torch.nn.init.constant_(model.step_size, 1.0)
    model.double().eval()

    def new(batch: WeightBatch) -> WeightBatch:
        return WeightBatch.from_flat(SPEC, model(batch).unsqueeze(-1))

    element = symmetry.random(SPEC, torch.Generator().manual_seed(0), nontrivial=True)
    assert_equivariant(new, random_batch(SPEC, 4), element)

    def change(batch: WeightBatch) -> WeightBatch:
        return WeightBatch.from_flat(SPEC, new(batch).flatten() - batch.flatten())

    assert_equivariant(change, random_batch(SPEC, 4), element)


@pytest.mark.parametrize("name", NETS)
def test_initial_updates_are_small(name: str) -> None:
    model, batch = update(name), random_batch(SPEC, 50, dtype=torch.float32)
    change = (model(batch).detach() - batch.flatten().squeeze(-1)).square().mean().sqrt()
    assert 1e-5 < float(change) < 0.05


def test_updates_are_in_units_of_layer_deviations() -> None:
    model, batch = update("mlp", step_size=1.0), random_batch(SPEC, 4, dtype=torch.float32)
    torch.nn.init.zeros_(model.net.head.weight)
    torch.nn.init.ones_(model.net.head.bias)
    new = WeightBatch.from_flat(SPEC, model(batch).unsqueeze(-1))
    for before, after, std in zip(
        batch.tensors(), new.tensors(), model.standardize.std, strict=True
    ):
        torch.testing.assert_close(after - before, std.expand_as(before), rtol=1e-3, atol=1e-5)


def test_updated_weights_are_float32_under_autocast() -> None:
    model, batch = update("dwsnet", step_size=0.0), random_batch(SPEC, 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(batch), batch.flatten().squeeze(-1))


def test_undo_inverts_the_image_transformation() -> None:
    model, batch = update("mlp", step_size=0.0), random_batch(SPEC, 6, dtype=torch.float32)
    move = CoordinateTransform.random(
        batch, torch.Generator().manual_seed(0), max_angle=90.0, max_shift=1.0
    )
    back = model.undo(model(move.apply(batch)), move)
    torch.testing.assert_close(back, batch.flatten().squeeze(-1), rtol=0, atol=1e-5)


def test_loss_is_invariant_to_image_transformations(picture_zoo: Zoo) -> None:
    """A model that changes nothing has the same loss with and without transformations."""
    task = Negative().on(picture_zoo, data=Path(), device=torch.device("cpu"))
    data = LabelledNetworks.load(picture_zoo.split("train"), task, torch.device("cpu"))
    model = NetworkUpdate(picture_zoo.spec, DWSNet.to_networks(picture_zoo.spec, num_layers=1))
    model.fit(data.weights)
    torch.nn.init.zeros_(model.step_size)
    trainer = TrainerConfig(precision="fp32", compile="never", cuda_graph="never")
    state = TrainingState(model, OptimConfig(lr=1e-9, warmup_fraction=0.0), trainer, len(data), 0)
    step = TrainingStep(
        model, task, data, state, augmentations=Augmentations(MOVES), trainer=trainer,
        reconstruction=None, processes=Processes(),
    )  # fmt: skip
    losses = [float(step.take(torch.arange(32), augmented=augmented)) for augmented in (0, 1)]
    assert losses[0] > 1e-3
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_network_update_is_trained(picture_zoo: Zoo, tmp_path: Path) -> None:
    run_training(picture_zoo, tmp_path, task=Negative(), num_epochs=30, optim=OptimConfig(lr=1e-2))
    errors = [row["val_mse"] for row in RunDir(tmp_path).metrics()]
    assert min(errors) < errors[0] / 2


@pytest.mark.parametrize("steps", [3, 6])
def test_killed_network_update_training_resumes_exactly(
    steps: int, picture_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "task": Negative(), "augment": MOVES, "ema_decay": 0.9, "checkpoint_minutes": 0.0,
        "dropout": 0.1, "num_epochs": 2,
    }  # fmt: skip
    whole, best = run_training(picture_zoo, tmp_path / "whole", **settings)
    kill_after(steps, monkeypatch)
    with pytest.raises(SystemExit):
        run_training(picture_zoo, tmp_path / "killed", **settings)
    monkeypatch.undo()
    torch.rand(3)
    resumed, best_resumed = run_training(picture_zoo, tmp_path / "killed", **settings)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert best["val_mse"] == best_resumed["val_mse"]


def test_recorded_step_of_a_network_update_equals_the_step(
    picture_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(name: str) -> dict[str, torch.Tensor]:
        given = {"compile_": "never", "cuda_graph": "always", "augment": MOVES}
        return run_training(picture_zoo, tmp_path / name, task=Negative(), **given)[0].state_dict()

    with recording_on_cpus() as recordings:
        recorded = weights("recorded")
        monkeypatch.setattr(capture, "NUM_WARM_UP", 1000)
        eager = weights("eager")
    assert sum(each.num_replays for each in recordings) == 4 * 4 - 3
    for name, tensor in eager.items():
        assert torch.equal(recorded[name], tensor), name
