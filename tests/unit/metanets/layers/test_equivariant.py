from __future__ import annotations

import pytest
import torch
from tests.conftest import needs_compiler, random_batch, randomise

from dws.metanets import DWSNet
from dws.metanets.layers import EquivariantLinear, InvariantLinear, Norm
from dws.weightspace import WeightBatch, WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 4, 3, 1))
reductions = pytest.mark.parametrize("reduction", ["mean", "sum", "max"])


@reductions
@pytest.mark.parametrize("dims", [(2, 3, 1), (1, 2, 3, 2)])
def test_gradients_equal_finite_differences(reduction: str, dims: tuple[int, ...]) -> None:
    spec = WeightSpaceSpec(dims)
    layer = randomise(EquivariantLinear(spec, 1, 2, reduction=reduction)).double()
    flat = random_batch(spec, 2).flatten().requires_grad_()

    def function(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        del parameters  # perturbed in place by gradcheck
        return layer(WeightBatch.from_flat(spec, x)).flatten()

    assert torch.autograd.gradcheck(function, (flat, *layer.parameters()))


@reductions
@pytest.mark.parametrize("dims", [(1, 1, 1), (3, 1, 2), (2, 1, 1, 1), (1, 5, 1, 5, 1)])
def test_small_architectures_and_single_networks_are_supported(
    reduction: str, dims: tuple[int, ...]
) -> None:
    spec = WeightSpaceSpec(dims)
    layer = EquivariantLinear(spec, 1, 3, reduction=reduction)
    output = layer(random_batch(spec, 1, dtype=torch.float32))
    assert output.spec == spec
    assert output.num_channels == 3
    assert output.flatten().isfinite().all()


@pytest.mark.untyped
@needs_compiler
@reductions
def test_compiled_and_eager_agree(reduction: str) -> None:
    net = DWSNet(SPEC, out_features=3, hidden_channels=4, num_layers=2, reduction=reduction)
    net = randomise(net).double()
    batch = random_batch(SPEC, 5)
    eager = net(batch)
    gradients = torch.autograd.grad(eager.square().sum(), list(net.parameters()))
    compiled = torch.compile(net)(batch)
    compiled_gradients = torch.autograd.grad(compiled.square().sum(), list(net.parameters()))
    torch.testing.assert_close(compiled, eager)
    for got, expected in zip(compiled_gradients, gradients, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_low_precision_is_close_to_float32(dtype: torch.dtype, bound: float) -> None:
    spec = WeightSpaceSpec((2, 16, 16, 1))
    layer = EquivariantLinear(spec, 8, 8, reduction="max").double()
    batch = random_batch(spec, 4, 8)
    exact = layer(batch).flatten()
    rough = layer.to(dtype)(batch.to(dtype)).flatten().double()
    assert float((rough - exact).detach().square().mean().sqrt()) < bound


@pytest.mark.parametrize("layer", [EquivariantLinear, InvariantLinear])
@pytest.mark.parametrize(("dims", "channels"), [((2, 4, 4, 1), 2), ((2, 4, 3, 1), 1)])
def test_networks_of_other_architectures_are_rejected(
    layer: type[torch.nn.Module], dims: tuple[int, ...], channels: int
) -> None:
    with pytest.raises(ValueError, match=r"expected networks of widths \(2, 4, 3, 1\) with 2 chan"):
        layer(SPEC, 2, 2).double()(random_batch(WeightSpaceSpec(dims), 2, channels))


@pytest.mark.untyped
def test_unknown_choice_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"expected reduction in \('mean', .* got 'x'"):
        EquivariantLinear(SPEC, 1, 1, reduction="x")
    with pytest.raises(ValueError, match=r"expected norm in \('batch', 'layer'\), got 'x'"):
        Norm(SPEC, 1, "x")


def test_dropout_is_inactive_in_evaluation() -> None:
    net = DWSNet(SPEC, out_features=2, hidden_channels=4, num_layers=2, dropout=0.5)
    batch = random_batch(SPEC, 4, dtype=torch.float32)
    assert not torch.equal(net(batch), net(batch))
    net.eval()
    assert torch.equal(net(batch), net(batch))


def test_skip_connections_add_the_input() -> None:
    net = DWSNet(SPEC, in_channels=4, out_features=2, hidden_channels=4, num_layers=1, skip=True)
    batch = random_batch(SPEC, 4, 4, dtype=torch.float32)
    with_skip = net.trunk(batch).flatten()
    net.trunk.skip = False
    torch.testing.assert_close(with_skip, net.trunk(batch).flatten() + batch.flatten())
