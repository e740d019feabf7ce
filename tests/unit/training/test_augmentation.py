from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from tests.conftest import random_batch

from dws.inr import siren_apply
from dws.training import AugmentConfig
from dws.training.augmentation import Augmentations
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.weightspace.transforms import (
    CoordinateTransform,
    add_noise,
    drop_smallest,
    flip_signs,
    mask_entries,
    permute_neurons,
    shift_phases,
)

SPEC = WeightSpaceSpec((2, 9, 7, 3))
STD = torch.arange(1.0, 7.0)
OMEGA_0 = 3.0
STRENGTHS: dict[str, float] = {  # in the order of application
    "max_angle": 20.0,
    "max_shift": 0.3,
    "max_scale": 0.2,
    "noise": 0.1,
    "quantile_dropout": 0.5,
    "mask": 0.3,
    "flip_signs": True,
    "shift_phases": 2,
    "permute": True,
}
SYMMETRIES = ("flip_signs", "shift_phases", "permute")
strengths = pytest.mark.parametrize("name", STRENGTHS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def only(*names: str) -> AugmentConfig:
    return AugmentConfig(omega_0=OMEGA_0, **{name: STRENGTHS[name] for name in names})


def apply(config: AugmentConfig, batch: WeightBatch, seed: int = 0) -> WeightBatch:
    return Augmentations(config).apply(batch, seeded(seed), layer_std=STD)[0]


def render(batch: WeightBatch) -> torch.Tensor:
    points = torch.rand(20, 2, generator=seeded(), dtype=torch.float64) * 2 - 1
    return siren_apply(batch, points.to(batch.weights[0]), omega_0=OMEGA_0)


def test_every_field_is_tested() -> None:
    assert {field.name for field in fields(AugmentConfig)} == {
        *STRENGTHS,
        "square_symmetries",
        "mirror",
        "omega_0",
        "until",
        "extra",
    }


@strengths
def test_each_augmentation_is_seeded_and_changes_every_network(name: str) -> None:
    batch = random_batch(SPEC, 6)
    once, again, other = (apply(only(name), batch, seed).flatten() for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert bool((once != batch.flatten()).flatten(1).any(1).all())
    twins = batch[torch.zeros(6, dtype=torch.long)]
    assert len(torch.unique(apply(only(name), twins).flatten(), dim=0)) == 6
    assert torch.equal(batch.flatten(), random_batch(SPEC, 6).flatten())  # the input is unchanged


def test_zero_strengths_change_nothing_and_use_no_random_numbers() -> None:
    batch, generator = random_batch(SPEC), seeded()
    changed, move = Augmentations(AugmentConfig()).apply(batch, generator, layer_std=STD)
    assert move is None
    assert torch.equal(changed.flatten(), batch.flatten())
    assert torch.equal(generator.get_state(), seeded().get_state())


def test_augmentation_is_inactive_after_until() -> None:
    augment = Augmentations(AugmentConfig(noise=0.1, until=0.75))
    assert [augment.are_active(progress) for progress in (0.0, 0.749, 0.75, 1.0)] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)], ids=str
)
@pytest.mark.parametrize("names", [*((name,) for name in SYMMETRIES), SYMMETRIES], ids="-".join)
def test_symmetry_augmentations_preserve_renderings(
    names: tuple[str, ...], dtype: torch.dtype, tolerance: float
) -> None:
    batch = random_batch(SPEC, 6, dtype=dtype)
    changed = apply(only(*names), batch)
    assert changed.weights[0].dtype == dtype
    assert (changed.flatten() != batch.flatten()).float().mean() > 0.1
    torch.testing.assert_close(render(changed), render(batch), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [name for name in STRENGTHS if name not in SYMMETRIES])
def test_other_augmentations_change_renderings(name: str) -> None:
    batch = random_batch(SPEC, 6)
    difference = render(apply(only(name), batch)) - render(batch)
    assert float(difference.abs().amax(dim=(1, 2)).min()) > 1e-3


@pytest.mark.parametrize(
    "name", [n for n, strength in STRENGTHS.items() if isinstance(strength, float)]
)
def test_small_strength_causes_a_small_change(name: str) -> None:
    batch = random_batch(SPEC, 50)
    weak = replace(only(), **{name: STRENGTHS[name] / 20})
    small, large = (
        float((apply(c, batch).flatten() - batch.flatten()).square().mean())
        for c in (weak, only(name))
    )
    assert 0 < small < large / 10


def test_augmentations_are_applied_in_the_order_of_settings() -> None:
    batch, generator = random_batch(SPEC, 6), seeded()
    move = CoordinateTransform.random(
        batch, generator, max_angle=20.0, max_shift=0.3, max_scale=0.2
    )
    expected = move.apply(batch)
    expected = add_noise(expected, generator, std=0.1 * STD)
    expected = drop_smallest(expected, generator, max_quantile=0.5)
    expected = mask_entries(expected, generator, probability=0.3)
    expected = flip_signs(expected, generator)
    expected = shift_phases(expected, generator, omega_0=OMEGA_0, max_shift=2)
    expected = permute_neurons(expected, generator)
    assert torch.equal(apply(only(*STRENGTHS), batch).flatten(), expected.flatten())


def test_apply_returns_the_image_transformation() -> None:
    batch, config = random_batch(SPEC, 6), AugmentConfig(square_symmetries=True, max_shift=0.3)
    changed, move = Augmentations(config).apply(batch, seeded(), layer_std=STD)
    assert move is not None
    assert torch.equal(move.apply(batch).flatten(), changed.flatten())
    assert len(move.matrix.round().unique(dim=0)) > 2


@pytest.mark.parametrize(
    ("config", "num_views", "complaint"),
    [
        (
            AugmentConfig(max_angle=10.0),
            1,
            r"augment\.max_angle needs networks with two inputs, .* 1",
        ),
        (
            AugmentConfig(square_symmetries=True),
            1,
            r"augment\.square_symmetries needs networks with two inputs",
        ),
        (AugmentConfig(), 2, "Use augment=contrastive"),
        (AugmentConfig(noise=0.1, until=0.9), 2, r"augment\.until=0\.9\. Set augment\.until=1"),
        (AugmentConfig(omega_0=20.0), 2, "Use augment=contrastive"),
        (
            AugmentConfig(shift_phases=1, omega_0=20.0),
            1,
            r"omega_0=20\.0 .* Set augment\.omega_0=30\.0",
        ),
    ],
)
def test_inapplicable_augmentations_are_rejected(
    config: AugmentConfig, num_views: int, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Augmentations(config).check_fits(WeightSpaceSpec((1, 4, 1)), num_views, 30.0)
