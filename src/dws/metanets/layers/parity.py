"""Parity as a type: features that are even or odd under sign flips of hidden neurons.

Under a ``SignFlip`` of its neuron, an even feature is invariant and an odd feature changes its
sign. Even features are plain tensors, because any function of them is even. Odd features are
instances of ``Odd``, which supports only operations with a defined parity: sums, linear maps
without bias and products with even features (gates) are odd, and products of two odd features are
even. All other operations raise a TypeError.
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
    """Odd features of neurons, or of edges, which change their sign with either of their neurons.

    Attributes:
        values: (B, d_l, C) for the neurons of a hidden level, or (B, d_l, d_l', C) for the edges
            between two hidden levels.
        levels: (l,) or (l, l').

    Examples:
        >>> x = Odd(torch.tensor([[[-2.0]]]), (1,))
        >>> (x * x).item(), x.gated(torch.tensor(3.0)).values.item()
        (4.0, -6.0)
        >>> x + x * x
        Traceback (most recent call last):
        TypeError: The sum of an odd feature of levels (1,) and a Tensor (even) is undefined.
    """

    values: Float[Tensor, "b *d c"]
    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(set(self.levels)) != len(self.levels) or self.values.ndim != len(self.levels) + 2:
            raise TypeError(
                f"Odd features need distinct levels and {len(self.levels) + 2} dimensions, got "
                f"levels {self.levels} and shape {tuple(self.values.shape)}."
            )

    def __add__(self, other: Odd) -> Odd:
        """Add odd features of the same levels."""
        return Odd(self.values + self._same(other, "sum"), self.levels)

    def __mul__(self, other: Odd) -> Tensor:
        """Multiply odd features of the same levels. The product is even, because signs cancel."""
        return self.values * self._same(other, "product")

    def gated(self, gate: Tensor) -> Odd:
        """Multiply by an even feature of the same neurons or edges. The product is odd.

        Only the shapes of even features are checked, since their levels are not tracked.
        """
        if not isinstance(gate, Tensor):
            raise TypeError(
                f"A gate must be an even feature, which is a Tensor, got {type(gate).__name__}."
            )
        product = self.values * gate
        if product.shape != self.values.shape:
            raise TypeError(
                f"A gate of shape {tuple(gate.shape)} does not match features of shape "
                f"{tuple(self.values.shape)}."
            )
        return Odd(product, self.levels)

    def __matmul__(self, edges: Odd) -> Odd:
        """Messages Σ_j o_j e_jk / sqrt(d) from the neurons j of one level to neurons k of another.

        The signs of the neurons j cancel. The C channels of o are divided into E groups, and each
        of the E channels of e scales one group.

        Args:
            edges: Odd edge features from this level to another, (B, d, d', E).

        Returns:
            Odd features of the other level, (B, d', C).
        """
        if not isinstance(edges, Odd):
            raise TypeError(
                f"The edges of a message must be odd features, got {type(edges).__name__}."
            )
        if self.levels != edges.levels[:1] or len(edges.levels) != 2:
            raise TypeError(
                f"Edges of levels {edges.levels} do not start at the neurons of {self.levels}."
            )
        grouped = self.values.unflatten(2, (edges.values.shape[3], -1))
        sums = torch.einsum("bjgc,bjkg->bkgc", grouped, edges.values).flatten(2)
        return Odd(sums / math.sqrt(grouped.shape[1]), edges.levels[1:])

    def outer(self, other: Odd) -> Odd:
        """Edge features o_j o'_k between the neurons of two levels, channel by channel."""
        levels = self._edges_to(other)
        return Odd(self.values[:, :, None] * other.values[:, None], levels)

    def inner(self, other: Odd, num_channels: int) -> Odd:
        """Edge features Σ_c o_jc o'_kc / sqrt(C / E) between the neurons of two levels.

        Args:
            other: Odd features of another level, (B, d', C).
            num_channels: Number of output channels E, a divisor of C. Each output channel is the
                sum over one group of C / E input channels.

        Returns:
            Odd edge features, (B, d, d', E).
        """
        levels = self._edges_to(other)
        a, b = (x.values.unflatten(2, (num_channels, -1)) for x in (self, other))
        return Odd(torch.einsum("bjgc,bkgc->bjkg", a, b) / math.sqrt(a.shape[3]), levels)

    def transpose(self) -> Odd:
        """The same edges in the other direction."""
        return Odd(self.values.transpose(1, 2), self.levels[::-1])

    def abs(self) -> Tensor:
        """The absolute values, which are even."""
        return self.values.abs()

    def _edges_to(self, other: Odd) -> tuple[int, ...]:
        """Return the levels of edges from the neurons of this feature to those of another."""
        levels = (*self.levels, *other.levels)
        if len(levels) != 2 or len(set(levels)) != 2:
            raise TypeError(f"There are no edges between {self.levels} and {other.levels}.")
        return levels

    def _same(self, other: Any, what: str) -> Tensor:
        if not isinstance(other, Odd):
            kind = type(other).__name__
            raise TypeError(
                f"The {what} of an odd feature of levels {self.levels} and a {kind} (even) is "
                "undefined."
            )
        if self.levels != other.levels:
            raise TypeError(
                f"The {what} of odd features of levels {self.levels} and {other.levels} is "
                "undefined."
            )
        return other.values


def concatenate(features: Sequence[Odd]) -> Odd:
    """Concatenate the channels of odd features of the same levels."""
    first = features[0]
    values = [first._same(x, "concatenation") for x in features]
    return Odd(torch.cat(values, dim=-1), first.levels)


class OddLinear(nn.Linear):
    """A linear map of odd features.

    Args:
        in_channels: Number of input channels, C_in.
        out_channels: Number of output channels, C_out.
        bias: Must be False, because a bias is even.

    Raises:
        TypeError: If ``bias`` is set, or an input is even.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = False) -> None:
        if bias:
            raise TypeError(
                "A map of odd features cannot have a bias, which is even. Remove it, or map even "
                "features by nn.Linear."
            )
        super().__init__(in_channels, out_channels, bias=False)

    def forward(self, x: Odd) -> Odd:  # type: ignore[override]
        """Apply the map, (..., C_in) -> (..., C_out)."""
        return Odd(nn.functional.linear(_odd(x, self), self.weight), x.levels)


class OddNorm(nn.RMSNorm):
    """Division of odd features by their root mean square over channels, which is even.

    There is no shift, because a shift is even. The computation has the precision of the module's
    weights, even if autocast has converted the input to bf16. A single channel x is mapped to
    x / sqrt(x² + ε) with the machine precision ε, which is the sign of x unless |x| is below about
    sqrt(ε). The same holds for several channels that are multiples of one number: only their ratios
    and their sign remain.

    Args:
        num_channels: Number of channels, C.

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
        raise TypeError(f"{name} expects odd features, got {type(x).__name__}, which is even.")
    return x.values
