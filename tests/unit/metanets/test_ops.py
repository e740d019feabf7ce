from __future__ import annotations

import torch

from dws.metanets.ops import EdgeLinear, maximum, relu


def test_relu_has_the_gradient_of_torch() -> None:
    x = torch.tensor([-2.0, 0.0, 3.0], requires_grad=True)
    y = relu(x)
    y.backward(torch.tensor([1.0, 1.0, 5.0]))
    assert y.tolist() == [0, 0, 3]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 5]


def test_equal_maxima_share_the_gradient_as_in_torch() -> None:
    x = torch.tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]], requires_grad=True)
    weights = torch.tensor([4.0, 5.0])
    (expected,) = torch.autograd.grad((x.amax(1) * weights).sum(), x)
    (got,) = torch.autograd.grad((maximum(x, 1) * weights).sum(), x)
    assert torch.equal(got, expected)
    assert got[0].tolist() == [0, 2, 2]


def test_edges_are_mapped_as_by_a_linear_layer() -> None:
    layer = EdgeLinear(2, 3).double()
    edges = torch.randn(4, 5, 6, 2, dtype=torch.float64, requires_grad=True)
    got, expected = layer(edges), torch.nn.functional.linear(edges, layer.weight)
    torch.testing.assert_close(got, expected)
    gradients = [
        torch.autograd.grad(y.square().sum(), (layer.weight, edges)) for y in (got, expected)
    ]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
