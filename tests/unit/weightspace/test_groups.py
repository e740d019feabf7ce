from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.conftest import random_batch

from dws.inr import siren_apply
from dws.weightspace import (
    Permutation,
    PhaseShift,
    SignedPermutation,
    SignFlip,
    Symmetry,
    WeightBatch,
    WeightSpaceSpec,
    wrap_phases,
)

SPEC = WeightSpaceSpec((2, 5, 6, 3))
POINTS = torch.rand(7, 2, dtype=torch.float64)


KINDS = (Permutation, SignFlip, SignedPermutation, PhaseShift)
kinds = pytest.mark.parametrize("kind", KINDS)


def draw(kind: type[Symmetry], seed: int) -> Symmetry:
    return kind.random(SPEC, torch.Generator().manual_seed(seed))


def assert_same(a: WeightBatch, b: WeightBatch) -> None:
    torch.testing.assert_close(a.flatten(), b.flatten())


@kinds
def test_symmetries_preserve_sirens(kind: type[Symmetry]) -> None:
    batch = random_batch(SPEC)
    moved = draw(kind, 1).apply(batch)
    assert (moved.flatten() - batch.flatten()).abs().max() > 0.1
    torch.testing.assert_close(siren_apply(moved, POINTS), siren_apply(batch, POINTS))


def test_phase_shift_of_another_omega_0_changes_the_function() -> None:
    batch = random_batch(SPEC)
    shift = draw(PhaseShift, 1)
    same, other = (siren_apply(b, POINTS, omega_0=29.0) for b in (batch, shift.apply(batch)))
    assert (same - other).abs().max() > 0.01


@kinds
def test_group_axioms_hold(kind: type[Symmetry]) -> None:
    batch, g, h = random_batch(SPEC), draw(kind, 1), draw(kind, 2)
    assert_same(g.inverse().apply(g.apply(batch)), batch)
    assert_same((g @ h).apply(batch), g.apply(h.apply(batch)))
    assert_same(kind.identity(SPEC).apply(batch), batch)


def test_phase_shifts_of_another_omega_0_form_a_group() -> None:
    batch, identity = random_batch(SPEC), PhaseShift.identity(SPEC, omega_0=5.0)
    shift = PhaseShift.random(SPEC, torch.Generator().manual_seed(1), omega_0=5.0)
    assert_same((shift @ identity).apply(batch), shift.apply(batch))
    assert_same((shift @ shift.inverse()).apply(batch), identity.apply(batch))


@pytest.mark.parametrize("kind", [Permutation, SignFlip, SignedPermutation])
@pytest.mark.parametrize("other", [Permutation, SignFlip, SignedPermutation])
def test_products_of_different_groups_are_signed_permutations(
    kind: type[Symmetry], other: type[Symmetry]
) -> None:
    batch, g, h = random_batch(SPEC), draw(kind, 1), draw(other, 2)
    product = g @ h
    assert isinstance(product, kind if kind is other else SignedPermutation)
    assert_same(product.apply(batch), g.apply(h.apply(batch)))


def test_product_of_shift_and_permutation_is_rejected() -> None:
    with pytest.raises(TypeError, match="PhaseShift is not a signed permutation"):
        draw(PhaseShift, 1) @ draw(Permutation, 1)


@kinds
def test_random_elements_are_seeded(kind: type[Symmetry]) -> None:
    assert all(map(torch.equal, draw(kind, 3).levels, draw(kind, 3).levels))


@kinds
def test_nontrivial_element_is_never_the_identity(kind: type[Symmetry]) -> None:
    spec, generator = WeightSpaceSpec((1, 2, 1)), torch.Generator().manual_seed(0)
    identity = kind.identity(spec).levels[0]

    def trivial(*, nontrivial: bool) -> list[bool]:
        draws = (kind.random(spec, generator, nontrivial=nontrivial) for _ in range(100))
        return [torch.equal(g.levels[0], identity) for g in draws]

    assert any(trivial(nontrivial=False))
    assert not any(trivial(nontrivial=True))


@kinds
def test_nontrivial_element_may_be_the_identity_on_one_level(kind: type[Symmetry]) -> None:
    spec, generator = WeightSpaceSpec((1, 2, 2, 1)), torch.Generator().manual_seed(0)
    identity = kind.identity(spec).levels
    moves = {
        tuple(torch.equal(x, i) for x, i in zip(g.levels, identity, strict=True))
        for g in (kind.random(spec, generator, nontrivial=True) for _ in range(200))
    }
    assert moves == {(True, False), (False, True), (False, False)}


@kinds
def test_separate_elements_are_drawn_for_each_network(kind: type[Symmetry]) -> None:
    batch = random_batch(SPEC, 6)
    g = kind.random(SPEC, torch.Generator().manual_seed(0), num_networks=6, nontrivial=True)
    assert [tuple(level.shape) for level in g.levels] == [(6, 5), (6, 6)]
    assert len(torch.unique(torch.cat([x.double() for x in g.levels], dim=1), dim=0)) == 6
    for i in range(6):
        alone = replace(
            g, levels=tuple(level[i] for level in g.levels)
        )  # the constructor checks it
        assert_same(g.apply(batch)[i : i + 1], alone.apply(batch[i : i + 1]))


@pytest.mark.parametrize(
    ("kind", "num_values"), [(Permutation, 6), (SignFlip, 8), (SignedPermutation, 48)]
)
def test_all_elements_are_equally_likely(kind: type[Symmetry], num_values: int) -> None:
    generator = torch.Generator().manual_seed(0)
    g = kind.random(WeightSpaceSpec((1, 3, 1)), generator, num_networks=500 * num_values)
    _, counts = torch.unique(g.levels[0], dim=0, return_counts=True)
    assert len(counts) == num_values
    assert (counts - 500).abs().max() < 100  # 4.5 standard deviations


def test_phase_shifts_are_uniform() -> None:
    spec, generator = WeightSpaceSpec((1, 1, 1)), torch.Generator().manual_seed(0)
    shift = PhaseShift.random(spec, generator, num_networks=2500, max_shift=2)
    values, counts = torch.unique(shift.levels[0], return_counts=True)
    assert values.tolist() == [-2, -1, 0, 1, 2]
    assert (counts - 500).abs().max() < 100


def test_wrapping_leaves_ties_unchanged() -> None:
    ends = torch.tensor([math.pi / 2, -math.pi / 2], dtype=torch.float64).view(1, 2, 1)
    batch = WeightBatch(
        (torch.ones(1, 1, 2, 1).double(), torch.ones(1, 2, 1, 1).double()),
        (ends, torch.ones(1, 1, 1).double()),
    )
    assert_same(wrap_phases(batch, omega_0=1.0), batch)


@kinds
def test_no_element_of_many_narrow_networks_is_the_identity(kind: type[Symmetry]) -> None:
    spec, generator = WeightSpaceSpec((2, 2, 1)), torch.Generator().manual_seed(0)
    (level,) = kind.random(spec, generator, num_networks=200, nontrivial=True).levels
    kind((level,))  # the constructor checks it
    assert level.shape == (200, 2)
    assert not bool((level == kind.identity(spec).levels[0]).all(dim=1).any())


def test_trivial_group_has_no_nontrivial_element() -> None:
    with pytest.raises(ValueError, match=r"Permutation other than the identity.* \(1, 1\)"):
        Permutation.random(WeightSpaceSpec((2, 1, 1, 3)), torch.Generator(), nontrivial=True)


@kinds
def test_batches_of_other_widths_are_rejected(kind: type[Symmetry]) -> None:
    with pytest.raises(ValueError, match=r"expected hidden widths \(5, 6\), got \(4, 6\)"):
        draw(kind, 0).apply(random_batch(WeightSpaceSpec((2, 4, 6, 3))))


@kinds
def test_other_numbers_of_networks_are_rejected(kind: type[Symmetry]) -> None:
    g, h = (kind.random(SPEC, torch.Generator().manual_seed(0), num_networks=n) for n in (3, 4))
    for size in (1, 5):
        with pytest.raises(ValueError, match=f"expected 3 networks, got {size}"):
            g.apply(random_batch(SPEC, size))
    with pytest.raises(ValueError, match="expected 3 networks, got 4"):
        g @ h


@kinds
def test_products_of_different_widths_are_rejected(kind: type[Symmetry]) -> None:
    with pytest.raises(ValueError, match=r"an element for hidden widths \(5, 6\), got one"):
        draw(kind, 0) @ kind.identity(WeightSpaceSpec((2, 5, 3)))


@kinds
def test_elements_may_differ_between_networks(kind: type[Symmetry]) -> None:
    batch = random_batch(SPEC, 2)
    each = [draw(kind, seed) for seed in (1, 2)]
    levels = tuple(torch.stack(pair) for pair in zip(*(g.levels for g in each), strict=True))
    together = kind(levels)
    for i, g in enumerate(each):
        assert_same(together.apply(batch)[i : i + 1], g.apply(batch[i : i + 1]))
    assert_same(together.inverse().apply(together.apply(batch)), batch)
    assert_same((together @ each[0]).apply(batch), together.apply(each[0].apply(batch)))


def test_wrapping_phases_inverts_shifts_and_preserves_functions() -> None:
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
        (lambda: PhaseShift((torch.tensor([0.5]),)), "expected integers"),
        (lambda: PhaseShift((torch.tensor([1]),), omega_0=0.0), "expected omega_0 > 0"),
        (lambda: Permutation((torch.tensor([0, 0, 1]),)), "expected a permutation"),
        (lambda: Permutation((torch.tensor([1, 2, 3]),)), "expected a permutation"),
        (lambda: Permutation((torch.tensor([[0, 1], [0, 0]]),)), "expected a permutation"),
        (lambda: SignedPermutation((torch.tensor([0, -1]),)), "expected a permutation"),
        (
            lambda: draw(PhaseShift, 0) @ PhaseShift(draw(PhaseShift, 1).levels, 2.0),
            "an element for omega_0 30.0, got one for omega_0 2.0",
        ),
    ],
)
def test_invalid_elements_are_rejected(make: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make()


@pytest.mark.parametrize("kind", [Permutation, SignedPermutation])
def test_elements_may_have_any_integer_dtype(kind: type[Symmetry]) -> None:
    batch, g = random_batch(SPEC, 2), draw(kind, 1)
    small = kind(tuple(level.int() for level in g.levels))
    assert_same(small.apply(batch), g.apply(batch))
    assert_same((small @ small).apply(batch), (g @ g).apply(batch))


def test_low_precision_sign_flip_converts_to_signed_permutation() -> None:
    spec = WeightSpaceSpec((1, 300, 1))
    generator = torch.Generator().manual_seed(0)
    flip = SignFlip((SignFlip.random(spec, generator).levels[0].bfloat16(),))
    product = flip @ Permutation.random(spec, generator)
    assert isinstance(product, SignedPermutation)


def test_random_phase_shift_has_its_omega_0() -> None:
    spec = WeightSpaceSpec((1, 1, 3, 1))
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        shift = PhaseShift.random(spec, generator, omega_0=5.0, nontrivial=True)
        assert shift.omega_0 == 5.0
        assert any(bool(level.any()) for level in shift.levels)
