from __future__ import annotations

import pytest
import torch

from dws.tasks import Classification, Regression


def test_accuracy_counts_the_largest_logit() -> None:
    outputs = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 9.0]])
    metrics = Classification(num_classes=2).metrics(outputs, torch.tensor([0, 1, 1, 1]))
    assert metrics["accuracy"] == 0.75
    outputs[0] = torch.nan  # which argmax takes for the largest
    assert Classification(num_classes=2).scores(outputs, torch.tensor([0, 1, 1, 1])).sum() == 2


@pytest.mark.parametrize("classes", [[0, 10], [-1, 3]])
def test_classes_out_of_range_are_refused(classes: list[int]) -> None:
    with pytest.raises(
        ValueError, match=r"expected label from 0 to 9, got .* set task.num_classes"
    ):
        Classification().targets({"label": torch.tensor(classes)})


def test_fractions_are_no_classes() -> None:
    with pytest.raises(ValueError, match=r"expected whole numbers for the label label, got torch"):
        Classification().targets({"label": torch.tensor([0.5, 1.0])})


def test_a_missing_label_lists_those_there() -> None:
    with pytest.raises(
        ValueError, match="expected a zoo with the label 'label', got one with freq"
    ):
        Classification().targets({"frequency": torch.zeros(1)})


def test_regression_reports_in_the_units_of_the_label() -> None:
    targets = torch.tensor([1.0, 3.0, 5.0, 7.0])
    metrics = Regression().metrics(targets.unsqueeze(1) + 2, targets)
    assert metrics["mse"] == pytest.approx(4)
    assert metrics["r2"] == pytest.approx(1 - 4 / 5)


def test_regression_starts_at_the_mean_and_spread_of_the_targets() -> None:
    layer = Regression().output_layer(torch.tensor([2.0, 4.0, 6.0]))
    torch.testing.assert_close(layer(torch.tensor([0.0, 1.0])), torch.tensor([4.0, 6.0]))


def test_targets_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="expected values of frequency that differ, got 1"):
        Regression().output_layer(torch.ones(5))


def test_targets_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite values of frequency"):
        Regression().targets({"frequency": torch.tensor([1.0, float("nan")])})
