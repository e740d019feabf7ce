from __future__ import annotations

import pytest
import torch

from dws.tasks import Classification


def test_accuracy_uses_the_largest_logit() -> None:
    outputs = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 9.0]])
    metrics = Classification(num_classes=2).metrics(outputs, torch.tensor([0, 1, 1, 1]))
    assert metrics["accuracy"] == 0.75
    outputs[0] = torch.nan  # argmax treats NaN as the largest
    assert Classification(num_classes=2).scores(outputs, torch.tensor([0, 1, 1, 1])).sum() == 2


@pytest.mark.parametrize("classes", [[0, 10], [-1, 3]])
def test_classes_out_of_range_are_rejected(classes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"expected label from 0 to 9, got .* task.num_classes"):
        Classification().targets({"label": torch.tensor(classes)})


def test_fractional_labels_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"label label must have integer values, .* torch\.float"):
        Classification().targets({"label": torch.tensor([0.5, 1.0])})


def test_missing_label_lists_available_labels() -> None:
    with pytest.raises(ValueError, match="no label 'label'; its labels are freq"):
        Classification().targets({"frequency": torch.zeros(1)})
