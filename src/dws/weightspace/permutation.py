"""The symmetry group G = S_{d_1} x ... x S_{d_{M-1}} of a weight space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from dws.errors import UserError
from dws.weightspace.batch import WeightBatch
from dws.weightspace.spec import WeightSpaceSpec


@dataclass(frozen=True, eq=False)
class Permutation:
    """A reordering of the neurons of every hidden level (Eq. (3), Navon et al. 2023).

    After ``apply``, neuron j of hidden level l is the former neuron ``levels[l - 1][j]``.

    Attributes:
        levels: One permutation of 0..d_l - 1 for each hidden level l = 1..M-1, each (d_l,); or
            (B, d_l) for networks that are each reordered in their own way.

    Raises:
        ValueError: If an entry is not a permutation.

    >>> spec = WeightSpaceSpec((1, 4, 4, 1))
    >>> g = Permutation.random(spec, torch.Generator().manual_seed(0))
    >>> [level.tolist() for level in g.compose(g.inverse()).levels]
    [[0, 1, 2, 3], [0, 1, 2, 3]]
    """

    levels: tuple[Int[Tensor, "*b _"], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        for number, level in enumerate(self.levels, start=1):
            identity = torch.arange(level.shape[-1], device=level.device)
            if not torch.equal(level.sort().values, identity.expand_as(level)):
                raise UserError(
                    f"expected a permutation of 0..{len(identity) - 1} for hidden level {number}, "
                    f"got {level.tolist()}"
                )

    @classmethod
    def random(cls, spec: WeightSpaceSpec, generator: torch.Generator) -> Permutation:
        """A uniformly random element of the group."""
        return cls(tuple(torch.randperm(d, generator=generator) for d in spec.hidden_dims))

    def inverse(self) -> Permutation:
        """The permutation that undoes this one."""
        return Permutation(tuple(level.argsort() for level in self.levels))

    def compose(self, other: Permutation) -> Permutation:
        """This permutation after ``other``: ``a.compose(b).apply(x) == a.apply(b.apply(x))``.

        Raises:
            ValueError: If the two permute different levels.
        """
        sizes = [level.shape[-1] for level in self.levels]
        other_sizes = [level.shape[-1] for level in other.levels]
        if sizes != other_sizes:
            raise UserError(f"expected permutations of levels {sizes}, got {other_sizes}")
        pairs = zip(self.levels, other.levels, strict=True)
        same = (torch.broadcast_tensors(ours, theirs) for ours, theirs in pairs)
        return Permutation(tuple(theirs.take_along_dim(ours, dim=-1) for ours, theirs in same))

    def apply(self, batch: WeightBatch) -> WeightBatch:
        """Reorder the hidden neurons of every network of the batch.

        Raises:
            ValueError: If the batch has other hidden widths.
        """
        sizes = tuple(level.shape[-1] for level in self.levels)
        if sizes != batch.spec.hidden_dims:
            raise UserError(f"expected hidden widths {sizes}, got {batch.spec.hidden_dims}")
        weights, biases = list(batch.weights), list(batch.biases)
        for i, level in enumerate(self.levels):
            order = torch.atleast_2d(level.to(weights[i].device))  # (1 or B, d)
            weights[i] = weights[i].take_along_dim(order[:, None, :, None], dim=2)
            biases[i] = biases[i].take_along_dim(order[:, :, None], dim=1)
            weights[i + 1] = weights[i + 1].take_along_dim(order[:, :, None, None], dim=1)
        return WeightBatch(tuple(weights), tuple(biases))
