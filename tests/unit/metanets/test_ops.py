from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from dws.metanets.ops import EdgeLinear, _Max, _Relu, first_maximum, maximum, relu, standardize_rows

TIES = torch.tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])


@pytest.mark.parametrize("function", [relu, _Relu.apply], ids=["eager", "compiled"])
def test_relu_has_the_gradient_of_torch(function: Callable[[Tensor], Tensor]) -> None:
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    y = function(x)
    y.backward(torch.tensor([1.0, 1.0, 5.0]))
    assert y.tolist() == [0, 0, 3]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 5]


@pytest.mark.parametrize("function", [maximum, _Max.apply], ids=["eager", "compiled"])
def test_maximum_divides_the_gradient_between_equal_maxima(
    function: Callable[[Tensor, int], Tensor],
) -> None:
    x, weights = TIES.clone().requires_grad_(), torch.tensor([4.0, 5.0])
    (expected,) = torch.autograd.grad((x.amax(1) * weights).sum(), x)
    (got,) = torch.autograd.grad((function(x, 1) * weights).sum(), x)
    assert torch.equal(got, expected)
    assert got[0].tolist() == [0, 2, 2]


def test_first_maximum_gives_the_gradient_to_one_position() -> None:
    x = TIES.clone().requires_grad_()
    first_maximum(x, 1).sum().backward()
    assert x.grad is not None
    assert sorted(x.grad[0].tolist()) == [0, 0, 1]


@pytest.mark.parametrize("function", [_Relu.apply, lambda x: _Max.apply(x, 1)])
def test_compiled_forms_have_second_derivatives(function: Callable[[Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    assert gradgradcheck(lambda x: function(x) ** 3, x)


def test_gradient_of_standardized_rows_is_correct() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.rand(3, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert gradcheck(lambda *inputs: standardize_rows(*inputs, 1e-5)[0], (x, weight, bias))


@pytest.mark.parametrize("mean", [0.0, 100.0, -1e4])
def test_standardized_rows_are_as_precise_as_torch_for_a_large_mean(mean: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = mean + torch.randn(4096, 3, generator=generator)
    weight, bias = torch.ones(3), torch.zeros(3)
    exact = torch.nn.functional.batch_norm(x.double(), None, None, training=True)
    reference = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)
    actual, got_mean, got_variance = standardize_rows(x, weight, bias, 1e-5)
    assert (actual - exact).abs().max() < 2 * (reference - exact).abs().max() + 1e-6
    torch.testing.assert_close(got_mean.double(), x.double().mean(0))
    expected = x.double().var(0, correction=0)
    torch.testing.assert_close(got_variance.double(), expected, rtol=1e-5, atol=0)


def test_constant_features_are_mapped_to_the_bias() -> None:
    x = torch.full((1000, 2), 1234.567)
    normed, mean, variance = standardize_rows(x, torch.ones(2), torch.full((2,), 0.5), 1e-5)
    assert normed.unique().tolist() == [0.5]
    assert mean.tolist() == x[0].tolist()
    assert variance.tolist() == [0, 0]


def test_edge_linear_equals_linear() -> None:
    layer = EdgeLinear(2, 3).double()
    edges = torch.randn(4, 5, 6, 2, dtype=torch.float64, requires_grad=True)
    got, expected = layer(edges), torch.nn.functional.linear(edges, layer.weight)
    torch.testing.assert_close(got, expected)
    gradients = [
        torch.autograd.grad(y.square().sum(), (layer.weight, edges)) for y in (got, expected)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
