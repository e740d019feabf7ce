"""Symmetry groups of weight spaces: transformations of hidden neurons that preserve the function.

A hidden neuron with incoming weights w, bias b and outgoing weights v adds v σ(xᵀw + b) to the next
level. For every activation σ, permuting the neurons of a level preserves the function
(``Permutation``). If σ(z) = sin(ω0 z), two further transformations of a neuron preserve it:

- changing the sign of w, b and v, because sine is odd (``SignFlip``);
- adding kπ/ω0 to b and multiplying v by (-1)^k (``PhaseShift``).

Permutations and sign flips together generate the signed permutations (``SignedPermutation``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch
from dws.weightspace.spec import WeightSpaceSpec
from dws.weightspace.symmetry import Symmetry


class Permutation(Symmetry):
    """A permutation of the neurons of every hidden level (Eq. (3), Navon et al. 2023).

    After ``apply``, neuron j of hidden level l is the former neuron ``levels[l - 1][j]``.

    Raises:
        ValueError: If a level is not a permutation of 0..d_l - 1.

    Examples:
        >>> spec = WeightSpaceSpec((1, 4, 4, 1))
        >>> g = Permutation.random(spec, torch.Generator().manual_seed(0))
        >>> [level.tolist() for level in (g @ g.inverse()).levels]
        [[0, 1, 2, 3], [0, 1, 2, 3]]
    """

    @classmethod
    def _check(cls, level: Tensor, number: int) -> None:
        identity = cls._identity(level.shape[-1]).to(level.device)
        if not torch.equal(level.sort().values, identity.expand_as(level)):
            raise UserError(
                f"expected a permutation of 0..{len(identity) - 1} for hidden level {number}, "
                f"got {level.tolist()}"
            )

    @classmethod
    def _identity(cls, width: int) -> Tensor:
        return torch.arange(width)

    @classmethod
    def _draw(cls, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return _uniform(shape, generator).argsort(dim=-1)

    @classmethod
    def _inverse(cls, level: Tensor) -> Tensor:
        return level.argsort()

    @classmethod
    def _compose(cls, level: Tensor, other: Tensor) -> Tensor:
        return other.take_along_dim(level.long(), dim=-1)

    def _act(self, level: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _reorder(level, w, b, v)

    def _signed(self) -> SignedPermutation:
        return SignedPermutation(tuple(level + 1 for level in self.levels))


class SignFlip(Symmetry):
    """Sign flips of the neurons of every hidden level. Each element is its own inverse.

    ``apply`` multiplies neuron j of hidden level l by the sign ``levels[l - 1][j]``, 1 or -1.

    Raises:
        ValueError: If an entry is neither 1 nor -1.

    Examples:
        >>> spec = WeightSpaceSpec((1, 4, 4, 1))
        >>> flip = SignFlip.random(spec, torch.Generator().manual_seed(0))
        >>> [level.tolist() for level in (flip @ flip.inverse()).levels]
        [[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    """

    @classmethod
    def _check(cls, level: Tensor, number: int) -> None:
        if not bool((level.abs() == 1).all()):
            raise UserError(f"expected signs 1 or -1 for hidden level {number}, got {level}")

    @classmethod
    def _identity(cls, width: int) -> Tensor:
        return torch.ones(width)

    @classmethod
    def _draw(cls, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return 1.0 - 2.0 * (_uniform(shape, generator) < 0.5)

    @classmethod
    def _inverse(cls, level: Tensor) -> Tensor:
        return level

    @classmethod
    def _compose(cls, level: Tensor, other: Tensor) -> Tensor:
        return level * other

    def _act(self, level: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _flip(level, w, b, v)

    def _signed(self) -> SignedPermutation:
        return SignedPermutation(
            tuple(x.long() * torch.arange(1, x.shape[-1] + 1, device=x.device) for x in self.levels)
        )


class SignedPermutation(Symmetry):
    """A signed permutation: an element of the group S_d ⋉ {±1}^d for every hidden level.

    After ``apply``, neuron j of hidden level l is the former neuron number k, counted from 1, where
    ``levels[l - 1][j]`` is k, or -k if its sign is flipped. Products such as ``flip @ permutation``
    are signed permutations.

    Raises:
        ValueError: If the absolute values of a level are not a permutation of 1..d_l.

    Examples:
        >>> g = SignFlip((torch.tensor([1, -1]),)) @ Permutation((torch.tensor([1, 0]),))
        >>> g.levels, (g @ g).levels
        ((tensor([ 2, -1]),), (tensor([-1, -2]),))
    """

    def _signed(self) -> SignedPermutation:
        return self

    @classmethod
    def _check(cls, level: Tensor, number: int) -> None:
        Permutation._check(level.abs() - 1, number)

    @classmethod
    def _identity(cls, width: int) -> Tensor:
        return torch.arange(1, width + 1)

    @classmethod
    def _draw(cls, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        order, sign = Permutation._draw(shape, generator), SignFlip._draw(shape, generator)
        return (order + 1) * sign.long()

    @classmethod
    def _inverse(cls, level: Tensor) -> Tensor:
        order = level.abs().argsort()
        return (order + 1) * level.sign().take_along_dim(order, dim=-1)

    @classmethod
    def _compose(cls, level: Tensor, other: Tensor) -> Tensor:
        return level.sign() * other.take_along_dim(level.long().abs() - 1, dim=-1)

    def _act(self, level: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _flip(level.sign(), *_reorder(level.abs() - 1, w, b, v))


@dataclass(frozen=True, eq=False)
class PhaseShift(Symmetry):
    """Phase shifts of the sine neurons of every hidden level by an integer number of half periods.

    ``apply`` shifts neuron j of hidden level l by ``levels[l - 1][j]`` half periods.

    Attributes:
        omega_0: ω0 of the networks.

    Raises:
        ValueError: If an entry is not an integer, or ω0 is not positive and finite.
    """

    omega_0: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.omega_0 < math.inf:
            raise UserError(f"expected omega_0 > 0 and finite, got {self.omega_0}")

    @classmethod
    def identity(cls, spec: WeightSpaceSpec, *, omega_0: float = 30.0) -> PhaseShift:
        """The identity element."""
        return cls((), omega_0)._with(cls._identity(d) for d in spec.hidden_dims)

    @classmethod
    def random(
        cls,
        spec: WeightSpaceSpec,
        generator: torch.Generator,
        *,
        num_networks: int | None = None,
        nontrivial: bool = False,
        max_shift: int = 2,
        omega_0: float = 30.0,
    ) -> PhaseShift:
        """A random element, uniform between ``-max_shift`` and ``max_shift`` half periods."""
        draw = partial(cls._draw, generator=generator, max_shift=max_shift)
        return cls.identity(spec, omega_0=omega_0)._sample(draw, num_networks, nontrivial)

    def __matmul__(self, other: Symmetry) -> Symmetry:
        """Product as for every ``Symmetry``; both elements must have the same ω0."""
        if isinstance(other, PhaseShift) and other.omega_0 != self.omega_0:
            raise UserError(
                f"expected an element for omega_0 {self.omega_0}, got one for omega_0 "
                f"{other.omega_0}"
            )
        return super().__matmul__(other)

    @classmethod
    def _check(cls, level: Tensor, number: int) -> None:
        if not bool(level.isfinite().all()) or not torch.equal(level, level.round()):
            raise UserError(f"expected integers for hidden level {number}, got {level}")

    @classmethod
    def _identity(cls, width: int) -> Tensor:
        return torch.zeros(width, dtype=torch.long)

    @classmethod
    def _draw(
        cls, shape: tuple[int, ...], generator: torch.Generator, max_shift: int = 2
    ) -> Tensor:
        return ((2 * max_shift + 1) * _uniform(shape, generator)).floor() - max_shift

    @classmethod
    def _inverse(cls, level: Tensor) -> Tensor:
        return -level

    @classmethod
    def _compose(cls, level: Tensor, other: Tensor) -> Tensor:
        return level + other

    def _act(self, level: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return w, *_shift(level[..., None], b, v, self.omega_0)


def wrap_phases(batch: WeightBatch, *, omega_0: float) -> WeightBatch:
    """Shift every hidden neuron by half periods so that -π/2 <= ω0 b <= π/2.

    The functions do not change. Networks that differ by a ``PhaseShift`` become equal within the
    precision of their biases, so use float32 or float64. The map commutes with ``SignFlip``,
    because the range is symmetric and ties round to even. Ties, where ω0 b is an odd multiple of
    π/2, are an exception: biases at both ends of the range are unchanged, although they differ by a
    shift.

    Args:
        batch: Networks; every channel is treated as a separate network.
        omega_0: ω0 of the networks.
    """
    weights, biases = list(batch.weights), list(batch.biases)
    for i, b in enumerate(biases[:-1]):
        k = -(omega_0 / math.pi * b).round()
        biases[i], weights[i + 1] = _shift(k, b, weights[i + 1], omega_0)
    return WeightBatch(tuple(weights), tuple(biases))


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform numbers in [0, 1) on the generator's device, always in float32."""
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float32)


def _reorder(order: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    order = torch.atleast_2d(order).long()[:, :, None]  # (1 or B, d, 1)
    return (
        w.take_along_dim(order[:, None], dim=2),
        b.take_along_dim(order, dim=1),
        v.take_along_dim(order[..., None], dim=1),
    )


def _flip(sign: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    sign = sign.to(b)[..., None]  # (d, 1) or (B, d, 1)
    return w * sign[..., None, :, :], b * sign, v * sign[..., None]


def _shift(k: Tensor, b: Tensor, v: Tensor, omega_0: float) -> tuple[Tensor, Tensor]:
    """Shift biases (B, d, C) and outgoing weights (B, d, d', C) by k half periods, (d, 1 or C)."""
    k = k.to(b)
    return b + math.pi / omega_0 * k, v * (1 - 2 * (k % 2))[..., None, :]
