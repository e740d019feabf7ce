from __future__ import annotations

import pytest
import torch
from oracles.plain_siren import PlainSiren

from dws.inr import init_siren, siren_apply
from dws.inr.siren import siren_activations
from dws.weightspace import WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 32, 32, 1))


@pytest.mark.parametrize("dims", [(2, 32, 32, 1), (1, 7, 1), (3, 4, 5, 6, 2)])
def test_siren_equals_a_plain_torch_network(dims: tuple[int, ...]) -> None:
    plain = PlainSiren(WeightSpaceSpec(dims), omega_0=3.0).double()
    points = torch.rand(11, dims[0], dtype=torch.float64)
    got = siren_apply(plain.weights(), points, omega_0=3.0)
    torch.testing.assert_close(got[0], plain(points))


def test_released_initialisation_has_the_published_bounds() -> None:
    batch = init_siren(SPEC, range(200), omega_0=30.0)
    for weight, bound in zip(
        batch.weights, [(6 / 2) ** 0.5 / 30, (6 / 32) ** 0.5 / 30, 32**-0.5], strict=True
    ):
        assert 0.99 * bound < float(weight.abs().max()) <= bound
        assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not batch.biases[0].any()
    assert not batch.biases[1].any()
    assert 0 < float(batch.biases[2].abs().max()) <= 32**-0.5


def test_initialisation_depends_only_on_its_own_seed() -> None:
    alone, among = init_siren(SPEC, [7]), init_siren(SPEC, [3, 7, 5])
    assert torch.equal(alone.flatten()[0], among.flatten()[1])
    assert not torch.equal(among.flatten()[0], among.flatten()[1])


def test_several_channels_are_rejected() -> None:
    batch = init_siren(SPEC, [0]).map(lambda t: t.repeat_interleave(2, -1))
    with pytest.raises(ValueError, match="expected one channel, got 2"):
        siren_apply(batch, torch.zeros(1, 2))


def test_siren_initialisation_has_the_bounds_of_sitzmann() -> None:
    batch = init_siren(SPEC, range(200), omega_0=30.0, init="siren")
    bounds = [t.abs().amax().item() for t in (*batch.weights, *batch.biases)]
    sine = (6 / 32) ** 0.5 / 30
    expected = [1 / 2, sine, sine, 2**-0.5, 32**-0.5, 32**-0.5]
    assert bounds == pytest.approx(expected, rel=0.05)


def test_activations_contain_all_neurons() -> None:
    spec = WeightSpaceSpec((2, 4, 3, 1))
    batch, points = init_siren(spec, range(3)), torch.rand(5, 2)
    inputs, first, second, outputs = siren_activations(batch, points, omega_0=3.0)
    (w, v, _), (b, c, _) = batch.weights, batch.biases
    expected = torch.sin(3 * (torch.einsum("pi,bio->bpo", points, w[..., 0]) + b[:, None, :, 0]))
    torch.testing.assert_close(inputs, points[None])
    torch.testing.assert_close(first, expected)
    expected = torch.sin(3 * (first @ v[..., 0] + c[:, None, :, 0]))
    torch.testing.assert_close(second, expected)
    torch.testing.assert_close(outputs, siren_apply(batch, points, omega_0=3.0) - 0.5)
