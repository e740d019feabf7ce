"""Symmetries of weight spaces: changes of hidden neurons after which a network computes the same.

A hidden neuron with incoming weights w, bias b and outgoing weights v adds v σ(xᵀw + b) to the next
level. For every σ the neurons of a level may be permuted (``Permutation``). If σ(z) = sin(ω0 z),

- all of w, b and v may change their sign, since sine is odd (``SignFlip``);
- kπ/ω0 may be added to b where v is multiplied by (-1)^k (``PhaseShift``).

Permutations and sign flips together are the signed permutations (``SignedPermutation``). Each group
is a product of one group for each hidden level, and acts on one level after the other.
"""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Num
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch
from dws.weightspace.spec import WeightSpaceSpec

NUM_DRAWS = 100  # of the identity, after which a group is taken for trivial
S = TypeVar("S", bound="Symmetry")


@dataclass(frozen=True, eq=False)
class Symmetry(ABC):
    """An element of a group that acts on the neurons of every hidden level.

    Attributes:
        levels: What happens to each neuron of each hidden level l = 1..M-1, (d_l,); or (B, d_l)
            for networks that are each changed in their own way.

    Raises:
        ValueError: If the values of a level are not those of an element.
    """

    levels: tuple[Num[Tensor, "*b _"], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        for number, level in enumerate(self.levels, start=1):
            self._check(level, number)

    @classmethod
    def identity(cls: type[S], spec: WeightSpaceSpec) -> S:
        """The element that changes nothing."""
        return cls(tuple(cls._identity(d) for d in spec.hidden_dims))

    @classmethod
    def random(
        cls: type[S],
        spec: WeightSpaceSpec,
        generator: torch.Generator,
        *,
        num_networks: int | None = None,
        nontrivial: bool = False,
    ) -> S:
        """A random element, uniform where the group is finite.

        Args:
            spec: The architecture.
            generator: Source of randomness, whose device the levels are on.
            num_networks: B, to draw an element for each network; None draws one for all.
            nontrivial: Draw among all elements but the identity.

        Raises:
            ValueError: If the identity is the only element.
        """
        draw = partial(cls._draw, generator=generator)
        return cls.identity(spec)._drawn(draw, num_networks, nontrivial)

    def _drawn(
        self: S,
        draw: Callable[[tuple[int, ...]], Tensor],
        num_networks: int | None,
        nontrivial: bool,
    ) -> S:
        """An element whose levels are drawn, where this one is the identity."""
        batch = () if num_networks is None else (num_networks,)
        for _ in range(NUM_DRAWS):
            element = self._with(draw((*batch, d)) for d in self._widths)
            if not nontrivial:
                return element
            pairs = zip(element.levels, self.levels, strict=True)
            if not torch.stack([(x == i.to(x.device)).all(-1) for x, i in pairs]).all(0).any():
                return element
        raise UserError(
            f"Expected a {type(self).__name__} other than the identity, but {NUM_DRAWS} draws for "
            f"hidden widths {self._widths} gave none. Take wider networks."
        )

    def _with(self: S, levels: Iterable[Tensor]) -> S:
        """The same with other levels; they are not checked, for which a GPU would be waited for."""
        element = copy.copy(self)
        object.__setattr__(element, "levels", tuple(levels))
        return element

    def inverse(self: S) -> S:
        """The element that undoes this one."""
        return self._with(map(self._inverse, self.levels))

    def __matmul__(self, other: Symmetry) -> Symmetry:
        """This element after the other: ``(a @ b).apply(x)`` is ``a.apply(b.apply(x))``.

        Elements of two kinds give a ``SignedPermutation``.

        Raises:
            ValueError: If the two act on other widths.
            TypeError: If a ``PhaseShift`` meets another kind.
        """
        if not isinstance(other, Symmetry):
            return NotImplemented
        if type(self) is not type(other):
            return self._signed() @ other._signed()
        if self._widths != other._widths:
            raise UserError(
                f"expected an element for hidden widths {self._widths}, got one for {other._widths}"
            )
        pairs = map(torch.broadcast_tensors, self.levels, other.levels)
        return self._with(self._compose(a, b) for a, b in pairs)

    def apply(self, batch: WeightBatch) -> WeightBatch:
        """Act on every network of a batch.

        Raises:
            ValueError: If the batch has other hidden widths.
        """
        if self._widths != batch.spec.hidden_dims:
            raise UserError(f"expected hidden widths {self._widths}, got {batch.spec.hidden_dims}")
        weights, biases = list(batch.weights), list(batch.biases)
        for i, level in enumerate(self.levels):
            weights[i], biases[i], weights[i + 1] = self._act(
                level.to(biases[i].device), weights[i], biases[i], weights[i + 1]
            )
        return WeightBatch(tuple(weights), tuple(biases))

    def _signed(self) -> SignedPermutation:
        raise TypeError(f"A {type(self).__name__} is no signed permutation; apply it by itself.")

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(level.shape[-1] for level in self.levels)

    @classmethod
    @abstractmethod
    def _check(cls, level: Tensor, number: int) -> None:
        """Refuse what is no element on one level."""

    @classmethod
    @abstractmethod
    def _identity(cls, width: int) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _draw(cls, shape: tuple[int, ...], generator: torch.Generator) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _inverse(cls, level: Tensor) -> Tensor: ...

    @classmethod
    @abstractmethod
    def _compose(cls, level: Tensor, other: Tensor) -> Tensor: ...

    @abstractmethod
    def _act(self, level: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, d', d, C), (B, d, C), (B, d, d'', C) -> the same, of the neurons of one level."""


class Permutation(Symmetry):
    """A permutation of the neurons of every hidden level (Eq. (3), Navon et al. 2023).

    After ``apply``, neuron j of hidden level l is the former neuron ``levels[l - 1][j]``.

    Raises:
        ValueError: If a level is not a permutation of 0..d_l - 1.

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
        return other.take_along_dim(level, dim=-1)

    def _act(self, level: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _reorder(level, w, b, v)

    def _signed(self) -> SignedPermutation:
        return SignedPermutation(tuple(level + 1 for level in self.levels))


class SignFlip(Symmetry):
    """A change of sign of some neurons of every hidden level; its own inverse.

    After ``apply``, neuron j of hidden level l has the sign ``levels[l - 1][j]``, 1 or -1.

    Raises:
        ValueError: If an entry is neither 1 nor -1.

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
    """A permutation and a change of sign: the group S_d ⋉ {±1}^d of every hidden level.

    After ``apply``, neuron j of hidden level l is the former neuron number k, counted from 1, where
    ``levels[l - 1][j]`` is k, or -k if it has changed its sign. Products such as
    ``flip @ permutation`` are such elements.

    Raises:
        ValueError: If the numbers of a level without their signs are not a permutation of 1..d_l.

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
        return level.sign() * other.take_along_dim(level.abs() - 1, dim=-1)

    def _act(self, level: Tensor, w: Tensor, b: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return _flip(level.sign(), *_reorder(level.abs() - 1, w, b, v))


@dataclass(frozen=True, eq=False)
class PhaseShift(Symmetry):
    """A shift of the neurons of every hidden level by half periods, a whole number k of each.

    Attributes:
        omega_0: ω0 of the networks.

    Raises:
        ValueError: If an entry is not whole, or ω0 not positive.
    """

    omega_0: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.omega_0 < math.inf:
            raise UserError(f"expected omega_0 > 0 and finite, got {self.omega_0}")

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
        """Uniform between ``-max_shift`` and ``max_shift`` half periods."""
        draw = partial(cls._draw, generator=generator, max_shift=max_shift)
        return replace(cls.identity(spec), omega_0=omega_0)._drawn(draw, num_networks, nontrivial)

    def __matmul__(self, other: Symmetry) -> Symmetry:
        """As for every ``Symmetry``; the two must be of one ω0."""
        if isinstance(other, PhaseShift) and other.omega_0 != self.omega_0:
            raise UserError(
                f"expected an element for omega_0 {self.omega_0}, got one for omega_0 "
                f"{other.omega_0}"
            )
        return super().__matmul__(other)

    @classmethod
    def _check(cls, level: Tensor, number: int) -> None:
        if not bool(level.isfinite().all()) or not torch.equal(level, level.round()):
            raise UserError(f"expected whole numbers for hidden level {number}, got {level}")

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
    """Shift every hidden neuron by half periods until -π/2 <= ω0 b <= π/2.

    That changes no function. Networks that are a ``PhaseShift`` apart become the same within the
    precision of their biases: wrap in float32 or better. The range is symmetric and ties round to
    even, so a ``SignFlip`` before is one after. At a tie, where ω0 b is an odd multiple of π/2,
    both ends of the range are left as they are, though they are a shift apart.

    Args:
        batch: Networks; every channel is one of its own.
        omega_0: ω0 of the networks.
    """
    weights, biases = list(batch.weights), list(batch.biases)
    for i, b in enumerate(biases[:-1]):
        k = -(omega_0 / math.pi * b).round()
        biases[i], weights[i + 1] = _shift(k, b, weights[i + 1], omega_0)
    return WeightBatch(tuple(weights), tuple(biases))


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """In [0, 1), on the generator's device, in float32 whatever the networks are in."""
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
    """Biases (B, d, C) and outgoing weights (B, d, d', C) after k half periods, (d, 1 or C)."""
    k = k.to(b)
    return b + math.pi / omega_0 * k, v * (1 - 2 * (k % 2))[..., None, :]
