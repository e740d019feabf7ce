"""An equivariant layer with self-attention between the neurons of a level."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dws.errors import UserError
from dws.metanets.layers.equivariant import EquivariantLinear
from dws.metanets.layers.features import Reduction
from dws.weightspace import WeightSpaceSpec


class SetAttention(nn.Module):
    """The sum of a linear map and multi-head self-attention on the elements of a set.

    Args:
        in_features: Number of input features, F_in.
        out_features: Number of output features, F_out; each head has F_out / num_heads features.
        num_heads: Number of attention heads; must divide ``out_features``.

    Shape:
        (B, n, F_in) -> (B, n, F_out).

    Raises:
        ValueError: If ``num_heads`` does not divide ``out_features``.
    """

    def __init__(self, in_features: int, out_features: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or out_features % num_heads:
            raise UserError(
                f"expected num_heads that divides {out_features} features, got {num_heads}"
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
        """Apply the layer. Scores are divided by the square root of a head's width."""
        heads = self.query_key_value(x).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each (B, heads, n, width)
        attended = scaled_dot_product_attention(query, key, value)
        return self.linear(x) + self.mix(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class EquivariantAttention(EquivariantLinear):
    """``EquivariantLinear`` with additional self-attention between the neurons of a hidden level.

    Deviation from the reference implementation: the reference replaces the DeepSets map by
    attention, ignores the number of heads and does not scale the scores by a head's width. This
    layer adds attention to the linear map and therefore still spans all equivariant maps.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels, C_in.
        out_channels: Number of output channels, C_out.
        reduction: Pooling of features.
        bias: Whether to add the I constants.
        num_heads: Number of attention heads at each level; must divide ``out_channels``.

    Raises:
        ValueError: If ``num_heads`` does not divide ``out_channels``, or under the conditions of
            ``EquivariantLinear``.
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
            attention.linear = linear  # type: ignore[assignment]  # keep its initialisation
            self.node_maps[level] = attention

    def reset_parameters(self) -> None:
        """Initialise as ``EquivariantLinear``, with the default of ``nn.Linear`` for attention."""
        super().reset_parameters()
        for attention in self.node_maps:
            if isinstance(attention, SetAttention):  # linear maps during construction
                attention.query_key_value.reset_parameters()
                attention.mix.reset_parameters()
