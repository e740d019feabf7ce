"""No picture of nothing, and what is left out of one is told."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dws.evaluation import figures
from dws.evaluation.evaluate import _draw
from dws.evaluation.pictures import curve_picture
from dws.tasks import Classification, Contrastive, Regression

LABELS = {"x_label": "x", "y_label": "y"}


@pytest.mark.parametrize("log_axes", ["", "x", "xy"])
def test_a_curve_says_which_seeds_it_is_without(log_axes: str, tmp_path: Path) -> None:
    series = {"a": ([1.0, 2.0, 3.0], [[1.0, math.nan], [math.inf], [0.5, 0.0]])}
    (picture,) = curve_picture(tmp_path / "c.svg", series, "caption", log_axes=log_axes, **LABELS)
    assert "a at 1 (1 of 2 seeds), a at 2 (1 of 1 seeds)" in picture.caption
    assert ("a at 3 (1 of 2 seeds)" in picture.caption) == (log_axes == "xy")
    assert "nan" not in (tmp_path / "c.svg").read_text().lower()


@pytest.mark.parametrize("values", [[math.nan], [math.inf, math.nan], []])
def test_a_curve_of_nothing_is_not_drawn(values: list[float], tmp_path: Path) -> None:
    series = {"a": ([1.0, 2.0], [values, values])}
    assert list(curve_picture(tmp_path / "c.svg", series, "caption", **LABELS)) == []
    assert list(tmp_path.iterdir()) == []


def drawn_by_evaluation(folder: Path, outputs: torch.Tensor, *, has_map: bool) -> set[str]:
    task = Classification(num_classes=2) if outputs.shape[1] == 2 else Regression()
    targets = torch.arange(4) % 2 if outputs.shape[1] == 2 else torch.arange(4.0)
    map_2d = torch.randn(4, 2) if has_map else torch.zeros(4, 2)
    pictures = _draw(folder, task, outputs, targets, map_2d)
    assert all(picture.is_file() for picture in pictures)
    return {picture.name for picture in pictures}


@pytest.mark.parametrize("width", [1, 2])
def test_an_evaluation_draws_no_picture_of_nothing(width: int, tmp_path: Path) -> None:
    outputs = torch.randn(4, width)
    assert drawn_by_evaluation(tmp_path, outputs, has_map=True) == {"tsne.png", "outcome.png"}
    assert drawn_by_evaluation(tmp_path, outputs, has_map=False) == {"outcome.png"}
    outputs[0] = math.nan
    assert drawn_by_evaluation(tmp_path, outputs, has_map=False) == {"outcome.png"}
    outputs[:] = math.nan
    assert drawn_by_evaluation(tmp_path, outputs, has_map=False) == set()


def test_the_matrix_has_no_share_of_a_class_without_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.append(figure))
    figures.confusion_matrix(tmp_path / "x.png", torch.tensor([[0, 0], [1, 3]]))
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["no test networks", "25", "75"]


def test_the_matrix_shows_outputs_that_are_nan_in_a_column_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(figures, "save_figure", lambda figure, path: drawn.append(figure))
    outputs = torch.tensor([[1.0, 0.0], [math.nan, 0.0], [0.0, math.nan]])
    _draw(tmp_path, Classification(num_classes=2), outputs, torch.tensor([0, 0, 1]), outputs[:, :0])
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["50", "0", "50", "0", "0", "100"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "NaN"]


def test_pictures_of_labels_do_not_overwrite_each_other(tmp_path: Path) -> None:
    labels = ("amplitude", "a/b", "a_b", "A_B", "x" * 300, "x" * 299)
    values = torch.randn(4, len(labels))
    pictures = _draw(tmp_path, Contrastive(labels), values, values, torch.randn(4, 2))
    assert len({picture.name.lower() for picture in pictures}) == 2 * len(labels)
    assert all(len(picture.name) < 120 for picture in pictures)
    assert [picture.name for picture in pictures[:2]] == [
        "tsne-amplitude.png", "outcome-amplitude.png",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["$x^$", r"$\frac$", "_hidden", "y" * 300, "日本", "a\nb"])
def test_any_name_can_be_drawn(name: str, tmp_path: Path) -> None:
    figures.curves(tmp_path / "c.png", {name: ([1.0], [[1.0]])}, x_label=name, y_label=name)
    figures.embedding(tmp_path / "e.png", torch.randn(4, 2), torch.randn(4), name)
    figures.embeddings(tmp_path / "f.png", {name: torch.randn(4, 2)}, torch.arange(4), name)
    figures.predicted_against_true(tmp_path / "p.png", torch.randn(4), torch.randn(4), name)
