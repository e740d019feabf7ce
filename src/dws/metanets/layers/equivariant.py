"""All affine maps between weight spaces that commute with reorderings of hidden neurons.

Theorem (Navon et al. 2023, Section 4; counted in ``WeightSpaceSpec.num_equivariant_maps``). Pool a
point of the weight space to node features on each hidden level, and those to I invariants. Every
equivariant linear map is the sum of

- one dense map from the I invariants to I values, each broadcast back to where it was pooled,
- one dense map on the n_l node features of each hidden level, broadcast back likewise,
- one multiple of each inner weight matrix,

and each map is such a sum in one way only. The affine maps add I constants.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dws.metanets.layers.pooling import (
    Reduction,
    check_reduction,
    check_widths,
    invariant_second_moments,
    invariants,
    node_features,
    node_second_moments,
    num_own_features,
)
from dws.weightspace import WeightBatch, WeightSpaceSpec


class EquivariantLinear(nn.Module):
    """The complete equivariant affine layer, without redundant parameters.

    Differs: the paper writes the layer as M² x 4 blocks, each with its own pooling (Tables 5-8);
    those blocks pool the same things again and repeat each other's maps. With
    ``reduction="mean"`` this layer spans the same space with exactly
    ``spec.num_equivariant_maps * in_channels * out_channels`` weights and
    ``spec.num_invariants * out_channels`` biases. ``"sum"`` spans it too; ``"max"`` is as
    equivariant but not linear.

    Args:
        spec: The architecture of the networks that are read.
        in_channels: C_in.
        out_channels: C_out.
        reduction: How features are pooled.
        bias: Whether to add the I constants.

    Shape:
        WeightBatch with C_in channels -> WeightBatch of the same spec with C_out channels.

    Raises:
        ValueError: On an unknown reduction, no channels, or a batch of another spec or number of
            channels.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        in_channels: int,
        out_channels: int,
        *,
        reduction: Reduction = "mean",
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        check_widths(in_channels=in_channels, out_channels=out_channels)
        self.spec = spec
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.reduction: Reduction = reduction
        self.invariant_map = nn.Linear(
            spec.num_invariants * in_channels, spec.num_invariants * out_channels, bias=bias
        )
        self.node_maps = nn.ModuleList(
            nn.Linear(n * in_channels, n * out_channels, bias=False) for n in spec.num_node_features
        )
        self.edge_maps = nn.ModuleList(
            nn.Linear(in_channels, out_channels, bias=False) for _ in range(spec.num_layers - 2)
        )
        self.reset_parameters()

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Pool once, map invariants, nodes and edges, and broadcast back."""
        batch.check_fits(self.spec, self.in_channels)
        nodes = node_features(batch, self.reduction)
        shared = self.invariant_map(invariants(batch, nodes, self.reduction))  # (B, I C_out)
        inner = batch.weights[1:-1]
        edges = [_map_edges(f, w) for f, w in zip(self.edge_maps, inner, strict=True)]
        nodes = [f(x) for f, x in zip(self.node_maps, nodes, strict=True)]
        return self._broadcast(shared, nodes, edges)

    def _broadcast(self, shared: Tensor, nodes: list[Tensor], edges: list[Tensor]) -> WeightBatch:
        """Invariants to nodes and nodes to weights: the transpose of pooling."""
        c, d_0, d_out = self.out_channels, self.spec.dims[0], self.spec.dims[-1]
        own = [n * c for n in num_own_features(self.spec)]
        *to_levels, last_bias = shared.split([*own, d_out * c], dim=-1)
        nodes = [
            x + pad(s, (0, x.shape[-1] - s.shape[-1])).unsqueeze(1)
            for x, s in zip(nodes, to_levels, strict=True)
        ]
        incoming = [d_0 * c] + [c] * len(edges)
        outgoing = [c] * len(edges) + [d_out * c]
        biases, into, out_of = zip(
            *(
                x.split([c, i, o], dim=-1)
                for x, i, o in zip(nodes, incoming, outgoing, strict=True)
            ),
            strict=True,
        )
        first = into[0].unflatten(-1, (d_0, c)).transpose(1, 2)  # (B, d_0, d_1, C_out)
        inner = [
            e + rows.unsqueeze(2) + columns.unsqueeze(1)
            for e, rows, columns in zip(edges, out_of[:-1], into[1:], strict=True)
        ]
        last = out_of[-1].unflatten(-1, (d_out, c))  # (B, d_{M-1}, d_M, C_out)
        return WeightBatch((first, *inner, last), (*biases, last_bias.unflatten(-1, (d_out, c))))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start with outputs of unit variance for independent standard normal inputs.

        An output entry is y = Σ_f w_f x_f over everything that is broadcast to it: invariants and
        the node features of its level, for an inner weight the nodes of both its levels and the
        weight itself. With independent, centred w of one variance s² for all that reach the
        entry, E[y²] = s² Σ_f E[x_f²], so s² = 1 / Σ_f E[x_f²]. E[x_f²] is 1 for an entry of the
        input and ``second_moment`` for a pool. Constants start at zero.
        """
        c_in, d_out = self.in_channels, self.spec.dims[-1]
        of_invariants = c_in * sum(invariant_second_moments(self.spec, self.reduction))
        of_nodes = [c_in * sum(m) for m in node_second_moments(self.spec, self.reduction)]
        invariant_stds: list[float] = []
        edge_stds = [
            (of_invariants + before + after + c_in) ** -0.5 for before, after in pairwise(of_nodes)
        ]
        for level, (f, n) in enumerate(
            zip(self.node_maps, self.spec.num_node_features, strict=True)
        ):
            stds = [(of_invariants + of_nodes[level]) ** -0.5] * n
            if level > 0:
                stds[1] = edge_stds[level - 1]
            if level < len(edge_stds):
                stds[-1] = edge_stds[level]
            _normal_rows(f, stds)
            invariant_stds += stds[: num_own_features(self.spec)[level]]
        invariant_stds += [of_invariants**-0.5] * d_out
        _normal_rows(self.invariant_map, invariant_stds)
        for f, std in zip(self.edge_maps, edge_stds, strict=True):
            _normal_rows(f, [std])
        if self.invariant_map.bias is not None:
            nn.init.zeros_(self.invariant_map.bias)


def _map_edges(linear: nn.Module, edges: Tensor) -> Tensor:
    """Map the channels of an inner weight, (B, d_in, d_out, C_in) -> (B, d_in, d_out, C_out).

    One product for each network instead of one with B d_in d_out rows, since the gradient of the
    coefficients would then be a sum of that many terms, which libraries compute slowly.
    """
    assert isinstance(linear.weight, Tensor)
    coefficients = linear.weight.t().expand(len(edges), -1, -1)
    mapped: Tensor = torch.bmm(edges.flatten(1, 2), coefficients)
    return mapped.unflatten(1, edges.shape[1:3])  # type: ignore[no-any-return]


def _normal_rows(linear: nn.Module, stds: list[float]) -> None:
    """Draw normal weights whose deviation is given for each output feature (all its channels)."""
    weight = linear.weight
    assert isinstance(weight, Tensor)
    scale = torch.tensor(stds).repeat_interleave(len(weight) // len(stds))
    weight.normal_().mul_(scale.unsqueeze(1))
