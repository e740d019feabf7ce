from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from tests.unit.report.test_sections import report_data, result
from torch import Tensor

from dws.evaluation.result import EmbeddingScores
from dws.report.embeddings import EmbeddingFigure, embedding_figure
from dws.report.raw_weights import RawWeights

POINTS = torch.tensor([[0.0, 0.0], [10.0, 1.0], [5.0, 2.0]])


def figure(folder: Path, targets: Tensor, *outputs: Tensor, **more: Any) -> EmbeddingFigure:
    """The figure of methods a, b, ... with these outputs."""
    runs = []
    for name, output in zip("abc", outputs, strict=False):
        (folder / name).mkdir()
        content = {"outputs": output, "targets": targets, "tsne": POINTS}
        save_file(content, folder / name / "predictions.safetensors")
        runs.append(result("mine", name, 0.5, folder=str(folder / name)))
    shown = report_data(*runs)
    for name, parts in more.items():
        getattr(shown, name).update(parts)
    (folder / "pictures").mkdir()
    made = embedding_figure(shown, "mine", folder / "pictures")
    assert made is not None
    return made


def test_predicted_class_is_the_largest_logit_or_none_for_nan(tmp_path: Path) -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [math.nan, 1.0, 2.0], [3.0, 2.0, 1.0]])
    made = figure(tmp_path, torch.tensor([1, 0, 2]), logits)
    (panel,) = made.data["panels"]
    assert panel["predictions"] == [[1, None, 0]]
    (label,) = made.data["labels"]
    assert (label["isClass"], label["values"]) == (True, [1, 0, 2])
    assert panel["points"] == [[0, 1000], [1000, 500], [500, 0]]  # y points down


def test_predicted_numbers_are_the_outputs(tmp_path: Path) -> None:
    outputs = torch.tensor([[0.25], [math.inf], [2.0]])
    made = figure(tmp_path, torch.tensor([0.5, 1.0, 2.0]), outputs)
    assert made.data["panels"][0]["predictions"] == [[0.25, None, 2.0]]
    assert not made.data["labels"][0]["isClass"]


@pytest.mark.parametrize("largest", [1999, 10**9])
def test_integers_outside_the_classes_are_treated_as_numbers(largest: int, tmp_path: Path) -> None:
    made = figure(tmp_path, torch.tensor([1900, largest, 1950]), torch.zeros(3, 1))
    assert not made.data["labels"][0]["isClass"]


def test_more_than_ten_classes_have_different_colours(tmp_path: Path) -> None:
    made = figure(tmp_path, torch.tensor([0, 10, 11]), torch.zeros(3, 12))
    assert len(set(made.data["colours"])) == 12


def test_weights_and_images_of_other_zoos_are_not_shown(tmp_path: Path) -> None:
    parts = {"source": "data:", "height": 2, "width": 2, "columns": 3}
    for zoo, is_shown in (("a", True), ("other", False)):
        folder = tmp_path / zoo
        folder.mkdir()
        scores = EmbeddingScores(neighbours=None, linear_probe=None)
        made = figure(
            folder, torch.tensor([0, 1, 2]), torch.zeros(3, 3),
            raw={"mine": RawWeights(POINTS, scores, zoo)},
            thumbnails={"mine": cast(Any, SimpleNamespace(zoo=zoo, rows=[0, 1, 2], **parts))},
        )  # fmt: skip
        titles = [panel["title"] for panel in made.data["panels"]]
        assert titles == ["a", "Raw weights"] if is_shown else ["a"]
        assert (made.data["thumbnails"] == parts) == is_shown
