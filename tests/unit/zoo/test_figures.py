"""Figures of zoos with signals other than grey images in [0, 1]."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dws.inr import FitConfig, SirenConfig
from dws.plots import functions
from dws.zoo import Zoo, ZooConfig, ZooSplit, build_zoo
from dws.zoo.figures import plot_reconstructions, plot_rows


class Ramps:
    """Values that increase from -1 to 1 along the points."""

    name = "ramps"

    def __init__(self, grid: tuple[int, ...], num_outputs: int) -> None:
        self.grid, self.num_outputs = grid, num_outputs
        self.coordinates = torch.cartesian_prod(*(torch.linspace(-1, 1, n) for n in grid))

    def split(self, limit: int | None) -> dict[str, Tensor]:
        return {name: torch.tensor([i]) for i, name in enumerate(("train", "val", "test"))}

    def values(self, ids: Tensor) -> Tensor:
        ramp = torch.linspace(-1, 1, len(self.coordinates))
        return ramp[None, :, None].repeat(len(ids), 1, self.num_outputs)

    def labels(self, ids: Tensor) -> dict[str, Tensor]:
        return {}

    def describe(self) -> dict[str, object]:
        return {}


@pytest.mark.parametrize(
    ("grid", "num_outputs", "shown"),
    [
        ((4, 6), 1, (4, 6, 1)),
        ((4, 6), 2, (4, 6, 1)),
        ((4, 6), 3, (4, 6, 3)),
        ((2, 4, 6), 5, (4, 6, 1)),
    ],
)
def test_figure_supports_every_kind_of_signal(
    grid: tuple[int, ...],
    num_outputs: int,
    shown: tuple[int, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Figure] = []
    monkeypatch.setattr(functions, "save_figure", lambda figure, path: made.append(figure))
    signals = Ramps(grid, num_outputs)
    zoo: Zoo = build_zoo(
        tmp_path / "zoo", signals, zoo=ZooConfig(), inr=SirenConfig(hidden=(4,)),
        fit=FitConfig(num_steps=1), preset="custom",
    )  # fmt: skip
    plot_reconstructions(tmp_path / "x.png", zoo, signals)
    if len(grid) == 2:
        plot_rows(tmp_path / "y.png", zoo, [0, 2])
    for figure in made:
        for axes in figure.axes:
            assert axes.images[0].get_array().shape in (shown, shown[:2])
    original = made[0].axes[0].images[0].get_array()
    if len(grid) == 2:
        assert (original.min(), original.max()) == pytest.approx((0, 1))  # including the dark half


@pytest.mark.parametrize(
    ("label", "title"),
    [
        (torch.tensor([1000]), "label 1000"),
        (torch.tensor([7], dtype=torch.uint8), "label 7"),
        (torch.tensor([True]), "label 1"),
        (torch.tensor([0.12345]), "label 0.123"),
    ],
)
def test_figure_titles_contain_full_class_numbers(
    label: Tensor, title: str, sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Figure] = []
    monkeypatch.setattr(functions, "save_figure", lambda figure, path: made.append(figure))
    monkeypatch.setattr(ZooSplit, "labels", {"label": label})
    plot_rows(tmp_path / "x.png", sine_zoo, [0])
    assert made[0].axes[0].get_title().splitlines()[0] == f"0: {title}"
