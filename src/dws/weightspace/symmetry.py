"""Base class of groups that act on hidden neurons: elements, products and the action on networks.

Each group is the direct product of one group for each hidden level. A subclass implements the
elements, the product and the action on a single level.
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

NUM_DRAWS = 100  # draws of the identity after which a group is considered trivial
S = TypeVar("S", bound="Symmetry")


@dataclass(frozen=True, eq=False)
class Symmetry(ABC):
    """An element of a group that acts on the neurons of every hidden level.

    Attributes:
        levels: The element for each hidden level l = 1..M-1, with one entry for each neuron:
            (d_l,), or (B, d_l) with a separate element for each of B networks.

    Raises:
        ValueError: If the values of a level are not an element of the group.
    """

    levels: tuple[Num[Tensor, "*b _"], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        for number, level in enumerate(self.levels, start=1):
            self._check(level, number)

    @classmethod
    def identity(cls: type[S], spec: WeightSpaceSpec) -> S:
        """The identity element."""
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
        """A random element, uniformly distributed if the group is finite.

        Args:
            spec: The architecture.
            generator: Random generator; the levels are on its device.
            num_networks: B, to draw an element for each network; None draws one for all networks.
            nontrivial: Exclude the identity.

        Raises:
            ValueError: If ``nontrivial`` is set and the identity is the only element.
        """
        draw = partial(cls._draw, generator=generator)
        return cls.identity(spec)._sample(draw, num_networks, nontrivial)

    def _sample(
        self: S,
        draw: Callable[[tuple[int, ...]], Tensor],
        num_networks: int | None,
        nontrivial: bool,
    ) -> S:
        """Draw an element; ``self`` is the identity."""
        shapes = [(d,) if num_networks is None else (num_networks, d) for d in self._widths]
        element = self._with(map(draw, shapes))
        if not nontrivial:
            return element
        for _ in range(NUM_DRAWS):
            pairs = zip(element.levels, self.levels, strict=True)
            is_identity = torch.stack([(x == i.to(x.device)).all(-1) for x, i in pairs]).all(0)
            if not is_identity.any():
                return element
            again = is_identity[..., None]
            element = self._with(
                torch.where(again, draw(shape), level)
                for shape, level in zip(shapes, element.levels, strict=True)
            )
        raise UserError(
            f"Found no {type(self).__name__} other than the identity in {NUM_DRAWS} draws for "
            f"hidden widths {self._widths}. Use wider networks."
        )

    def _with(self: S, levels: Iterable[Tensor]) -> S:
        """Copy with other levels, unchecked because a check would synchronise with the GPU."""
        element = copy.copy(self)
        object.__setattr__(element, "levels", tuple(levels))
        return element

    def inverse(self: S) -> S:
        """The inverse element."""
        return self._with(map(self._inverse, self.levels))

    def __matmul__(self, other: Symmetry) -> Symmetry:
        """Product of two elements: ``(a @ b).apply(x)`` is ``a.apply(b.apply(x))``.

        The product of elements of two different classes is a ``SignedPermutation``.

        Raises:
            ValueError: If the elements act on different widths or numbers of networks.
            TypeError: If exactly one element is a ``PhaseShift``.
        """
        if not isinstance(other, Symmetry):
            return NotImplemented
        if type(self) is not type(other):
            return self._signed() @ other._signed()
        if self._widths != other._widths:
            raise UserError(
                f"expected an element for hidden widths {self._widths}, got one for {other._widths}"
            )
        if 1 not in (self._size, other._size) and self._size != other._size:
            raise UserError(f"expected {self._size} networks, got {other._size}")
        pairs = map(torch.broadcast_tensors, self.levels, other.levels)
        return self._with(self._compose(a, b) for a, b in pairs)

    def apply(self, batch: WeightBatch) -> WeightBatch:
        """Act on every network of a batch.

        Raises:
            ValueError: If the hidden widths of the batch or its number of networks differ from
                those of the element.
        """
        if self._widths != batch.spec.hidden_dims:
            raise UserError(f"expected hidden widths {self._widths}, got {batch.spec.hidden_dims}")
        if self._size not in (1, batch.batch_size):
            raise UserError(f"expected {self._size} networks, got {batch.batch_size}")
        weights, biases = list(batch.weights), list(batch.biases)
        for i, level in enumerate(self.levels):
            weights[i], biases[i], weights[i + 1] = self._act(
                level.to(biases[i].device), weights[i], biases[i], weights[i + 1]
            )
        return WeightBatch(tuple(weights), tuple(biases))

    def _signed(self) -> Symmetry:
        """Convert to a ``SignedPermutation``."""
        raise TypeError(
            f"A {type(self).__name__} is not a signed permutation. Apply it separately."
        )

    @property
    def _widths(self) -> tuple[int, ...]:
        return tuple(level.shape[-1] for level in self.levels)

    @property
    def _size(self) -> int:
        """Number of networks that have an element of their own; 1 if all have the same."""
        return max((len(level) for level in self.levels if level.ndim > 1), default=1)

    @classmethod
    @abstractmethod
    def _check(cls, level: Tensor, number: int) -> None:
        """Raise an error if the values are not an element on one level."""

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
        """Act on one level: (B, d', d, C), (B, d, C), (B, d, d'', C) -> the same shapes."""
