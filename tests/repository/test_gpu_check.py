"""What ``make gpu-check`` does, as far as a CPU can do it."""

from __future__ import annotations

import sys

import pytest
import torch
from scripts import gpu_check
from scripts.gpu_check import Sizes

from dws.training import LabelledNetworks

CPU = torch.device("cpu")
SMALL = Sizes(
    num_compared=4, compared_steps=20, fit_sizes=(4,), fit_steps=10, num_train=16,
    batch_sizes=(8,), num_epochs=1, channels={"dwsnet": 4, "dwsnet_sign": 4},
)  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    with pytest.raises(SystemExit, match=r"^gpu-check: no CUDA device found, nothing"):
        gpu_check.main()


def test_fits_are_compared() -> None:
    assert [row["passed"] for row in gpu_check.compare_fits(CPU, SMALL)] == [True, True]


def test_trainings_are_compared() -> None:
    weights, _ = gpu_check.fit(16, CPU, num_steps=20)
    data = LabelledNetworks(weights, gpu_check.images(16)[1])
    assert [row["passed"] for row in gpu_check.compare_trainings(data, SMALL)] == [True] * 4


def test_classes_of_the_images_differ() -> None:
    values, classes = gpu_check.images(20)
    assert values.shape == (20, 784, 1)
    assert values.min() >= 0
    assert values.max() <= 1
    assert classes.bincount().tolist() == [2] * 10
