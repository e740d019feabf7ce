from __future__ import annotations

import math

import pytest
import torch
from tests.conftest import random_batch

from dws.inr import siren_apply
from dws.weightspace import PhaseShift, SignFlip, WeightBatch, WeightSpaceSpec, wrap_phases

SPEC = WeightSpaceSpec((2, 5, 6, 3))
POINTS = torch.rand(7, 2, dtype=torch.float64)


def draw(kind: type, seed: int) -> SignFlip | PhaseShift:
    return kind.random(SPEC, torch.Generator().manual_seed(seed))


def assert_same(a: WeightBatch, b: WeightBatch) -> None:
    torch.testing.assert_close(a.flatten(), b.flatten())


@pytest.mark.parametrize("kind", [SignFlip, PhaseShift])
def test_a_siren_stays_the_same(kind: type) -> None:
    batch = random_batch(SPEC)
    moved = draw(kind, 1).apply(batch)
    assert (moved.flatten() - batch.flatten()).abs().max() > 0.1
    torch.testing.assert_close(siren_apply(moved, POINTS), siren_apply(batch, POINTS))


def test_another_omega_is_no_symmetry() -> None:
    batch = random_batch(SPEC)
    shift = draw(PhaseShift, 1)
    same, other = (siren_apply(b, POINTS, omega_0=29.0) for b in (batch, shift.apply(batch)))
    assert (same - other).abs().max() > 0.01


@pytest.mark.parametrize("kind", [SignFlip, PhaseShift])
def test_the_group_laws(kind: type) -> None:
    batch, g, h = random_batch(SPEC), draw(kind, 1), draw(kind, 2)
    assert_same(g.inverse().apply(g.apply(batch)), batch)
    assert_same(g.compose(h).apply(batch), g.apply(h.apply(batch)))


@pytest.mark.parametrize("kind", [SignFlip, PhaseShift])
def test_every_network_can_have_its_own(kind: type) -> None:
    batch = random_batch(SPEC, 2)
    each = [draw(kind, seed) for seed in (1, 2)]
    levels = tuple(torch.stack(pair) for pair in zip(*(g.levels for g in each), strict=True))
    together = kind(levels).apply(batch)
    for i, g in enumerate(each):
        assert_same(together[i : i + 1], g.apply(batch[i : i + 1]))


def test_wrapping_phases_undoes_any_shift_and_changes_no_function() -> None:
    batch = random_batch(SPEC)
    wrapped = wrap_phases(batch, omega_0=30.0)
    assert (wrapped.flatten() - batch.flatten()).abs().max() > 0.1
    assert max(30 * b.abs().max() for b in wrapped.biases[:-1]) <= math.pi / 2 + 1e-9
    torch.testing.assert_close(siren_apply(wrapped, POINTS), siren_apply(batch, POINTS))
    assert_same(wrap_phases(draw(PhaseShift, 1).apply(batch), omega_0=30.0), wrapped)
    flip = draw(SignFlip, 2)
    assert_same(wrap_phases(flip.apply(batch), omega_0=30.0), flip.apply(wrapped))


def test_wrapping_treats_every_channel_as_a_network() -> None:
    batch = random_batch(SPEC, 2, channels=3)
    wrapped = wrap_phases(batch, omega_0=30.0)
    for c in range(3):
        alone = batch.map(lambda t, c=c: t[..., c : c + 1])
        assert_same(wrap_phases(alone, omega_0=30.0), wrapped.map(lambda t, c=c: t[..., c : c + 1]))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: SignFlip((torch.tensor([1.0, 0.0]),)), "expected signs 1 or -1"),
        (lambda: PhaseShift((torch.tensor([0.5]),)), "expected whole numbers"),
        (lambda: PhaseShift((torch.tensor([1]),), omega_0=0.0), "expected omega_0 > 0"),
        (lambda: draw(SignFlip, 0).apply(random_batch(WeightSpaceSpec((2, 4, 6, 3)))), "hidden w"),
        (
            lambda: draw(PhaseShift, 0).compose(PhaseShift(draw(PhaseShift, 1).levels, 2.0)),
            "expected omega_0 30.0, got 2.0",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()
