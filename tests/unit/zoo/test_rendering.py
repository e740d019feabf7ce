"""Warnings about imported INRs that are fitted with other settings than the manifest states."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dws.inr import FitConfig, SirenConfig, init_siren
from dws.inr.fit import fit_inrs, psnr
from dws.io.content import write_json
from dws.signals import SineSignals
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, import_dwsnets
from dws.zoo.manifest import Domain
from dws.zoo.rendering import grid_points, plausibility_warning

SIZE = 20  # points along each axis
IMAGE = Domain(low=[-1, -1], high=[1, 1], grid=[SIZE, SIZE])


def strokes(num: int, channels: int) -> Tensor:
    """Digit-like images: bright curves on black, (num, P, channels)."""
    points = grid_points(IMAGE, IMAGE.grid)
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(num, channels, 2, generator=generator) - 0.5
    radii = 0.3 + 0.4 * torch.rand(num, channels, generator=generator)
    distance = (points[None, :, None] - centres[:, None]).norm(dim=-1)  # (num, P, channels)
    return (1.5 - 6 * (distance - radii[:, None]).abs()).clamp(0, 1)


@cache
def fitted(kind: str) -> WeightBatch:
    """INRs of eight signals with ω0 = 30 and, for images, an output offset of 0.5."""
    if "blank" in kind:  # nearly constant except for noise
        weights, biases = (list(t) for t in (fitted("images").weights, fitted("images").biases))
        is_blank = (torch.arange(8) < (8 if kind == "blank" else 5))[:, None, None]
        weights[0] = torch.where(is_blank[..., None], 30 * weights[0], weights[0])
        weights[-1] = torch.where(is_blank[..., None], 0.01 * weights[-1], weights[-1])
        biases[-1] = torch.where(is_blank, 0.01 * biases[-1], biases[-1])
        return WeightBatch(tuple(weights), tuple(biases))
    if kind == "sines":
        signals = SineSignals(num_points=200, num_train=6, num_val=1, num_test=1)
        points, targets = signals.coordinates, signals.values(torch.arange(8))
    else:
        points = grid_points(IMAGE, IMAGE.grid)
        targets = strokes(8, 3 if kind == "colours" else 1)
    if kind == "symmetric":  # like the NFN data
        targets = 2 * targets - 1
    spec = WeightSpaceSpec((points.shape[1], 32, 32, targets.shape[-1]))
    result = fit_inrs(
        init_siren(spec, range(8)), points, targets, omega_0=30.0, output_offset=offset(kind),
        config=FitConfig(num_steps=200, learning_rate=5e-3, stop_mse=3e-3),
    )  # fmt: skip
    assert float(psnr(result.loss).median()) > 20
    return result.weights


def offset(kind: str) -> float:
    return 0.0 if kind in ("symmetric", "sines") else 0.5


def imported(
    kind: str, folder: Path, *, factor: float = 1.0, shift: float = 0.0,
    grid: tuple[int, ...] | None = None, domain: tuple[float, float] | None = None,
) -> Zoo:  # fmt: skip
    """Import the INRs with an ω0 that is too large by a factor."""
    weights = fitted(kind)
    names = []
    for row in range(8):
        state = {}
        for i, (weight, bias) in enumerate(zip(weights.weights, weights.biases, strict=True)):
            state[f"seq.{i}.weight"] = weight[row, :, :, 0].T
            state[f"seq.{i}.bias"] = bias[row, :, 0]
        names.append(f"{row}.pth")
        torch.save(state, folder / names[-1])
    sizes = {"train": names[:6], "val": names[6:7], "test": names[7:]}
    write_json(
        folder / "splits.json",
        {s: {"path": paths, "label": [0] * len(paths)} for s, paths in sizes.items()},
    )
    is_sine = kind == "sines"
    return import_dwsnets(
        folder / "splits.json", folder / "zoo",
        inr=SirenConfig(omega_0=30 * factor, output_offset=offset(kind) + shift),
        grid=grid or ((200,) if is_sine else (SIZE, SIZE)),
        domain=domain or ((-math.pi, math.pi) if is_sine else (-1, 1)),
    )  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["images", "colours", "symmetric", "sines", "blank", "mostly blank"]
)
def test_correct_rendering_settings_raise_no_warning(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    zoo = imported(kind, tmp_path)
    assert plausibility_warning(zoo) is None
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["images", "colours", "symmetric", "sines", "mostly blank"])
@pytest.mark.parametrize("factor", [30, 10, 1 / 10, 1 / 30])
def test_wrong_omega_0_raises_a_warning(
    kind: str, factor: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(kind, tmp_path, factor=factor)
    printed = capsys.readouterr().out
    assert "warning: these INRs" in printed
    assert f"--omega-0 {30 * factor:g}" in printed
    assert "dws-zoo render" in printed
    assert ("noise" in printed) == (factor > 1)
    assert ("linear" in printed) == (factor < 1)


@pytest.mark.parametrize(
    ("kind", "shift"), [("images", -0.5), ("images", 0.5), ("colours", 0.5), ("symmetric", 0.5)]
)
def test_wrong_output_offset_raises_a_warning(
    kind: str, shift: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(kind, tmp_path, shift=shift)
    printed = capsys.readouterr().out
    assert "have values from" in printed
    assert f"--output-offset {offset(kind) + shift:g}" in printed


@pytest.mark.parametrize("grid", [(7, 7), (3, 28), (64, 64)])
def test_different_number_of_points_raises_no_warning(
    grid: tuple[int, int], tmp_path: Path
) -> None:
    assert plausibility_warning(imported("images", tmp_path, grid=grid)) is None


def test_rendering_uses_the_domain_of_the_manifest(tmp_path: Path) -> None:
    zoo = imported("images", tmp_path, domain=(-30, 30))
    assert "noise" in str(plausibility_warning(zoo))
    assert "--domain -30 30" in str(plausibility_warning(zoo))


def test_rendering_of_three_inputs_is_not_checked(sine_zoo: Zoo) -> None:
    domain = Domain(low=[0] * 3, high=[1] * 3, grid=[4] * 3)
    manifest = sine_zoo.manifest.model_copy(update={"domain": domain})
    assert plausibility_warning(Zoo(sine_zoo.path, manifest)) is None


def test_last_axis_of_grid_points_is_the_fastest() -> None:
    points = grid_points(Domain(low=[0, 10], high=[2, 11], grid=[2, 3]), (2, 3))
    assert points.tolist() == [[0, 10], [1, 10], [2, 10], [0, 11], [1, 11], [2, 11]]


def test_imported_manifest_has_the_same_warning(tmp_path: Path) -> None:
    zoo = imported("images", tmp_path)
    manifest = json.loads((zoo.path / "manifest.json").read_text())
    assert manifest["domain"] == {"low": [-1.0, -1.0], "high": [1.0, 1.0], "grid": [SIZE, SIZE]}
