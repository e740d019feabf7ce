from __future__ import annotations

import pytest
import torch

from dws.tasks.corruption import corrupt


def images(num: int = 200, channels: int = 1, side: int = 9) -> torch.Tensor:
    return torch.rand(num, channels, side, side, generator=torch.Generator().manual_seed(1))


def corrupted(given: torch.Tensor, seed: int = 0, **changes: float) -> torch.Tensor:
    strengths = {"max_angle": 0.0, "noise": 0.0, **changes}
    return corrupt(given, torch.Generator().manual_seed(seed), **strengths)


def test_zero_strengths_only_flip_half_of_the_images() -> None:
    given = images()
    got = corrupted(given)
    is_same, is_flipped = (
        torch.isclose(got, each, atol=1e-5).all(dim=(1, 2, 3)) for each in (given, given.flip(3))
    )
    assert bool((is_same | is_flipped).all())
    assert float(is_flipped.float().mean()) == pytest.approx(0.5, abs=0.1)


def test_rotations_have_the_given_range_and_keep_the_centre() -> None:
    bar = torch.zeros(1, 1, 41, 41)
    bar[:, :, 20, 30] = 1.0  # 10 pixels to the right of the centre
    got = corrupted(bar.expand(300, -1, -1, -1), max_angle=40.0)
    at = torch.stack(torch.meshgrid(*2 * [torch.arange(41.0) - 20], indexing="ij"))
    place = (got * at).sum(dim=(2, 3)) / got.sum(dim=(2, 3))  # (300, 2): down, right
    angle = torch.atan2(place[:, 0], place[:, 1].abs()) * 180 / torch.pi
    assert float(place.norm(dim=1).min()) == pytest.approx(10, abs=0.3)
    assert 30 < float(angle.max()) <= 41
    assert -41 <= float(angle.min()) < -30


def test_noise_has_the_given_deviation_and_stays_in_range() -> None:
    got = corrupted(torch.full((100, 1, 9, 9), 0.5), noise=0.1)
    assert float(got.std()) == pytest.approx(0.1, rel=0.03)
    loud = corrupted(images(), noise=1.0)
    assert float(loud.min()) == 0.0
    assert float(loud.max()) == 1.0


def test_jitter_changes_only_colour_images() -> None:
    assert torch.equal(corrupted(images(), jitter=0.5), corrupted(images()))
    got = corrupted(images(channels=3), jitter=0.5)
    middles = got.mean(dim=(1, 2, 3))
    assert float(middles.min()) < 0.35
    assert float(middles.max()) > 0.6


def test_images_are_corrupted_independently_and_seeded() -> None:
    same = images(1).expand(5, -1, -1, -1)
    got = corrupted(same, max_angle=30.0, noise=0.1)
    assert len(got.flatten(1).unique(dim=0)) == 5
    assert torch.equal(got, corrupted(same, max_angle=30.0, noise=0.1))
    assert not torch.equal(got, corrupted(same, 1, max_angle=30.0, noise=0.1))
