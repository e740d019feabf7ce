"""Labels of every dtype that zoos support."""

from __future__ import annotations

import pytest
import torch

from dws.tasks import Classification, Regression

WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


@pytest.mark.parametrize("dtype", WHOLE)
def test_integers_and_booleans_are_classes_and_targets(dtype: torch.dtype) -> None:
    labels = {"label": torch.tensor([0, 1, 1, 0]).to(dtype)}
    classes = Classification(num_classes=2).targets(labels)
    assert classes.dtype == torch.int64
    assert classes.tolist() == [0, 1, 1, 0]
    numbers = Regression(label="label").targets(labels)
    assert numbers.dtype == torch.float32
    assert numbers.tolist() == [0, 1, 1, 0]


def test_negative_classes_are_rejected_with_a_remedy() -> None:
    with pytest.raises(ValueError, match=r"got -1 to 8\. Classes start at 0"):
        Classification().targets({"label": torch.arange(-1, 9)})
