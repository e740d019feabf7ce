"""Conversion of drawings to images with the format of MNIST."""

from __future__ import annotations

import pytest
import torch

from dws.playground.drawing import to_digit


def bar(top: int, left: int, rows: int, columns: int) -> torch.Tensor:
    drawing = torch.zeros(280, 280, dtype=torch.uint8)
    drawing[top : top + rows, left : left + columns] = 255
    return drawing


@pytest.mark.parametrize("shape", [(200, 20), (20, 200), (60, 60), (3, 1), (280, 280)])
def test_longer_side_has_20_pixels(shape: tuple[int, int]) -> None:
    image = to_digit(bar(0, 0, *shape))
    rows, columns = (int((image.amax(dim=axis) > 0).sum()) for axis in (1, 0))
    assert max(rows, columns) == 20
    assert rows / columns == pytest.approx(shape[0] / shape[1], rel=0.2)


def test_centre_of_mass_is_in_the_centre() -> None:
    drawing = bar(10, 30, 200, 20)
    drawing[10:40, 30:130] = 255  # a mirrored 7
    image = to_digit(drawing)
    for axis in (0, 1):
        centre = float(image.sum(dim=1 - axis) @ torch.arange(28.0) / image.sum())
        assert centre == pytest.approx(14, abs=0.51)


def test_image_does_not_depend_on_the_position_of_the_drawing() -> None:
    assert torch.equal(to_digit(bar(0, 0, 150, 30)), to_digit(bar(120, 240, 150, 30)))


def test_edges_are_anti_aliased_and_grey_values_are_in_range() -> None:
    drawing = torch.eye(280).mul(255).to(torch.uint8)
    image = to_digit(drawing)
    assert 0 <= float(image.min()) < float(image.max()) <= 1
    assert len(image.unique()) > 2


def test_empty_drawing_is_rejected() -> None:
    with pytest.raises(ValueError, match="drawing is empty"):
        to_digit(torch.zeros(280, 280, dtype=torch.uint8))
