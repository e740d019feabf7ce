from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import matplotlib.image
import pytest
import torch
from torch import Tensor

from dws.report import thumbnails
from dws.report.thumbnails import Thumbnails, rows_to_draw
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo


@dataclass(frozen=True)
class Split:
    networks: WeightBatch

    def __len__(self) -> int:
        return len(self.networks.weights[0])

    def weights(self) -> WeightBatch:
        return self.networks


def zoo_of(weights: WeightBatch, grid: list[int]) -> Zoo:
    """A zoo with all networks in the test split."""
    domain = SimpleNamespace(low=[-1.0] * len(grid), high=[1.0] * len(grid), grid=grid)
    inr = SimpleNamespace(omega_0=1.0, output_offset=0.5)
    return cast(Any, SimpleNamespace(split=lambda _: Split(weights), domain=domain, inr=inr))


def networks(dims: tuple[int, ...], count: int) -> WeightBatch:
    generator = torch.Generator().manual_seed(0)
    spec = WeightSpaceSpec(dims)
    return WeightBatch.from_flat(spec, torch.randn(count, spec.num_params, 1, generator=generator))


def pictures(made: Thumbnails) -> Tensor:
    """The images of the sheet, (n, height, width, 3), from 0 to 255."""
    content = base64.b64decode(made.source.split(",")[1])
    sheet = torch.tensor(matplotlib.image.imread(io.BytesIO(content))[..., :3])
    rows = sheet.unflatten(0, (-1, made.height)).unflatten(2, (-1, made.width))
    return (255 * rows.transpose(1, 2).flatten(0, 1)[: len(made.rows)]).round()


def values(weights: WeightBatch, number: int, *point: float) -> Tensor:
    """The values of a network, computed by its formula."""
    x = torch.tensor(point)
    for layer, (weight, bias) in enumerate(zip(weights.weights, weights.biases, strict=True)):
        x = x @ weight[number, ..., 0] + bias[number, :, 0]
        x = x.sin() if layer < len(weights.weights) - 1 else x + 0.5
    return x


@pytest.mark.parametrize("channels", [1, 3])
def test_thumbnail_is_the_rendering_of_its_network(channels: int) -> None:
    weights = networks((2, 8, channels), 60)  # more than one row of the sheet
    weights = WeightBatch(weights.weights, tuple(0.1 * b for b in weights.biases))
    made = Thumbnails.render(zoo_of(weights, [5, 7]), "a")
    assert (made.height, made.width) in {(5, 7), (7, 5)}
    rendered = pictures(made)
    assert len(rendered) == 60
    everything = torch.stack(
        [
            values(weights, n, -1 + 2 * column / (made.width - 1), -1 + 2 * row / (made.height - 1))
            for n in (0, 59)
            for row in range(made.height)
            for column in range(made.width)
        ]
    ).view(2, -1, channels)
    for number, expected in zip((0, 59), everything, strict=True):
        shown = rendered[number, ..., :channels].reshape(-1, channels)
        order = expected.flatten().argsort()
        assert (shown.flatten()[order].diff() >= 0).all()  # brightness increases with the value
        assert shown.std() > 10


def test_volume_is_shown_by_its_middle_slice() -> None:
    weights = networks((3, 8, 1), 2)
    made = Thumbnails.render(zoo_of(weights, [5, 5, 5]), "a")
    steps = torch.linspace(-1, 1, 5).tolist()
    expected = torch.stack([values(weights, 1, x, y, 0.0) for y in steps for x in steps])
    shown = pictures(made)[1, ..., 0].flatten()
    assert (shown[expected.flatten().argsort()].diff() >= 0).all()


def test_function_of_one_input_is_drawn_as_a_curve() -> None:
    weights = networks((1, 8, 1), 3)
    made = Thumbnails.render(zoo_of(weights, [30]), "a")
    dark = pictures(made)[2, ..., 0].argmin(dim=0).float()  # row of the curve in each column
    last = made.width - 1
    expected = torch.stack([values(weights, 2, 2 * x / last - 1) for x in range(made.width)])[:, 0]
    assert torch.corrcoef(torch.stack([dark, -expected]))[0, 1] > 0.99


def test_evenly_spaced_networks_are_drawn_if_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert rows_to_draw(3) == [0, 1, 2]
    assert len(rows_to_draw(10_000)) == len(set(rows_to_draw(10_000))) == 2000
    monkeypatch.setattr(thumbnails, "MAX_NETWORKS", 3)
    assert rows_to_draw(9) == [0, 4, 8]
    weights = networks((1, 8, 1), 9)
    rendered = pictures(Thumbnails.render(zoo_of(weights, [30]), "a"))
    monkeypatch.setattr(thumbnails, "MAX_NETWORKS", 9)
    every = pictures(Thumbnails.render(zoo_of(weights[torch.tensor([0, 4, 8])], [30]), "a"))
    assert torch.equal(rendered, every)


def test_nonfinite_values_are_drawn() -> None:
    weights = networks((2, 8, 1), 2)
    weights.weights[0][0] = float("nan")
    assert len(pictures(Thumbnails.render(zoo_of(weights, [4, 4]), "a"))) == 2
