"""All operations of fits, trainings and evaluations on a fake GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.fake_device import DIFFERENTIABLE, GPU, fake_batch, fake_device
from tests.unit.metanets.test_checklist import NETS
from tests.unit.training.conftest import Negative
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorDeviceMismatchError,
)

from dws.metanets import EquivariantDWSNet, EquivariantSignDWSNet, SignDWSNet
from dws.metanets.layers import EquivariantAttention, EquivariantLinear, InvariantLinear, Norm
from dws.settings import AugmentConfig, OptimConfig, ReconstructionConfig
from dws.tasks import Classification, Contrastive, Regression, Task
from dws.training import (
    LabelledNetworks,
    NetworkUpdate,
    ReconstructionLoss,
    TrainerConfig,
    WeightSpaceModel,
)
from dws.training.augmentation import Augmentations
from dws.training.inference import embed, predict
from dws.training.processes import Processes
from dws.training.state import TrainingState
from dws.training.step import TrainingStep
from dws.weightspace import Standardize, WeightBatch, WeightSpaceSpec, wrap_phases

SPEC = WeightSpaceSpec((2, 6, 5, 3))
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "equivariant_mean": lambda: EquivariantLinear(SPEC, 1, 4, reduction="mean"),
    "equivariant_sum": lambda: EquivariantLinear(SPEC, 1, 4, reduction="sum"),
    "equivariant_max": lambda: EquivariantLinear(SPEC, 1, 4, reduction="max"),
    "attention": lambda: EquivariantAttention(SPEC, 1, 4),
    "invariant_mean": lambda: InvariantLinear(SPEC, 1, 4, reduction="mean"),
    "invariant_max": lambda: InvariantLinear(SPEC, 1, 4, reduction="max"),
    "batch_norm": lambda: Norm(SPEC, 1, "batch"),
    "layer_norm": lambda: Norm(SPEC, 1, "layer"),
    "standardize": lambda: Standardize(SPEC),
    "equivariant_dwsnet": lambda: EquivariantDWSNet(SPEC, hidden_channels=4),
    "equivariant_sign_dwsnet": lambda: EquivariantSignDWSNet(SPEC, hidden_channels=4),
}
AUGMENTATIONS = {
    "move_images": AugmentConfig(
        square_symmetries=True, max_angle=10.0, max_shift=0.1, max_scale=0.1
    ),
    "noise": AugmentConfig(noise=0.1),
    "quantile_dropout": AugmentConfig(quantile_dropout=0.1),
    "mask": AugmentConfig(mask=0.1),
    "flip_signs": AugmentConfig(flip_signs=True),
    "shift_phases": AugmentConfig(shift_phases=2),
    "permute": AugmentConfig(permute=True),
}
TASKS: dict[str, tuple[Task, Callable[[], Tensor]]] = {
    "classification": (Classification(), lambda: torch.randint(0, 10, (4,))),
    "regression": (Regression(), lambda: torch.randn(4)),
    "contrastive": (Contrastive(out_features=6), lambda: torch.randn(2, 2)),
}


def tensors(output: object) -> list[Tensor]:
    return list(output.tensors()) if isinstance(output, WeightBatch) else [output]


def assert_all_on(device: str, *found: Tensor | None) -> None:
    assert found
    assert {None if tensor is None else tensor.device.type for tensor in found} == {
        device.partition(":")[0]
    }


def test_fake_device_detects_synchronisation() -> None:
    with fake_device(), pytest.raises(DataDependentOutputException):
        bool(torch.ones(3).all())


def test_fake_device_detects_mixed_devices() -> None:
    with fake_device(), pytest.raises(FakeTensorDeviceMismatchError):
        torch.ones(3) + torch.ones(3, device="cpu")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_metanets_predict_and_embed_on_the_fake_device(name: str, training: bool) -> None:
    with fake_device():
        net = NETS[name](spec=SPEC, in_channels=2, out_features=7).train(training)
        batch = fake_batch(SPEC, channels=2)
        assert_all_on(GPU, net(batch), net.embed(batch))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_run_on_the_fake_device(name: str) -> None:
    with fake_device():
        assert_all_on(GPU, *tensors(LAYERS[name]()(fake_batch(SPEC))))


@pytest.mark.parametrize("name", NETS)
def test_metanets_have_gradients_on_the_fake_device(name: str) -> None:
    with fake_device(DIFFERENTIABLE):
        net = NETS[name](spec=SPEC, in_channels=2, out_features=7)
        net(fake_batch(SPEC, channels=2)).sum().backward()
        assert_all_on(DIFFERENTIABLE, *(p.grad for p in net.parameters()))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_gradients_on_the_fake_device(name: str) -> None:
    with fake_device(DIFFERENTIABLE):
        layer, batch = LAYERS[name](), fake_batch(SPEC)
        inputs = [tensor.requires_grad_() for tensor in batch.map(torch.clone).tensors()]
        outputs = tensors(layer(WeightBatch.from_tensors(inputs)))
        sum(output.sum() for output in outputs).backward()
        assert_all_on(DIFFERENTIABLE, *(p.grad for p in (*inputs, *layer.parameters())))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_run_on_the_fake_device(name: str) -> None:
    with fake_device():
        batch, move = Augmentations(AUGMENTATIONS[name]).apply(
            fake_batch(SPEC), torch.Generator(), layer_std=torch.ones(2 * SPEC.num_layers)
        )
        if move:
            assert_all_on(GPU, *move.inverse().apply(batch).tensors())
        assert_all_on(GPU, *batch.tensors())


def test_wrap_phases_runs_on_the_fake_device() -> None:
    with fake_device():
        assert_all_on(GPU, *wrap_phases(fake_batch(SPEC), omega_0=30.0).tensors())


@pytest.mark.parametrize("device", [GPU, DIFFERENTIABLE])
@pytest.mark.parametrize("name", TASKS)
def test_losses_run_on_the_fake_device(name: str, device: str) -> None:
    with fake_device(device):
        task, targets = TASKS[name]
        outputs = torch.randn(4, task.out_features).requires_grad_()
        loss = task.loss(task.output_layer(None)(outputs), targets())
        assert_all_on(device, loss)
        if device == DIFFERENTIABLE:
            loss.backward()
            assert_all_on(device, outputs.grad)


RECONSTRUCTION = ReconstructionConfig(weight=0.5, resolution=3)
TRAININGS = {
    "plain": {},
    "adamw_with_everything": {
        "optim": OptimConfig(clip_norm=1.0, amsgrad=True),
        "ema_decay": 0.9,
        "reconstruction": RECONSTRUCTION,
    },
    "muon": {"optim": OptimConfig(muon_lr=1e-2, schedule="constant")},
    "contrastive": {"task": "contrastive"},
    "recorded": {"optim": OptimConfig(muon_lr=1e-2), "cuda_graph": "always"},
    "networks": {"task": "networks"},
}


@pytest.fixture
def gradients_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the backward pass, which needs a GPU, by zero gradients for one model."""
    parameters: list[nn.Parameter] = []
    zero_grad = nn.Module.zero_grad

    def note(module: nn.Module, set_to_none: bool = True) -> None:
        zero_grad(module, set_to_none)
        parameters[:] = module.parameters()

    def backward(loss: Tensor) -> None:
        assert_all_on(GPU, loss)
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)

    monkeypatch.setattr(nn.Module, "zero_grad", note)
    monkeypatch.setattr(Tensor, "backward", backward)


def training_step(
    *,
    task: str = "classification",
    optim: OptimConfig = OptimConfig(),  # noqa: B008 - frozen
    reconstruction: ReconstructionConfig | None = None,
    precision: str = "fp32",
    **trainer: object,
) -> TrainingStep:
    if task == "networks":
        kind, targets = Negative(SPEC, torch.rand(9, 2)), lambda: torch.rand(4, 9, 3)
        model = NetworkUpdate(SPEC, SignDWSNet.to_networks(SPEC, hidden_channels=8))
    else:
        kind, targets = TASKS[task]
        num_values = reconstruction.num_values(SPEC.dims) if reconstruction else 0
        out_features = kind.out_features + num_values
        net = NETS["dwsnet_sign"](spec=SPEC, in_channels=1, out_features=out_features)
        model = WeightSpaceModel(SPEC, net, kind.output_layer(None), num_reconstructed=num_values)
    data = LabelledNetworks(fake_batch(SPEC), targets())
    config = TrainerConfig(
        **{"batch_size": 4, "precision": precision, "compile": "never", "cuda_graph": "never"}
        | trainer
    )
    loss = None
    if reconstruction:
        loss = object.__new__(ReconstructionLoss)  # its constructor reads values
        loss.weight, loss.omega_0, loss.output_offset = reconstruction.weight, 30.0, 0.5
        loss.points, loss.mean, loss.std = torch.rand(9, 2), torch.zeros(()), torch.ones(())
    return TrainingStep(
        model, kind, data, TrainingState(model, optim, config, len(data), seed=0),
        augmentations=Augmentations(AUGMENTATIONS["move_images"]), trainer=config,
        reconstruction=loss, processes=Processes(),
    )  # fmt: skip


@pytest.mark.usefixtures("gradients_at_hand")
@pytest.mark.parametrize("name", TRAININGS)
def test_training_steps_run_on_the_fake_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "recorded":  # fake tensors have no kernel for learning rates in tensors
        monkeypatch.setattr(torch.optim.AdamW, "step", lambda optimizer: None)
    with fake_device():
        step = training_step(**TRAININGS[name])
        rows = torch.arange(4)
        for _ in range(2):  # averaging starts at the second step
            losses = step.take(rows, augmented=True)
            assert_all_on(GPU, losses)
            step.state.advance(losses)
        assert_all_on(GPU, *step.model.parameters(), *step.state.losses)


@pytest.mark.parametrize("task", [*TASKS, "networks"])
def test_models_and_losses_have_gradients_on_the_fake_device(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        TrainingState, "update", lambda state: None
    )  # optimisers do not support "lazy"
    with fake_device(DIFFERENTIABLE):
        reconstruction = RECONSTRUCTION if task in ("classification", "regression") else None
        step = training_step(task=task, reconstruction=reconstruction)
        step.take(torch.arange(4), augmented=True)
        assert_all_on(DIFFERENTIABLE, *(p.grad for p in step.model.parameters()))


@pytest.mark.parametrize("task", ["classification", "networks"])
def test_evaluation_runs_on_the_fake_device(task: str) -> None:
    with fake_device():
        step = training_step(task=task)
        given = step.model, step.task, step.train_set
        outputs, _ = predict(*given, train_set=step.train_set, batch_size=3)
        assert_all_on(GPU, outputs, step.task.scores(outputs, step.train_set.targets))


def test_embedding_runs_on_the_fake_device() -> None:
    with fake_device():
        step = training_step()
        assert_all_on(GPU, embed(step.model, step.train_set, batch_size=3))
