from __future__ import annotations

import pytest
import torch
from torch import nn

from dws.metanets.layers import EquivariantAttention
from dws.metanets.layers.attention import SetAttention
from dws.weightspace import WeightSpaceSpec


@pytest.mark.parametrize("num_heads", [1, 2, 4])
def test_attention_equals_torch_multihead_attention(num_heads: int) -> None:
    layer = SetAttention(8, 8, num_heads).double()
    reference = nn.MultiheadAttention(8, num_heads, bias=False, batch_first=True).double()
    with torch.no_grad():
        reference.in_proj_weight.copy_(layer.query_key_value.weight)
        reference.out_proj.weight.copy_(layer.mix.weight)
    x = torch.randn(3, 5, 8, dtype=torch.float64)
    expected = reference(x, x, x, need_weights=False)[0] + x @ layer.linear.weight.T
    torch.testing.assert_close(layer(x), expected)


def test_number_of_heads_changes_the_output() -> None:
    one, four = SetAttention(8, 8, 1), SetAttention(8, 8, 4)
    four.load_state_dict(one.state_dict())
    x = torch.randn(3, 5, 8)
    assert not torch.allclose(one(x), four(x), atol=1e-4)


def test_heads_that_do_not_divide_channels_are_rejected() -> None:
    with pytest.raises(ValueError, match="expected num_heads that divides the 8 channels, got 5"):
        EquivariantAttention(WeightSpaceSpec((1, 4, 4, 1)), 1, 8, num_heads=5)
