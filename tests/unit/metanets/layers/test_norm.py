from __future__ import annotations

import pytest
import torch
from tests.conftest import needs_compiler, random_batch

from dws.metanets.layers import Norm
from dws.weightspace import WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 4, 3, 1))


@pytest.mark.untyped
@needs_compiler
def test_compiled_batch_norm_has_the_same_running_statistics() -> None:
    eager, compiled = (Norm(SPEC, 5).double() for _ in range(2))
    function = torch.compile(compiled)
    for seed in range(3):
        batch = random_batch(SPEC, 6, 5, seed=seed).map(lambda x: 3 * x + 7)
        torch.testing.assert_close(function(batch).flatten(), eager(batch).flatten())
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, msg=name)


def test_batch_norm_rejects_a_single_row_in_training() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        Norm(SPEC, 5)(random_batch(SPEC, 1, 5, dtype=torch.float32))
