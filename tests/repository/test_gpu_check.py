"""The parts of ``make gpu-check`` that run on a CPU."""

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
def test_gpu_check_fails_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check"])
    with pytest.raises(SystemExit, match=r"^gpu-check: no CUDA device found, nothing"):
        gpu_check.main()


def test_gpu_check_compares_fits() -> None:
    assert [row["passed"] for row in gpu_check.compare_fits(CPU, SMALL)] == [True] * 3


def test_gpu_check_fails_without_the_fused_kernel() -> None:
    assert not gpu_check.check_fused(CPU)["passed"]


def test_gpu_check_compares_trainings() -> None:
    weights, _ = gpu_check.fit(16, CPU, num_steps=20)
    data = LabelledNetworks(weights, gpu_check.images(16)[1])
    assert [row["passed"] for row in gpu_check.compare_trainings(data, SMALL)] == [True] * 4


def test_images_of_the_gpu_check_have_different_classes() -> None:
    values, classes = gpu_check.images(20)
    assert values.shape == (20, 784, 1)
    assert values.min() >= 0
    assert values.max() <= 1
    assert classes.bincount().tolist() == [2] * 10
