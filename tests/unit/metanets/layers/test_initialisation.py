from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.conftest import random_batch
from torch import nn

from dws.metanets.layers import EquivariantAttention, EquivariantLinear, InvariantLinear
from dws.metanets.layers.features import second_moment
from dws.weightspace import WeightSpaceSpec

DIMS = [
    (2, 16, 16, 1),
    (1, 8, 3),
    (3, 8, 16, 8, 2),
    (2, 4, 4, 4, 4, 4, 1),
    (1, 1, 1),
    (2, 64, 1, 2),
]


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
@pytest.mark.parametrize("dims", DIMS)
def test_initial_outputs_have_unit_variance(reduction: str, dims: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    spec = WeightSpaceSpec(dims)
    batch = random_batch(spec, 64, 16, dtype=torch.float32)
    layer = EquivariantLinear(spec, 16, 64, reduction=reduction)
    for output in layer(batch).tensors():
        assert float(output.detach().square().mean()) == pytest.approx(1, abs=0.3)
    invariant = InvariantLinear(spec, 16, 512, reduction=reduction)(batch).detach()
    assert float(invariant.square().mean()) == pytest.approx(1, abs=0.3)


def test_each_map_has_the_derived_initial_variance() -> None:
    """The moments equal hand-computed ones of 2-16-16-1 networks."""
    torch.manual_seed(0)
    c_in, c_out = 16, 128
    layer = EquivariantLinear(WeightSpaceSpec((2, 16, 16, 1)), c_in, c_out, reduction="mean")
    level_1, level_2 = 1 + 2 + 1 / 16, 1 + 1 / 16 + 1  # bias, incoming, outgoing
    invariants = (1 + 2) / 16 + (1 / 16 + 1 / 256 + 1 / 16) + 1
    rows = layer.invariant_map.weight.unflatten(0, (-1, c_out))
    first_bias, *_, last_bias = rows
    expected = {
        layer.edge_maps[0].weight: 1 + level_1 + level_2 + invariants,
        layer.node_maps[0].weight[:c_out]: level_1 + invariants,
        layer.node_maps[1].weight[:c_out]: level_2 + invariants,
        first_bias: level_1 + invariants,
        rows[4]: 1 + level_1 + level_2 + invariants,  # columns of the inner weight
        last_bias: invariants,
    }
    for weight, total in expected.items():
        assert float(weight.detach().var()) == pytest.approx(1 / (c_in * total), rel=0.1)


@pytest.mark.parametrize("make", [EquivariantLinear, EquivariantAttention, InvariantLinear])
def test_reset_layer_equals_a_new_layer(make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    new, reset = (make(WeightSpaceSpec((2, 8, 8, 1)), 4, 64) for _ in range(2))
    with torch.no_grad():
        for parameter in reset.parameters():
            parameter.fill_(1e3)
    reset.reset_parameters()
    for (name, expected), parameter in zip(new.named_parameters(), reset.parameters(), strict=True):
        spread = float(expected.detach().square().mean().sqrt())
        assert float(parameter.detach().square().mean().sqrt()) == pytest.approx(spread, rel=0.3), (
            name
        )


@pytest.mark.parametrize("count", [1, 2, 32, 1024])
def test_second_moment_of_a_maximum(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sampled = torch.randn(4000, count, generator=generator).amax(1).square().mean()
    assert float(second_moment(torch.tensor(count), "max")) == pytest.approx(
        float(sampled), rel=0.08
    )
