from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tests.conftest import Pictures

from dws.evaluation import held_out
from dws.evaluation.held_out import _details, _plot, _plot_mistakes
from dws.inr.fit import psnr
from dws.plots import figure
from dws.tasks import Classification, Contrastive, Regression
from dws.zoo import Zoo


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


def test_mistakes_are_drawn_from_the_weights(
    picture_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(
        held_out, "plot_functions", lambda file, values, titles, **_: drawn.append((values, titles))
    )
    split = picture_zoo.split("test")
    targets = split.labels["label"]
    outputs = torch.nn.functional.one_hot(targets, 10).float()
    assert list(_plot_mistakes(tmp_path, outputs, targets, split)) == []
    outputs[-1] = 0
    outputs[-1, (targets[-1] + 1) % 10] = math.log(9)
    (file,) = _plot_mistakes(tmp_path, outputs, targets, split)
    ((values, titles),) = drawn
    true = int(targets[-1])
    assert titles == [f"{true} as {(true + 1) % 10}\n50.0 %"]
    assert file.name == "mistakes.png"
    original = Pictures().values(torch.tensor([split.start + len(split) - 1]))
    error = (values - original).square().mean()
    torch.testing.assert_close(error, split.column("mse")[-1], rtol=1e-3, atol=0)


def test_accuracy_by_psnr_needs_a_known_psnr(
    picture_zoo: Zoo, classifier_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Classification(num_classes=10)
    split = picture_zoo.split("test")
    targets = split.labels["label"]
    outputs = torch.nn.functional.one_hot(targets, 10).float()
    bins = _details(task, outputs, targets, split)["accuracy_by_psnr"]
    assert [each["accuracy"] for each in bins] == [1.0] * len(bins)
    assert bins[0]["low"] == pytest.approx(float(psnr(split.column("mse")).min()))
    assert sum(each["n"] for each in bins) == len(targets)
    others = classifier_zoo.split("test")  # has no column mse
    assert "accuracy_by_psnr" not in _details(task, outputs, targets, others)
    unknown = {"mse": torch.full((len(split),), math.nan)}  # as in imported zoos
    monkeypatch.setattr(type(split), "column", lambda self, name: unknown[name])
    assert "accuracy_by_psnr" not in _details(task, outputs, targets, split)
