"""Labels of every dtype that a zoo may have."""

from __future__ import annotations

import pytest
import torch

from dws.tasks import Classification, Regression

WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_and_bool_are_classes_and_targets(dtype: torch.dtype) -> None:
    labels = {"label": torch.tensor([0, 1, 1, 0]).to(dtype)}
    classes = Classification(num_classes=2).targets(labels)
    assert classes.dtype == torch.int64
    assert classes.tolist() == [0, 1, 1, 0]
    numbers = Regression(label="label").targets(labels)
    assert numbers.dtype == torch.float32
    assert numbers.tolist() == [0, 1, 1, 0]


def test_negative_classes_say_what_was_found_and_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"got -1 to 8\. Classes start at 0"):
        Classification().targets({"label": torch.arange(-1, 9)})
