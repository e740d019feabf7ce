"""The symmetry group G = S_{d_1} x ... x S_{d_{M-1}} of a weight space."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from dws.weightspace.batch import WeightBatch
from dws.weightspace.spec import WeightSpaceSpec


@dataclass(frozen=True, eq=False)
class Permutation:
    """A reordering of the neurons of every hidden level (Eq. (3), Navon et al. 2023).

    After ``apply``, neuron j of hidden level l is the former neuron ``levels[l - 1][j]``.

    Attributes:
        levels: One permutation of 0..d_l - 1 for each hidden level l = 1..M-1, each (d_l,).

    Raises:
        ValueError: If an entry is not a permutation.

    >>> spec = WeightSpaceSpec((1, 4, 4, 1))
    >>> g = Permutation.random(spec, torch.Generator().manual_seed(0))
    >>> [level.tolist() for level in g.compose(g.inverse()).levels]
    [[0, 1, 2, 3], [0, 1, 2, 3]]
    """

    levels: tuple[Int[Tensor, " d"], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(self.levels))
        for number, level in enumerate(self.levels, start=1):
            identity = torch.arange(level.numel(), device=level.device)
            if level.ndim != 1 or not torch.equal(level.sort().values, identity):
                raise ValueError(
                    f"expected a permutation of 0..{level.numel() - 1} for hidden level {number}, "
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
        sizes = [level.numel() for level in self.levels]
        other_sizes = [level.numel() for level in other.levels]
        if sizes != other_sizes:
            raise ValueError(f"expected permutations of levels {sizes}, got {other_sizes}")
        return Permutation(
            tuple(theirs[ours] for ours, theirs in zip(self.levels, other.levels, strict=True))
        )

    def apply(self, batch: WeightBatch) -> WeightBatch:
        """Reorder the hidden neurons of every network of the batch.

        Raises:
            ValueError: If the batch has other hidden widths.
        """
        sizes = tuple(level.numel() for level in self.levels)
        if sizes != batch.spec.hidden_dims:
            raise ValueError(f"expected hidden widths {sizes}, got {batch.spec.hidden_dims}")
        weights, biases = list(batch.weights), list(batch.biases)
        for i, level in enumerate(self.levels):
            level = level.to(weights[i].device)
            weights[i] = weights[i].index_select(2, level)  # columns of W_l
            biases[i] = biases[i].index_select(1, level)
            weights[i + 1] = weights[i + 1].index_select(1, level)  # rows of W_{l+1}
        return WeightBatch(tuple(weights), tuple(biases))
