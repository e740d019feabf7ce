from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from dws.evaluation.calibration import (
    accuracy_by_psnr,
    calibration,
    confidences,
    confident_mistakes,
)


def logits(*probabilities: float) -> torch.Tensor:
    """Logits of two classes, the first of which has the given probability."""
    first = torch.tensor(probabilities)
    return torch.stack([first, 1 - first], dim=1).log()


def test_expected_calibration_error_by_hand() -> None:
    outputs = logits(0.85, 0.85, 0.85, 0.85, 0.55)
    is_correct = torch.tensor([True, True, True, False, True])
    result = calibration(outputs, is_correct, num_bins=10)
    assert result is not None
    low, high = result["bins"]
    assert (low["n"], low["accuracy"], high["n"], high["accuracy"]) == (1, 1.0, 4, 0.75)
    assert (low["low"], low["high"]) == (0.5, 0.6)
    assert low["confidence"] == pytest.approx(0.55)
    assert result["expected_error"] == pytest.approx((4 * 0.10 + 1 * 0.45) / 5)


@given(st.integers(0, 2**31))
def test_bins_are_those_of_scikit_learn(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(60, 2, generator=generator)
    is_correct = torch.rand(60, generator=generator) < 0.7
    result = calibration(outputs, is_correct, num_bins=15)
    assert result is not None
    accuracy, confidence = calibration_curve(
        is_correct.numpy(), confidences(outputs).numpy(), n_bins=15
    )
    assert [each["accuracy"] for each in result["bins"]] == pytest.approx(accuracy.tolist())
    assert [each["confidence"] for each in result["bins"]] == pytest.approx(confidence.tolist())


def test_certain_predictions_are_in_the_last_interval() -> None:
    outputs = torch.tensor([[200.0, 0.0], [200.0, 0.0]])
    result = calibration(outputs, torch.tensor([True, False]))
    assert result is not None
    (only,) = result["bins"]
    assert (only["high"], only["confidence"], result["expected_error"]) == (1.0, 1.0, 0.5)


def test_outputs_that_are_not_finite_have_no_confidence() -> None:
    outputs = logits(0.9, 0.8)
    outputs[0, 1] = torch.nan
    is_correct = torch.tensor([False, False])
    result = calibration(outputs, is_correct)
    assert result is not None
    assert [each["n"] for each in result["bins"]] == [1]
    assert confident_mistakes(outputs, is_correct).tolist() == [1]
    assert calibration(torch.full((2, 3), torch.inf), is_correct) is None


def test_mistakes_are_ordered_by_confidence() -> None:
    outputs = logits(0.6, 0.99, 0.7, 0.95, 0.8)
    is_correct = torch.tensor([False, True, False, False, False])
    assert confident_mistakes(outputs, is_correct).tolist() == [3, 4, 2, 0]
    assert confident_mistakes(outputs, is_correct, count=2).tolist() == [3, 4]
    assert confident_mistakes(outputs, torch.ones(5, dtype=torch.bool)).tolist() == []


def test_accuracy_by_psnr_has_equal_bins() -> None:
    quality = torch.tensor([30.0, 10.0, 20.0, 40.0])
    is_correct = torch.tensor([True, False, True, True])
    assert accuracy_by_psnr(is_correct, quality, num_bins=2) == [
        {"low": 10.0, "high": 20.0, "n": 2, "accuracy": 0.5},
        {"low": 30.0, "high": 40.0, "n": 2, "accuracy": 1.0},
    ]
