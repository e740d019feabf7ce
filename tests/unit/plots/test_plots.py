from __future__ import annotations

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from dws.plots import (
    figure,
    functions,
    images,
    plot_confusion_matrix,
    plot_curves,
    plot_embedding,
    plot_embeddings,
    plot_images,
    plot_predicted_against_true,
    plot_rendered_and_reconstructed,
)


def test_confusion_matrix_of_an_empty_class_has_no_fractions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr(figure, "save_figure", lambda made, path: figures.append(made))
    plot_confusion_matrix(tmp_path / "x.png", torch.tensor([[0, 0], [1, 3]]))
    axes = figures[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["no test networks", "25", "75"]


@pytest.mark.parametrize("channels", [1, 3])
def test_image_grid_has_one_row_for_each_title(
    channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(images, "save_figure", lambda made, path: figures.append(made))
    values = torch.rand(3, 4, 5, channels)
    broken = torch.full_like(values, torch.nan)
    plot_images(tmp_path / "x.png", {"first": 2 * values - 0.5, "not finite": broken})
    axes = figures[0].axes
    assert [axes[row].get_ylabel() for row in (0, 3)] == ["first", "not finite"]
    shown = torch.from_numpy(axes[2].get_images()[0].get_array().data)
    torch.testing.assert_close(shown, (2 * values[2] - 0.5).clamp(0, 1).expand(4, 5, 3))


def test_reconstructions_are_below_renderings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(functions, "save_figure", lambda made, path: drawn.append(made))
    rendered, reconstructed = torch.rand(10, 6, 6, 1), torch.rand(10, 3, 3, 1)
    names, predictions = [f"n{i}" for i in range(10)], [f"p{i}" for i in range(10)]
    plot_rendered_and_reconstructed(tmp_path / "x.png", rendered, reconstructed, names, predictions)
    panels = drawn[0].axes  # four rows of eight
    titles = [axes.get_title() for axes in panels]
    assert titles == [*names[:8], *predictions[:8], *names[8:], *[""] * 6, *predictions[8:],
                      *[""] * 6]  # fmt: skip
    shown = torch.from_numpy(panels[25].get_images()[0].get_array().data)  # below n9
    torch.testing.assert_close(shown, reconstructed[9, :, :, 0])


def test_reconstructions_of_one_input_are_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(functions, "save_figure", lambda made, path: drawn.append(made))
    rendered, reconstructed = torch.rand(1, 6, 1), torch.rand(1, 3, 1)
    plot_rendered_and_reconstructed(tmp_path / "x.png", rendered, reconstructed, ["n"], ["p"])
    lines = [axes.get_lines()[0].get_ydata() for axes in drawn[0].axes]
    assert [len(line) for line in lines] == [6, 3]
    assert list(lines[1]) == reconstructed.flatten().tolist()


@pytest.mark.parametrize("name", ["$x^$", r"$\frac$", "_hidden", "y" * 300, "日本", "a\nb"])
def test_plots_accept_any_name(name: str, tmp_path: Path) -> None:
    plot_curves(tmp_path / "c.png", {name: ([1.0], [[1.0]])}, x_label=name, y_label=name)
    plot_embedding(tmp_path / "e.png", torch.randn(4, 2), torch.randn(4), name)
    plot_embeddings(tmp_path / "f.png", {name: torch.randn(4, 2)}, torch.arange(4), name)
    plot_predicted_against_true(tmp_path / "p.png", torch.randn(4), torch.randn(4), name)
    plot_images(tmp_path / "i.png", {name: torch.rand(2, 3, 3, 1)})
    curve = torch.rand(1, 3, 1)
    plot_rendered_and_reconstructed(tmp_path / "r.png", curve, curve, [name], [name])
