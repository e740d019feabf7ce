from __future__ import annotations

import pytest
import torch
from tests.conftest import random_batch

from dws.metanets.layers import EquivariantLinear, InvariantLinear
from dws.metanets.layers.pooling import second_moment
from dws.weightspace import WeightSpaceSpec


@pytest.mark.parametrize("reduction", ["mean", "sum", "max"])
@pytest.mark.parametrize("dims", [(2, 16, 16, 1), (1, 8, 3), (3, 8, 16, 8, 2)])
def test_outputs_start_at_unit_variance(reduction: str, dims: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    spec = WeightSpaceSpec(dims)
    batch = random_batch(spec, 64, 16, dtype=torch.float32)
    layer = EquivariantLinear(spec, 16, 64, reduction=reduction)
    for output in layer(batch).tensors():
        assert float(output.detach().square().mean()) == pytest.approx(1, abs=0.3)
    invariant = InvariantLinear(spec, 16, 512, reduction=reduction)(batch).detach()
    assert float(invariant.square().mean()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("count", [1, 2, 32, 1024])
def test_second_moment_of_a_maximum(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sampled = torch.randn(4000, count, generator=generator).amax(1).square().mean()
    assert second_moment(count, "max") == pytest.approx(float(sampled), rel=0.08)
