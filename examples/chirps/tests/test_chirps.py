"""Tests that custom signals, tasks, metanets and augmentations should pass."""

from __future__ import annotations

import torch
from torch import nn

from chirps import ChirpSignals, GatedNet, LogRegression, Reflect
from dws.inr import siren_apply
from dws.signals import CheckedSignals
from dws.tasks import Task
from dws.weightspace import Permutation, WeightBatch, WeightSpaceSpec, assert_invariant

SPEC = WeightSpaceSpec((1, 5, 6, 1))


def random_networks() -> WeightBatch:
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(4, SPEC.num_params, 1, generator=generator, dtype=torch.float64)
    return WeightBatch.from_flat(SPEC, flat)


def test_the_order_of_neurons_does_not_matter() -> None:
    net = GatedNet(SPEC, out_features=2).double()
    for parameter in net.parameters():  # biases start at 0, which hides mistakes
        nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    permutation = Permutation.random(SPEC, torch.Generator().manual_seed(2))
    assert_invariant(net, random_networks(), permutation)


def test_a_reflected_network_shows_the_reflected_signal() -> None:
    networks, points = random_networks(), torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    reflected = Reflect(probability=1.0)(networks, torch.Generator())
    torch.testing.assert_close(siren_apply(reflected, points), siren_apply(networks, -points))


def test_the_signals_are_as_dws_expects() -> None:
    signals = CheckedSignals(ChirpSignals())
    ids = signals.split(limit=30)["test"]
    assert signals.values(ids).shape == (3, 256, 1)
    assert all(1 <= rate <= 16 for rate in signals.labels(ids)["rate"].tolist())


def test_the_task_is_exact_for_exact_predictions() -> None:
    task = LogRegression()
    assert isinstance(task, Task)
    rates = torch.tensor([1.0, 2.0, 4.0])
    exact = {"log_error": 0.0, "within_10_percent": 1.0}
    assert task.metrics(rates[:, None], rates) == exact
    assert task.output_layer(rates)(torch.zeros(1, 1)).item() == 2.0
