"""Parity as a type: which features change their sign when hidden neurons do.

Under a ``SignFlip`` a feature of a neuron or an edge is even, and stays as it is, or odd, and
changes its sign. Even features are tensors, of which any function is even. Odd ones are ``Odd``,
which has only operations that keep track of the parity: sums, linear maps without bias, products
with even features (gates), which are odd, and with each other, which are even. All others raise a
TypeError.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Odd:
    """Features that change their sign with a neuron of each of ``levels``.

    Attributes:
        values: (B, d_l, C) of the neurons of a hidden level, or (B, d_l, d_l', C) of the edges
            between two.
        levels: (l,) or (l, l').

    Examples:
        >>> x = Odd(torch.tensor([[[-2.0]]]), (1,))
        >>> (x * x).item(), x.gated(torch.tensor(3.0)).values.item()
        (4.0, -6.0)
        >>> x + x * x
        Traceback (most recent call last):
        TypeError: An odd feature of levels (1,) has no sum with a Tensor, which is even.
    """

    values: Float[Tensor, "b *d c"]
    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(set(self.levels)) != len(self.levels) or self.values.ndim != len(self.levels) + 2:
            raise TypeError(
                f"Odd features of different levels {self.levels} have {len(self.levels) + 2} "
                f"dimensions, got {tuple(self.values.shape)}."
            )

    def __add__(self, other: Odd) -> Odd:
        """Of features of the same levels."""
        return Odd(self.values + self._same(other, "sum"), self.levels)

    def __mul__(self, other: Odd) -> Tensor:
        """Of features of the same levels: it is even, since the signs cancel."""
        return self.values * self._same(other, "product")

    def gated(self, gate: Tensor) -> Odd:
        """The product with an even feature of the same neurons or edges, which is odd.

        The levels of even features are not tracked, only their shapes.
        """
        if not isinstance(gate, Tensor):
            raise TypeError(
                f"Only an even feature, a Tensor, is a gate of odd ones, got {type(gate).__name__}."
            )
        product = self.values * gate
        if product.shape != self.values.shape:
            raise TypeError(
                f"A gate {tuple(gate.shape)} does not fit features {tuple(self.values.shape)}."
            )
        return Odd(product, self.levels)

    def __matmul__(self, edges: Odd) -> Odd:
        """Σ_j o_j e_jk / sqrt(d): from the neurons j of one level to the neurons k of another.

        The signs of the neurons j cancel. The C channels of o fall into E groups, and each of the
        E channels of e scales its own group.

        Args:
            edges: (B, d, d', E), from the level of this feature to another.

        Returns:
            (B, d', C).
        """
        if not isinstance(edges, Odd):
            raise TypeError(f"The edges of a message are odd features, not {type(edges).__name__}.")
        if self.levels != edges.levels[:1] or len(edges.levels) != 2:
            raise TypeError(f"Edges {edges.levels} do not begin at the neurons of {self.levels}.")
        grouped = self.values.unflatten(2, (edges.values.shape[3], -1))
        sums = torch.einsum("bjgc,bjkg->bkgc", grouped, edges.values).flatten(2)
        return Odd(sums / math.sqrt(grouped.shape[1]), edges.levels[1:])

    def outer(self, other: Odd) -> Odd:
        """o_j o'_k on the edges between the neurons of two levels, channel by channel."""
        levels = self._edges_to(other)
        return Odd(self.values[:, :, None] * other.values[:, None], levels)

    def inner(self, other: Odd, num_channels: int) -> Odd:
        """Σ_c o_jc o'_kc / sqrt(C / E) on the edges between the neurons of two levels.

        Args:
            other: (B, d', C), of another level.
            num_channels: E, which divides C: each channel sums its own group.

        Returns:
            (B, d, d', E).
        """
        levels = self._edges_to(other)
        a, b = (x.values.unflatten(2, (num_channels, -1)) for x in (self, other))
        return Odd(torch.einsum("bjgc,bkgc->bjkg", a, b) / math.sqrt(a.shape[3]), levels)

    def transpose(self) -> Odd:
        """The same edges in the other direction."""
        return Odd(self.values.transpose(1, 2), self.levels[::-1])

    def abs(self) -> Tensor:
        """Absolute values, which are even."""
        return self.values.abs()

    def _edges_to(self, other: Odd) -> tuple[int, ...]:
        """The levels of the edges from these neurons to those of another feature."""
        levels = (*self.levels, *other.levels)
        if len(levels) != 2 or len(set(levels)) != 2:
            raise TypeError(f"There are no edges between {self.levels} and {other.levels}.")
        return levels

    def _same(self, other: Any, what: str) -> Tensor:
        if not isinstance(other, Odd):
            kind = type(other).__name__
            raise TypeError(
                f"An odd feature of levels {self.levels} has no {what} with a {kind}, which is "
                "even."
            )
        if self.levels != other.levels:
            raise TypeError(
                f"Odd features of levels {self.levels} and {other.levels} have no {what}."
            )
        return other.values


def concatenate(features: Sequence[Odd]) -> Odd:
    """The channels of odd features of the same levels in a row."""
    first = features[0]
    values = [first._same(x, "common channels") for x in features]
    return Odd(torch.cat(values, dim=-1), first.levels)


class OddLinear(nn.Linear):
    """A linear map of odd features.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        bias: False, since a bias would not change its sign.

    Raises:
        TypeError: If there is to be a bias, or an input is even.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        if bias:
            raise TypeError(
                "A bias does not change its sign, so a map of odd features has none; leave it out, "
                "or map even features by nn.Linear."
            )
        super().__init__(in_channels, out_channels, bias=False)

    def forward(self, x: Odd) -> Odd:  # type: ignore[override]
        """Map the channels."""
        return Odd(nn.functional.linear(_odd(x, self), self.weight), x.levels)


class OddNorm(nn.RMSNorm):
    """Odd features divided by their root mean square over channels, which is even.

    There is no shift, since it would not change its sign. It computes in the precision of its
    weights, also where autocast made the input bf16. A single channel x becomes x / sqrt(x² + ε)
    with the machine precision ε, which is the sign of x unless |x| is below about sqrt(ε). So are
    several channels that are multiples of one number: only their ratios and sign remain.

    Args:
        num_channels: C.

    Raises:
        TypeError: If an input is even.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels)

    def forward(self, x: Odd) -> Odd:  # type: ignore[override]
        """Normalise, (..., C) -> (..., C)."""
        return Odd(super().forward(_odd(x, self).to(self.weight.dtype)), x.levels)


def _odd(x: Any, module: nn.Module) -> Tensor:
    if not isinstance(x, Odd):
        name = type(module).__name__
        raise TypeError(f"{name} takes odd features, got {type(x).__name__}, which are even.")
    return x.values
