"""Fits of drawings, and symmetry transformations of their weights."""

from __future__ import annotations

import pytest
import torch

from dws.inr import FitConfig, fit_inrs, init_siren
from dws.playground.drawing import to_digit
from dws.playground.session import Playground, View


@pytest.fixture(scope="module")
def views(playground: Playground, drawings: torch.Tensor) -> list[View]:
    shown: list[View] = []
    playground.fit(to_digit(drawings[3]), seed=0, show=shown.append)
    return shown


def predictions(view: View) -> torch.Tensor:
    return torch.tensor(view.probabilities)


@pytest.mark.parametrize("digit", [0, 5, 7, 8])
def test_fitted_digits_are_classified_correctly(
    digit: int, playground: Playground, drawings: torch.Tensor
) -> None:
    shown: list[View] = []
    playground.fit(to_digit(drawings[digit]), seed=digit, show=shown.append)
    assert int(predictions(shown[-1])[2].argmax()) == digit
    assert shown[-1].is_typical


def test_fit_uses_the_settings_of_the_training_networks(
    playground: Playground, drawings: torch.Tensor, views: list[View]
) -> None:
    axis = torch.linspace(-1, 1, 28)
    alone = fit_inrs(
        init_siren(playground.spec, [0]),
        torch.cartesian_prod(axis, axis).flip(1),
        to_digit(drawings[3]).view(1, -1, 1),
        config=FitConfig(num_steps=1000, learning_rate=5e-4),
    )
    assert torch.equal(torch.tensor(views[-1].weights), alone.weights.flatten().flatten())


def test_views_cover_the_fit_from_start_to_end(views: list[View]) -> None:
    assert [view.step for view in views] == list(range(0, 1001, 20))
    first, last = views[0].psnr, views[-1].psnr
    assert first is not None
    assert last is not None
    assert first < 15 < last


@pytest.mark.parametrize(("symmetry", "invariant"), [("permutation", 1), ("sign_flip", 2)])
def test_symmetries_change_the_weights_but_not_invariant_predictions(
    symmetry: str, invariant: int, playground: Playground, views: list[View]
) -> None:
    weights = torch.tensor(views[-1].weights)
    after = playground.change(weights, symmetry=symmetry, seed=0)
    assert not torch.allclose(torch.tensor(after.weights), weights)
    assert after.difference is not None
    assert after.difference < 1e-5
    difference = (predictions(after) - predictions(views[-1])).abs().amax(dim=1)
    assert bool((difference[invariant:] < 1e-4).all())
    assert float(difference[0]) > 1e-2  # the MLP


def test_exception_of_the_callback_ends_the_fit(
    playground: Playground, drawings: torch.Tensor
) -> None:
    shown: list[View] = []

    def show(view: View) -> None:
        shown.append(view)
        if len(shown) == 3:
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        playground.fit(to_digit(drawings[0]), seed=0, show=show)
    assert len(shown) == 3


@pytest.mark.parametrize(
    ("symmetry", "value", "reason"),
    [("rotation", 0.0, "no symmetry 'rotation'"), ("permutation", float("nan"), "not finite")],
)
def test_unknown_symmetry_and_non_finite_weights_are_rejected(
    symmetry: str, value: float, reason: str, playground: Playground
) -> None:
    with pytest.raises(ValueError, match=reason):
        playground.change(torch.full((1185,), value), symmetry=symmetry, seed=0)
