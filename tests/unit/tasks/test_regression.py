from __future__ import annotations

import pytest
import torch

from dws.tasks import Regression


def test_regression_metrics_are_in_units_of_the_label() -> None:
    targets = torch.tensor([1.0, 3.0, 5.0, 7.0])
    metrics = Regression().metrics(targets.unsqueeze(1) + 2, targets)
    assert metrics["mse"] == pytest.approx(4)
    assert metrics["r2"] == pytest.approx(1 - 4 / 5)


def test_output_layer_has_the_mean_and_deviation_of_targets() -> None:
    layer = Regression().output_layer(torch.tensor([2.0, 4.0, 6.0]))
    torch.testing.assert_close(layer(torch.tensor([0.0, 1.0])), torch.tensor([4.0, 6.0]))


def test_constant_targets_are_rejected() -> None:
    with pytest.raises(ValueError, match="label frequency is 1 for every training network"):
        Regression().output_layer(torch.ones(5))


def test_nonfinite_targets_are_rejected() -> None:
    with pytest.raises(ValueError, match="expected finite values of frequency"):
        Regression().targets({"frequency": torch.tensor([1.0, float("nan")])})
