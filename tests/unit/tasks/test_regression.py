from __future__ import annotations

import pytest
import torch

from dws.tasks import Regression


def test_regression_reports_in_the_units_of_the_label() -> None:
    targets = torch.tensor([1.0, 3.0, 5.0, 7.0])
    metrics = Regression().metrics(targets.unsqueeze(1) + 2, targets)
    assert metrics["mse"] == pytest.approx(4)
    assert metrics["r2"] == pytest.approx(1 - 4 / 5)


def test_regression_starts_at_the_mean_and_spread_of_the_targets() -> None:
    layer = Regression().output_layer(torch.tensor([2.0, 4.0, 6.0]))
    torch.testing.assert_close(layer(torch.tensor([0.0, 1.0])), torch.tensor([4.0, 6.0]))


def test_targets_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="label frequency is 1 for every training network"):
        Regression().output_layer(torch.ones(5))


def test_targets_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite values of frequency"):
        Regression().targets({"frequency": torch.tensor([1.0, float("nan")])})
