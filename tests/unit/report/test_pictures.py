from __future__ import annotations

import math
from pathlib import Path

import pytest

from dws.report.pictures import curve_picture

LABELS = {"x_label": "x", "y_label": "y"}


@pytest.mark.parametrize("log_axes", ["", "x", "xy"])
def test_learning_curve_states_missing_seeds(log_axes: str, tmp_path: Path) -> None:
    series = {"a": ([1.0, 2.0, 3.0], [[1.0, math.nan], [math.inf], [0.5, 0.0]])}
    (picture,) = curve_picture(tmp_path / "c.svg", series, "caption", log_axes=log_axes, **LABELS)
    assert "a at 1 (1 of 2 seeds), a at 2 (1 of 1 seeds)" in picture.caption
    assert ("a at 3 (1 of 2 seeds)" in picture.caption) == (log_axes == "xy")
    assert "nan" not in (tmp_path / "c.svg").read_text().lower()


@pytest.mark.parametrize("values", [[math.nan], [math.inf, math.nan], []])
def test_empty_learning_curve_is_not_drawn(values: list[float], tmp_path: Path) -> None:
    series = {"a": ([1.0, 2.0], [values, values])}
    assert list(curve_picture(tmp_path / "c.svg", series, "caption", **LABELS)) == []
    assert list(tmp_path.iterdir()) == []
