from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from tests.conftest import random_batch

from dws.inr import siren_apply
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.weightspace.transforms import (
    CoordinateTransform,
    add_noise,
    change_coordinates,
    drop_smallest,
    flip_signs,
    mask_entries,
    permute_neurons,
    shift_phases,
)

SPEC = WeightSpaceSpec((2, 9, 7, 3))
BATCH = random_batch(SPEC, 6)
OMEGA_0 = 3.0
STD = torch.arange(1.0, 7.0)
Augmentation = Callable[[WeightBatch, torch.Generator], WeightBatch]
SAME_FUNCTION: dict[str, Augmentation] = {
    "permute_neurons": permute_neurons,
    "flip_signs": flip_signs,
    "shift_phases": partial(shift_phases, omega_0=OMEGA_0, max_shift=2),
}
OTHER_FUNCTION: dict[str, Augmentation] = {
    "add_noise": partial(add_noise, std=STD),
    "mask_entries": partial(mask_entries, probability=0.3),
    "drop_smallest": partial(drop_smallest, max_quantile=0.5),
    "move_images": lambda batch, generator: CoordinateTransform.random(
        batch, generator, max_angle=30, max_shift=0.2, max_scale=0.1
    ).apply(batch),
}
ALL = {**SAME_FUNCTION, **OTHER_FUNCTION}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def render(batch: WeightBatch, points: torch.Tensor) -> torch.Tensor:
    return siren_apply(batch, points, omega_0=OMEGA_0)


def points(num: int = 20) -> torch.Tensor:
    return torch.rand(num, 2, generator=seeded(), dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("name", ALL)
def test_transforms_are_seeded_and_differ_between_networks(name: str) -> None:
    once, again, other = (ALL[name](BATCH, seeded(s)).flatten() for s in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    twins = BATCH[torch.zeros(6, dtype=torch.long)]
    changed = ALL[name](twins, seeded()).flatten()
    assert len(torch.unique(changed, dim=0)) == 6
    assert torch.equal(twins.flatten()[0], BATCH.flatten()[0])  # the input is unchanged


@pytest.mark.parametrize("name", SAME_FUNCTION)
def test_symmetry_transforms_preserve_the_function(name: str) -> None:
    changed = SAME_FUNCTION[name](BATCH, seeded())
    assert (changed.flatten() != BATCH.flatten()).float().mean() > 0.1
    torch.testing.assert_close(render(changed, points()), render(BATCH, points()))


def test_noise_has_the_given_deviation_of_each_layer() -> None:
    many = random_batch(SPEC, 4000)
    noise = add_noise(many, seeded(), std=STD).flatten() - many.flatten()
    parts = WeightBatch.from_flat(SPEC, noise).tensors()
    torch.testing.assert_close(
        torch.stack([t.std() for t in parts]), STD.double(), rtol=0.03, atol=0
    )
    assert abs(float(noise.mean())) < 0.05


def test_mask_does_not_rescale_other_entries() -> None:
    many = random_batch(SPEC, 500)
    masked = mask_entries(many, seeded(), probability=0.3).flatten()
    gone = masked == 0
    assert float(gone.double().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(masked[~gone], many.flatten()[~gone])


def test_quantile_dropout_removes_the_smallest_entries() -> None:
    dropped = drop_smallest(BATCH, seeded(), max_quantile=0.5)
    shares = set()
    for before, after in zip(BATCH.tensors(), dropped.tensors(), strict=True):
        for old, new in zip(before.flatten(1), after.flatten(1), strict=True):
            gone = new == 0
            assert torch.equal(new[~gone], old[~gone])
            if gone.any():
                assert old[gone].abs().max() <= old[~gone].abs().min()
            shares.add(round(float(gone.double().mean()), 2))
    assert max(shares) <= 0.5
    assert len(shares) > 5


def test_coordinate_changes_are_exact() -> None:
    generator = seeded()
    matrix = torch.randn(6, 2, 2, generator=generator, dtype=torch.float64)
    shift = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    changed = render(change_coordinates(BATCH, matrix, shift), points())
    for i in range(6):
        moved = points() @ matrix[i].T + shift[i]
        torch.testing.assert_close(changed[i], render(BATCH[i : i + 1], moved)[0])


def test_images_are_rotated_by_right_angles() -> None:
    """On a grid a quarter turn permutes pixels, so the rendering is the rotated image."""
    side = torch.linspace(-1, 1, 5, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side).flip(1)  # x first, row by row
    picture = render(BATCH, grid).view(6, 5, 5, 3)
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64).expand(6, 2, 2)
    still = torch.zeros(6, 2, dtype=torch.float64)
    turned = render(change_coordinates(BATCH, quarter, still), grid).view(6, 5, 5, 3)
    torch.testing.assert_close(turned, picture.rot90(1, (1, 2)))


def test_image_transformations_stay_within_their_limits() -> None:
    limits = {"max_angle": 20.0, "max_shift": 0.3, "max_scale": 0.25}
    plain = random_batch(WeightSpaceSpec((2, 2, 1)), 2000).map(torch.zeros_like)
    plain.weights[0][:] = torch.eye(2).view(1, 2, 2, 1)  # the weights become A, and the bias t
    moved = CoordinateTransform.random(plain, seeded(), **limits).apply(plain)
    matrix, shift = moved.weights[0][..., 0].mT, moved.biases[0][..., 0]
    factor = torch.linalg.det(matrix).sqrt()
    angle = torch.rad2deg(torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    for value, limit in ((factor - 1, 0.25), (angle, 20.0), (shift, 0.3)):
        assert float(value.max()) == pytest.approx(limit, rel=0.02)
        assert float(value.min()) == pytest.approx(-limit, rel=0.02)


@pytest.mark.parametrize("rotation", [{"max_angle": 10.0}, {"square_symmetries": True}])
def test_rotations_require_two_inputs(rotation: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected networks with two inputs, got 1"):
        CoordinateTransform.random(random_batch(WeightSpaceSpec((1, 4, 1))), seeded(), **rotation)


@pytest.mark.parametrize("num_inputs", [1, 2, 3])
def test_mirrored_shifted_signals_of_any_dimension(num_inputs: int) -> None:
    batch = random_batch(WeightSpaceSpec((num_inputs, 5, 2)), 40)
    limits = {"mirror": True, "max_shift": 0.3, "max_scale": 0.2}
    transform = CoordinateTransform.random(batch, seeded(), **limits)
    points = torch.rand(7, num_inputs, dtype=torch.float64)
    rendered = siren_apply(transform.apply(batch), points)
    for i in range(40):
        moved = points @ transform.matrix[i].T + transform.shift[i]
        expected = siren_apply(batch[i : i + 1], moved)
        torch.testing.assert_close(rendered[i : i + 1], expected)
    factors = transform.matrix.diagonal(dim1=1, dim2=2)
    assert 10 < int((factors[:, 0] < 0).sum()) < 30
    assert bool((factors[:, 1:] > 0).all())
    assert float(transform.shift.abs().max()) <= 0.3
    back = transform.inverse().apply(transform.apply(batch))
    torch.testing.assert_close(back.flatten(), batch.flatten(), rtol=0, atol=1e-12)


def test_symmetries_of_the_square_are_uniform() -> None:
    batch = random_batch(WeightSpaceSpec((2, 2, 1)), 8000)
    move = CoordinateTransform.random(batch, seeded(), square_symmetries=True)
    found, counts = move.matrix.round().unique(dim=0, return_counts=True)
    assert torch.equal(
        move.matrix.abs(), move.matrix.abs().round()
    )  # exact, so pixels are mapped to pixels
    assert len(found) == 8
    assert torch.equal((found @ found.mT).abs(), torch.eye(2).double().expand(8, 2, 2))
    assert float((counts / 1000 - 1).abs().max()) < 0.12
    assert not move.shift.any()


def test_inverse_undoes_an_image_transformation() -> None:
    batch = random_batch(WeightSpaceSpec((2, 5, 4, 3)), 20)
    move = CoordinateTransform.random(
        batch, seeded(), square_symmetries=True, max_angle=40.0, max_shift=0.5, max_scale=0.3
    )
    back = move.inverse().apply(move.apply(batch))
    torch.testing.assert_close(back.flatten(), batch.flatten(), rtol=0, atol=1e-12)
