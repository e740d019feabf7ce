"""Symmetries of networks whose activation is a sine, beside the reordering of neurons.

A hidden neuron with z = ω0 (wᵀx + b) gives v sin(z) to the next level. That stays the same if

- all of w, b and v change their sign, since sine is odd (``SignFlip``);
- kπ/ω0 is added to b and v is multiplied by (-1)^k (``PhaseShift``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch
from dws.weightspace.spec import WeightSpaceSpec


@dataclass(frozen=True, eq=False)
class SignFlip:
    """A change of sign of some neurons of every hidden level; its own inverse.

    Attributes:
        levels: 1 or -1 for each neuron of each hidden level l = 1..M-1, (d_l,); or (B, d_l) for
            networks that are each treated in their own way.

    Raises:
        ValueError: If an entry is neither 1 nor -1.

    >>> spec = WeightSpaceSpec((1, 4, 4, 1))
    >>> flip = SignFlip.random(spec, torch.Generator().manual_seed(0))
    >>> [level.tolist() for level in flip.compose(flip.inverse()).levels]
    [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    """

    levels: tuple[Float[Tensor, "*b _"], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        for number, level in enumerate(self.levels, start=1):
            if not bool((level.abs() == 1).all()):
                raise UserError(f"expected signs 1 or -1 for hidden level {number}, got {level}")

    @classmethod
    def random(cls, spec: WeightSpaceSpec, generator: torch.Generator) -> SignFlip:
        """A uniformly random element of the group."""
        draws = (torch.rand(d, generator=generator) for d in spec.hidden_dims)
        return cls(tuple(1.0 - 2.0 * (draw < 0.5) for draw in draws))

    def inverse(self) -> SignFlip:
        """The flip that undoes this one."""
        return self

    def compose(self, other: SignFlip) -> SignFlip:
        """This flip after ``other``; their order does not matter."""
        pairs = zip(self.levels, other.levels, strict=True)
        return SignFlip(tuple(ours * theirs for ours, theirs in pairs))

    def apply(self, batch: WeightBatch) -> WeightBatch:
        """Flip neurons of every network of the batch.

        Raises:
            ValueError: If the batch has other hidden widths.
        """
        _check_widths(self.levels, batch)
        weights, biases = list(batch.weights), list(batch.biases)
        for i, level in enumerate(self.levels):
            sign = level.to(biases[i])
            weights[i] = weights[i] * sign[..., None, :, None]
            biases[i] = biases[i] * sign[..., None]
            weights[i + 1] = weights[i + 1] * sign[..., None, None]
        return WeightBatch(tuple(weights), tuple(biases))


@dataclass(frozen=True, eq=False)
class PhaseShift:
    """A shift of the neurons of every hidden level by half periods.

    Attributes:
        levels: k, a whole number, of each neuron of each hidden level l = 1..M-1, (d_l,); or
            (B, d_l) for networks that are each treated in their own way.
        omega_0: ω0 of the networks.

    Raises:
        ValueError: If an entry is not whole, or ω0 not positive.
    """

    levels: tuple[Num[Tensor, "*b _"], ...]
    omega_0: float = 30.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        if not self.omega_0 > 0:
            raise UserError(f"expected omega_0 > 0, got {self.omega_0}")
        for number, level in enumerate(self.levels, start=1):
            if not torch.equal(level, level.round()):
                raise UserError(f"expected whole numbers for hidden level {number}, got {level}")

    @classmethod
    def random(
        cls,
        spec: WeightSpaceSpec,
        generator: torch.Generator,
        *,
        max_shift: int = 2,
        omega_0: float = 30.0,
    ) -> PhaseShift:
        """Uniform between ``-max_shift`` and ``max_shift`` half periods."""
        shifts = (
            torch.randint(-max_shift, max_shift + 1, (d,), generator=generator)
            for d in spec.hidden_dims
        )
        return cls(tuple(shifts), omega_0)

    def inverse(self) -> PhaseShift:
        """The shift that undoes this one."""
        return PhaseShift(tuple(-level for level in self.levels), self.omega_0)

    def compose(self, other: PhaseShift) -> PhaseShift:
        """This shift after ``other``; their order does not matter.

        Raises:
            ValueError: If the two are for another ω0.
        """
        if self.omega_0 != other.omega_0:
            raise UserError(f"expected omega_0 {self.omega_0}, got {other.omega_0}")
        pairs = zip(self.levels, other.levels, strict=True)
        return PhaseShift(tuple(ours + theirs for ours, theirs in pairs), self.omega_0)

    def apply(self, batch: WeightBatch) -> WeightBatch:
        """Shift neurons of every network of the batch.

        Raises:
            ValueError: If the batch has other hidden widths.
        """
        _check_widths(self.levels, batch)
        return _shift(batch, [level[..., None] for level in self.levels], self.omega_0)


def wrap_phases(batch: WeightBatch, *, omega_0: float) -> WeightBatch:
    """Shift every hidden neuron by half periods until -π/2 <= ω0 b <= π/2.

    That changes no function, and networks that are a ``PhaseShift`` apart become the same. The
    range is symmetric and the rounding too, so a ``SignFlip`` before is one after.

    Args:
        batch: Networks; every channel is one of its own.
        omega_0: ω0 of the networks.
    """
    return _shift(batch, [-(omega_0 / math.pi * b).round() for b in batch.biases[:-1]], omega_0)


def _shift(batch: WeightBatch, levels: Sequence[Tensor], omega_0: float) -> WeightBatch:
    """By half periods of shape (d, 1) or (B, d, 1 or C) for each hidden level."""
    weights, biases = list(batch.weights), list(batch.biases)
    for i, level in enumerate(levels):
        k = level.to(biases[i])
        biases[i] = biases[i] + math.pi / omega_0 * k
        weights[i + 1] = weights[i + 1] * (1 - 2 * (k % 2))[..., None, :]
    return WeightBatch(tuple(weights), tuple(biases))


def _check_widths(levels: tuple[Tensor, ...], batch: WeightBatch) -> None:
    widths = tuple(level.shape[-1] for level in levels)
    if widths != batch.spec.hidden_dims:
        raise UserError(f"expected hidden widths {widths}, got {batch.spec.hidden_dims}")
