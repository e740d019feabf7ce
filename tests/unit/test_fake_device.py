"""All that runs in a step of a fit, a training or an evaluation, on a GPU that is not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.fake_device import DIFFERENTIABLE, GPU, fake_batch, fake_device
from tests.unit.metanets.test_checklist import NETS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    FakeTensorDeviceMismatchError,
)

from dws.metanets import EquivariantDWSNet, EquivariantSignDWSNet
from dws.metanets.layers import EquivariantAttention, EquivariantLinear, InvariantLinear, Norm
from dws.settings import AugmentConfig
from dws.tasks import Classification, Contrastive, Regression, Task
from dws.training.augmentation import Augmentations
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
    "move_images": AugmentConfig(max_angle=10.0, max_shift=0.1, max_scale=0.1),
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


def test_a_wait_for_the_device_is_found() -> None:
    with fake_device(), pytest.raises(DataDependentOutputException):
        bool(torch.ones(3).all())


def test_two_devices_are_found() -> None:
    with fake_device(), pytest.raises(FakeTensorDeviceMismatchError):
        torch.ones(3) + torch.ones(3, device="cpu")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_metanets_predict_and_embed(name: str, training: bool) -> None:
    with fake_device():
        net = NETS[name](spec=SPEC, in_channels=2, out_features=7).train(training)
        batch = fake_batch(SPEC, channels=2)
        assert_all_on(GPU, net(batch), net.embed(batch))


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    with fake_device():
        assert_all_on(GPU, *tensors(LAYERS[name]()(fake_batch(SPEC))))


@pytest.mark.parametrize("name", NETS)
def test_metanets_have_gradients(name: str) -> None:
    with fake_device(DIFFERENTIABLE):
        net = NETS[name](spec=SPEC, in_channels=2, out_features=7)
        net(fake_batch(SPEC, channels=2)).sum().backward()
        assert_all_on(DIFFERENTIABLE, *(p.grad for p in net.parameters()))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_gradients(name: str) -> None:
    with fake_device(DIFFERENTIABLE):
        layer, batch = LAYERS[name](), fake_batch(SPEC)
        inputs = [tensor.requires_grad_() for tensor in batch.map(torch.clone).tensors()]
        outputs = tensors(layer(WeightBatch.from_tensors(inputs)))
        sum(output.sum() for output in outputs).backward()
        assert_all_on(DIFFERENTIABLE, *(p.grad for p in (*inputs, *layer.parameters())))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations(name: str) -> None:
    with fake_device():
        batch = Augmentations(AUGMENTATIONS[name]).apply(
            fake_batch(SPEC), torch.Generator(), layer_std=torch.ones(2 * SPEC.num_layers)
        )
        assert_all_on(GPU, *batch.tensors())


def test_phases_are_wrapped() -> None:
    with fake_device():
        assert_all_on(GPU, *wrap_phases(fake_batch(SPEC), omega_0=30.0).tensors())


@pytest.mark.parametrize("device", [GPU, DIFFERENTIABLE])
@pytest.mark.parametrize("name", TASKS)
def test_losses(name: str, device: str) -> None:
    with fake_device(device):
        task, targets = TASKS[name]
        outputs = torch.randn(4, task.out_features).requires_grad_()
        loss = task.loss(task.output_layer(None)(outputs), targets())
        assert_all_on(device, loss)
        if device == DIFFERENTIABLE:
            loss.backward()
            assert_all_on(device, outputs.grad)
