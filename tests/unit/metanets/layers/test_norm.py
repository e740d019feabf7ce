from __future__ import annotations

import pytest
import torch
from tests.conftest import needs_compiler, random_batch

from dws.metanets.layers import Norm
from dws.metanets.layers.activation import relu
from dws.metanets.layers.norm import _Standardized
from dws.weightspace import WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 4, 3, 1))


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


def test_constant_features_stay_finite() -> None:
    x = torch.full((1000, 2), 1234.567)
    normed, _, variance = _Standardized.apply(x, torch.ones(2), torch.zeros(2), 1e-5)
    assert normed.isfinite().all()
    assert (variance >= 0).all()


def test_one_row_is_refused_where_it_has_no_variance() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        Norm(SPEC, 5)(random_batch(SPEC, 1, 5, dtype=torch.float32))


def test_relu_has_the_gradient_of_torch() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    y = relu(x)
    y.backward(torch.tensor([1.0, 1.0, 5.0]))
    assert y.tolist() == [0, 0, 3]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 5]
