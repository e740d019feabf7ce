"""What the groups that act on hidden neurons have in common: elements, products, and the action.

Each group is a product of one group for each hidden level, and acts on one level after the other.
A group states in the abstract methods below what an element is, does and composes to on one level.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
        return cls(())._with(cls._identity(d) for d in spec.hidden_dims)

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

    def _signed(self) -> Symmetry:
        """The same as a ``SignedPermutation``."""
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
