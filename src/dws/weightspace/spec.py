"""The structure of a weight space, without data."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from dws.errors import UserError


class NodeGroups(NamedTuple):
    """Number of features of each kind that the neurons of a hidden level have.

    Attributes:
        bias: Always 1.
        incoming: d_0 at the first hidden level (the weights from the inputs), and 1 at all others
            (a pooled column).
        outgoing: d_M at the last hidden level (the weights to the outputs), and 1 at all others
            (a pooled row).
    """

    bias: int
    incoming: int
    outgoing: int


@dataclass(frozen=True)
class WeightSpaceSpec:
    """A weight space, specified by the widths d_0, ..., d_M of its MLPs.

    Layer m = 1..M has a weight matrix W_m (d_{m-1} x d_m) and a bias b_m (d_m). Levels 1..M-1 are
    hidden, and permuting the neurons of a hidden level leaves the MLP's function unchanged
    (Section 3, Navon et al. 2023). Levels are numbered as in the paper. Python sequences of
    weights and biases start at 0, so ``weights[0]`` is W_1.

    Attributes:
        dims: d_0, ..., d_M, with at least one hidden level and every width >= 1.

    Raises:
        ValueError: If there is no hidden level or a width is not a positive integer.

    Examples:
        >>> spec = WeightSpaceSpec((2, 32, 32, 1))
        >>> spec.num_layers, spec.num_params, spec.num_invariants, spec.num_equivariant_maps
        (3, 1185, 7, 75)
    """

    dims: tuple[int, ...]

    def __post_init__(self) -> None:
        dims = tuple(self.dims)
        object.__setattr__(self, "dims", dims)  # a list from a file becomes hashable
        if len(dims) < 3:
            raise UserError(
                f"expected at least three widths (input, hidden, output), got dims={dims}; "
                "an MLP without a hidden level has no permutation symmetry"
            )
        if not all(type(d) is int and d >= 1 for d in dims):
            raise UserError(f"expected widths that are integers >= 1, got dims={dims}")

    @property
    def num_layers(self) -> int:
        """M, the number of weight matrices."""
        return len(self.dims) - 1

    @property
    def hidden_dims(self) -> tuple[int, ...]:
        """Widths of the hidden levels, d_1, ..., d_{M-1}."""
        return self.dims[1:-1]

    @property
    def weight_shapes(self) -> tuple[tuple[int, int], ...]:
        """Shape (d_{m-1}, d_m) of every weight matrix: rows are inputs, columns are outputs."""
        return tuple(pairwise(self.dims))

    @property
    def bias_shapes(self) -> tuple[tuple[int], ...]:
        """Shape (d_m,) of every bias."""
        return tuple((d,) for d in self.dims[1:])

    @property
    def num_params(self) -> int:
        """Number of weights and biases of one MLP."""
        return sum(d_in * d_out + d_out for d_in, d_out in self.weight_shapes)

    @property
    def node_groups(self) -> tuple[NodeGroups, ...]:
        """Number of features of each kind for each hidden level l = 1..M-1."""
        last = self.num_layers - 1
        return tuple(
            NodeGroups(
                bias=1,
                incoming=self.dims[0] if level == 1 else 1,
                outgoing=self.dims[-1] if level == last else 1,
            )
            for level in range(1, last + 1)
        )

    @property
    def num_node_features(self) -> tuple[int, ...]:
        """Number of node features n_l for each hidden level l = 1..M-1."""
        return tuple(map(sum, self.node_groups))

    @property
    def num_invariants(self) -> int:
        """Number of independent invariant functionals, I = dim V^G = d_0 + 2 d_M + 2M - 3."""
        return self.dims[0] + 2 * self.dims[-1] + 2 * self.num_layers - 3

    @property
    def num_equivariant_maps(self) -> int:
        """Dimension of Hom_G(V, V), the space of equivariant linear maps.

        The dimension is I² + Σ_l n_l² + (M - 2): one dense map between the invariants, one dense
        map on each hidden level, and one scalar for each inner weight matrix. In closed form it is
        I² + (d_0+2)² + (d_M+2)² + 9 (M-3) + (M-2) for M >= 3 and I² + (d_0+d_2+1)² for M = 2.
        A hidden level with a single neuron has no permutations. Its features are invariants, so
        neither its own map nor the scalars of the adjacent weights add to the dimension.
        """
        moves = [d > 1 for d in self.hidden_dims]
        on_levels = sum(n * n for n, m in zip(self.num_node_features, moves, strict=True) if m)
        on_edges = sum(before and after for before, after in pairwise(moves))
        return self.num_invariants**2 + on_levels + on_edges
