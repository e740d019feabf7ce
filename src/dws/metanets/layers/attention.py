"""The equivariant layer with self-attention between the neurons of a level."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dws.errors import UserError
from dws.metanets.layers.equivariant import EquivariantLinear
from dws.metanets.layers.features import Reduction
from dws.weightspace import WeightSpaceSpec


class SetAttention(nn.Module):
    """A linear map plus multi-head self-attention on the elements of a set.

    Args:
        in_features: F_in.
        out_features: F_out, a multiple of ``num_heads``; each head has F_out / num_heads.
        num_heads: Number of heads.

    Shape:
        (B, n, F_in) -> (B, n, F_out).

    Raises:
        ValueError: If the heads do not divide the features.
    """

    def __init__(self, in_features: int, out_features: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or out_features % num_heads:
            raise UserError(
                f"expected a number of heads that divides {out_features}, got {num_heads}"
            )
        self.num_heads = num_heads
        self.linear = nn.Linear(in_features, out_features, bias=False)
        self.query_key_value = nn.Linear(in_features, 3 * out_features, bias=False)
        self.mix = nn.Linear(out_features, out_features, bias=False)

    @property
    def weight(self) -> Tensor:
        """The matrix of the linear map alone, (F_out, F_in)."""
        return self.linear.weight

    def forward(self, x: Float[Tensor, "b n f_in"]) -> Float[Tensor, "b n f_out"]:
        """Attend; scores are scaled by the square root of a head's width."""
        heads = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (B, heads, n, width)
        attended = scaled_dot_product_attention(query, key, value)
        return self.linear(x) + self.mix(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class EquivariantAttention(EquivariantLinear):
    """``EquivariantLinear`` whose map on each hidden level also attends between its neurons.

    Deviation from the reference implementation: it replaces the DeepSets map by attention, ignores
    the number of heads and does not scale the scores by a head's width. Here attention is added to
    the linear map, so that the layer still spans all equivariant maps.

    Args:
        spec: The architecture of the input networks.
        in_channels: C_in.
        out_channels: C_out, a multiple of ``num_heads``.
        reduction: How features are pooled.
        bias: Whether to add the I constants.
        num_heads: Heads at each level.

    Raises:
        ValueError: If the heads do not divide the channels, and as ``EquivariantLinear``.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        in_channels: int,
        out_channels: int,
        *,
        reduction: Reduction = "mean",
        bias: bool = True,
        num_heads: int = 4,
    ) -> None:
        if num_heads < 1 or out_channels % num_heads:
            raise UserError(
                f"expected num_heads that divides the {out_channels} channels, got {num_heads}"
            )
        super().__init__(spec, in_channels, out_channels, reduction=reduction, bias=bias)
        for level, linear in enumerate(self.node_maps):
            n = spec.num_node_features[level]
            attention = SetAttention(n * in_channels, n * out_channels, num_heads)
            attention.linear = linear  # type: ignore[assignment]  # keeps its initialisation
            self.node_maps[level] = attention

    def reset_parameters(self) -> None:
        """Start as ``EquivariantLinear``, with attention as PyTorch's ``nn.Linear`` starts."""
        super().reset_parameters()
        for attention in self.node_maps:
            if isinstance(attention, SetAttention):  # in construction they are linear maps yet
                attention.query_key_value.reset_parameters()
                attention.mix.reset_parameters()
