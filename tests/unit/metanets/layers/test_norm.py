from __future__ import annotations

import pytest
import torch
from tests.conftest import needs_compiler, random_batch

from dws.metanets.layers import Norm
from dws.metanets.layers.norm import _Standardized
from dws.weightspace import WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 4, 3, 1))


@pytest.mark.untyped
@needs_compiler
def test_compiled_batch_norm_keeps_the_same_statistics() -> None:
    eager, compiled = (Norm(SPEC, 5).double() for _ in range(2))
    function = torch.compile(compiled)
    for seed in range(3):
        batch = random_batch(SPEC, 6, 5, seed=seed).map(lambda x: 3 * x + 7)
        torch.testing.assert_close(function(batch).flatten(), eager(batch).flatten())
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, msg=name)


def test_the_gradient_of_the_compiled_form() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.rand(3, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *inputs: _Standardized.apply(*inputs, 1e-5)[0], (x, weight, bias)
    )


@pytest.mark.parametrize("mean", [0.0, 100.0, -1e4])
def test_a_far_off_mean_costs_no_more_precision_than_in_torch(mean: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = mean + torch.randn(4096, 3, generator=generator)
    weight, bias = torch.ones(3), torch.zeros(3)
    exact = torch.nn.functional.batch_norm(x.double(), None, None, training=True)
    theirs = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)
    ours, got_mean, got_variance, _ = _Standardized.apply(x, weight, bias, 1e-5)
    assert (ours - exact).abs().max() < 2 * (theirs - exact).abs().max() + 1e-6
    torch.testing.assert_close(got_mean.double(), x.double().mean(0))
    expected = x.double().var(0, correction=0)
    torch.testing.assert_close(got_variance.double(), expected, rtol=1e-5, atol=0)


def test_constant_features_become_the_bias() -> None:
    x = torch.full((1000, 2), 1234.567)
    normed, mean, variance, _ = _Standardized.apply(x, torch.ones(2), torch.full((2,), 0.5), 1e-5)
    assert normed.unique().tolist() == [0.5]
    assert mean.tolist() == x[0].tolist()
    assert variance.tolist() == [0, 0]


def test_one_row_is_refused_where_it_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        Norm(SPEC, 5)(random_batch(SPEC, 1, 5, dtype=torch.float32))
