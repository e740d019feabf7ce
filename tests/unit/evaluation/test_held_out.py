from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from dws.evaluation.held_out import _plot
from dws.plots import figure
from dws.tasks import Classification, Contrastive, Regression


def drawn_by_evaluation(folder: Path, outputs: torch.Tensor, *, has_map: bool) -> set[str]:
    task = Classification(num_classes=2) if outputs.shape[1] == 2 else Regression()
    targets = torch.arange(4) % 2 if outputs.shape[1] == 2 else torch.arange(4.0)
    map_2d = torch.randn(4, 2) if has_map else torch.zeros(4, 2)
    pictures = _plot(folder, task, outputs, targets, map_2d)
    assert all(picture.is_file() for picture in pictures)
    return {picture.name for picture in pictures}


@pytest.mark.parametrize("width", [1, 2])
def test_evaluation_omits_empty_figures(width: int, tmp_path: Path) -> None:
    outputs = torch.randn(4, width)
    assert drawn_by_evaluation(tmp_path, outputs, has_map=True) == {"tsne.png", "outcome.png"}
    assert drawn_by_evaluation(tmp_path, outputs, has_map=False) == {"outcome.png"}
    outputs[0] = math.nan
    assert drawn_by_evaluation(tmp_path, outputs, has_map=False) == {"outcome.png"}
    outputs[:] = math.nan
    assert drawn_by_evaluation(tmp_path, outputs, has_map=False) == set()


def test_confusion_matrix_has_a_column_for_nan_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(figure, "save_figure", lambda made, path: figures.append(made))
    outputs = torch.tensor([[1.0, 0.0], [math.nan, 0.0], [0.0, math.nan]])
    _plot(tmp_path, Classification(num_classes=2), outputs, torch.tensor([0, 0, 1]), outputs[:, :0])
    axes = figures[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["50", "0", "50", "0", "0", "100"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "NaN"]


def test_figures_of_labels_have_distinct_files(tmp_path: Path) -> None:
    labels = ("amplitude", "a/b", "a_b", "A_B", "x" * 300, "x" * 299)
    values = torch.randn(4, len(labels))
    pictures = _plot(tmp_path, Contrastive(labels), values, values, torch.randn(4, 2))
    assert len({picture.name.lower() for picture in pictures}) == 2 * len(labels)
    assert all(len(picture.name) < 120 for picture in pictures)
    assert [picture.name for picture in pictures[:2]] == [
        "tsne-amplitude.png", "outcome-amplitude.png",
    ]  # fmt: skip
