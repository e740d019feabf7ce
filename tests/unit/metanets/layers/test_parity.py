from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dws.metanets.layers.parity import Odd, OddLinear, OddNorm, concatenate
from dws.metanets.layers.signed import Product, update


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def odd(level: int = 0, *, width: int = 3, channels: int = 4, seed: int = 0) -> Odd:
    return Odd(draw(2, width, channels, seed=seed), (level,))


EDGES = Odd(draw(2, 3, 5, 2), (0, 1))
EVEN = draw(2, 3, 4, seed=7)


def flipped(x: Odd, level: int = 0) -> Odd:
    """Features after a sign flip of all neurons of one level."""
    return Odd(-x.values if level in x.levels else x.values, x.levels)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + x,
        lambda x: x.gated(EVEN),
        lambda x: OddLinear(4, 6).double()(x),
        lambda x: OddNorm(4).double()(x),
        lambda x: concatenate([x, x]),
        lambda x: x.outer(odd(1, width=5)),
        lambda x: odd(1, width=5).outer(x),
    ],
)
def test_odd_features_change_their_sign(function: Callable[[Odd], Odd]) -> None:
    torch.manual_seed(0)
    before = function(odd())
    torch.manual_seed(0)
    after = function(flipped(odd()))
    assert before.values.abs().max() > 0.1
    assert torch.equal(after.values, -before.values)


@pytest.mark.parametrize(
    "function", [lambda x: x * x, lambda x: x.abs(), lambda x: Product(4, 6).double()(x)]
)
def test_even_features_are_invariant(function: Callable[[Odd], Tensor]) -> None:
    torch.manual_seed(0)
    before = function(odd())
    torch.manual_seed(0)
    assert torch.equal(function(flipped(odd())), before)
    assert before.abs().max() > 0.1


def test_messages_are_odd_only_in_the_receiver() -> None:
    message = odd() @ EDGES
    assert message.levels == (1,)
    assert torch.equal((flipped(odd()) @ flipped(EDGES)).values, message.values)
    assert torch.equal((odd() @ flipped(EDGES, 1)).values, -message.values)


def test_messages_are_sums_over_neurons_in_each_group() -> None:
    x, e = odd().values, EDGES.values
    expected = torch.stack(
        [sum(x[:, j, c, None] * e[:, j, :, c // 2] for j in range(3)) for c in range(4)], dim=2
    )
    torch.testing.assert_close((odd() @ EDGES).values, expected / 3**0.5)


def test_inner_products_sum_channels_in_each_group() -> None:
    x, y = odd().values, odd(1).values
    expected = torch.stack(
        [sum(x[:, :, None, c] * y[:, None, :, c] for c in (2 * e, 2 * e + 1)) for e in range(2)],
        dim=3,
    )
    product = odd().inner(odd(1), 2)
    assert product.levels == (0, 1)
    torch.testing.assert_close(product.values, expected / 2**0.5)


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: OddLinear(4, 4, bias=True), "cannot have a bias"),
        (lambda: OddLinear(4, 4)(EVEN), "OddLinear expects odd features, got Tensor"),
        (lambda: OddNorm(4)(EVEN), "OddNorm expects odd features, got Tensor"),
        (lambda: nn.Linear(4, 4)(odd()), "Odd"),
        (lambda: update(4, 4, 4)(odd()), "Odd"),
        (lambda: nn.functional.gelu(odd()), "Odd"),
        (lambda: torch.cat([EVEN, odd()]), "Odd"),
        (lambda: odd() + EVEN, r"sum of an odd feature .* and a Tensor"),
        (lambda: odd() + 1.0, r"sum of an odd feature .* and a float"),
        (lambda: odd().gated(odd(seed=1)), "gate must be an even feature, .* got Odd"),
        (lambda: odd() + odd() * odd(seed=1), r"sum of an odd feature .* and a Tensor"),
        (lambda: odd() * EVEN, r"product of an odd feature .* and a Tensor"),
        (lambda: concatenate([odd(), EVEN]), r"concatenation of an odd feature .* and a Tensor"),
        (lambda: odd() * odd(1), r"product of odd features of levels \(0,\) and \(1,\)"),
        (lambda: odd() + EDGES, r"sum of odd features of levels \(0,\) and \(0, 1\)"),
        (lambda: odd(1, width=3) @ EDGES, "do not start at the neurons"),
        (lambda: odd() @ odd(), "do not start at the neurons"),
        (lambda: odd().outer(odd()), "no edges between"),
        (lambda: odd().inner(odd(), 1), "no edges between"),
        (lambda: odd().inner(EDGES, 1), "no edges between"),
    ],
)
def test_operations_that_break_parity_are_rejected(
    build: Callable[[], object], complaint: str
) -> None:
    with pytest.raises(TypeError, match=complaint):
        build()


@pytest.mark.parametrize(
    ("shape", "levels"), [((1, 2, 2, 3), (0, 0)), ((1, 2, 3), (0, 1)), ((2, 3), (0,))]
)
def test_odd_features_require_distinct_levels(
    shape: tuple[int, ...], levels: tuple[int, ...]
) -> None:
    with pytest.raises(TypeError, match="dimensions, got"):
        Odd(torch.zeros(shape), levels)


def test_gate_must_match_the_shape_of_features() -> None:
    with pytest.raises(TypeError, match=r"\(7, 2, 3, 4\) .* \(2, 3, 4\)"):
        Odd(torch.ones(2, 3, 4), (1,)).gated(torch.ones(7, 2, 3, 4))


def test_edges_of_a_message_must_be_odd() -> None:
    with pytest.raises(TypeError, match="got Tensor"):
        Odd(torch.ones(2, 3, 4), (1,)) @ torch.ones(2, 3, 3, 1)  # type: ignore[operator]


def test_bias_added_later_is_ignored() -> None:
    layer = OddLinear(4, 4)
    layer.bias = torch.nn.Parameter(torch.ones(4))
    x = Odd(torch.randn(2, 3, 4), (1,))
    assert torch.equal(layer(x).values, -layer(Odd(-x.values, (1,))).values)
