from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import random_batch
from tests.unit.training.conftest import run_training
from torch.nn.functional import mse_loss

from dws.inr import siren_apply
from dws.metanets import SignDWSNet
from dws.seeding import derive_seed
from dws.tasks import Contrastive
from dws.training import (
    AugmentConfig,
    OptimConfig,
    ReconstructionConfig,
    ReconstructionLoss,
    RunDir,
    WeightSpaceModel,
)
from dws.training.augmentation import Augmentations
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Zoo

SPEC = WeightSpaceSpec((2, 5, 4, 3))
AREA = {"low": (0.0, -1.0), "high": (1.0, 3.0)}


def test_targets_are_values_at_cell_centres() -> None:
    networks = random_batch(SPEC, 50)
    loss = ReconstructionLoss(ReconstructionConfig(1.0, 2), networks, **AREA, omega_0=2.0)
    middles = torch.tensor([[0.25, 0.0], [0.25, 2.0], [0.75, 0.0], [0.75, 2.0]]).double()
    values = siren_apply(networks, middles, omega_0=2.0).flatten(1)
    targets = loss.targets(networks)
    torch.testing.assert_close(targets, (values - values.mean(0)) / loss.std)
    assert targets.mean() == pytest.approx(0, abs=1e-12)
    assert targets.square().mean() == pytest.approx(1)
    assert targets.shape[1] == ReconstructionConfig(1.0, 2).num_values(SPEC.dims)


def test_values_are_standardised_over_the_reference() -> None:
    networks = random_batch(WeightSpaceSpec((1, 2, 1)), 1500)
    loss = ReconstructionLoss(
        ReconstructionConfig(1.0, 4), networks, low=(-1,), high=(1,), omega_0=2.0
    )
    assert loss.targets(networks).square().mean() == pytest.approx(1)


def test_networks_with_equal_values_are_rejected() -> None:
    networks = random_batch(SPEC, 1)
    with pytest.raises(ValueError, match=r"The 1 training networks .* reconstruction\.weight=1\.0"):
        ReconstructionLoss(ReconstructionConfig(1.0, 2), networks, **AREA, omega_0=2.0)


def test_zero_weight_adds_no_outputs() -> None:
    assert ReconstructionConfig(0.0, 14).num_values((2, 5, 1)) == 0
    assert ReconstructionConfig(0.1, 14).num_values((2, 5, 1)) == 196


@pytest.mark.parametrize("embeds_output", [False, True])
def test_model_reconstructs_only_in_training(embeds_output: bool) -> None:
    net = SignDWSNet(SPEC, out_features=3 + 7, hidden_channels=4)
    layer = torch.nn.Linear(3, 2)
    model = WeightSpaceModel(SPEC, net, layer, embeds_output=embeds_output, num_reconstructed=7)
    networks = random_batch(SPEC, 6).map(lambda t: t.float())
    outputs = model.train()(networks)
    predictions, reconstructed = model.split(outputs)
    assert predictions.shape == (6, 2)
    assert reconstructed.shape == (6, 7)
    torch.testing.assert_close(model.eval()(networks), predictions)
    assert model.embed(networks).shape == (6, 3 if embeds_output else 3 * 16)


def test_targets_are_values_of_augmented_networks(sine_zoo: Zoo, tmp_path: Path) -> None:
    augment, config = AugmentConfig(noise=0.5), ReconstructionConfig(1.0, 16)
    model, _ = run_training(
        sine_zoo, tmp_path, num_epochs=1, reconstruction=config, augment=augment,
        optim=OptimConfig(lr=1e-12),
    )  # fmt: skip
    train_weights = sine_zoo.split("train").weights()
    loss = ReconstructionLoss(config, train_weights, low=(-1.0,), high=(1.0,), omega_0=30.0)
    order, draws = (torch.Generator().manual_seed(derive_seed(0, i)) for i in (1, 2))
    losses = []
    for rows in torch.randperm(train_weights.batch_size, generator=order).split(8):
        std = model.standardize.std
        networks, _ = Augmentations(augment).apply(train_weights[rows], draws, layer_std=std)
        _, reconstructed = model.split(model.train()(networks))
        losses.append(mse_loss(reconstructed, loss.targets(networks)).item())
    (row,) = RunDir(tmp_path).metrics()
    assert row["train_drawing_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize("contrastive", [False, True])
def test_reconstruction_loss_decreases_in_training(
    contrastive: bool, sine_zoo: Zoo, tmp_path: Path
) -> None:
    task = {"task": Contrastive(out_features=3), "augment": AugmentConfig(noise=0.01)}
    config = ReconstructionConfig(1.0, 16)
    model, _ = run_training(
        sine_zoo, tmp_path, num_epochs=20, reconstruction=config, **(task if contrastive else {})
    )
    rows = RunDir(tmp_path).metrics()
    assert rows[-1]["train_drawing_loss"] < 0.9 * rows[0]["train_drawing_loss"]
    assert model.num_reconstructed == 16
