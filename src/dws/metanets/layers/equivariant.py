"""All affine maps between weight spaces that commute with permutations of hidden neurons.

Theorem (Navon et al. 2023, Section 4; counted in ``WeightSpaceSpec.num_equivariant_maps``). Every
equivariant linear map is ``broadcast`` after A after ``pool``, where A consists of

- one dense map on the I invariants,
- one dense map on the n_l node features of each hidden level,
- one multiple of each inner weight matrix.

If every hidden level has two neurons or more, each map is so in one way only. The affine maps add
I constants to the invariants.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils._pytree import tree_map

from dws.metanets.layers.features import (
    Features,
    Reduction,
    broadcast,
    check_reduction,
    check_widths,
    pool,
    second_moments,
)
from dws.metanets.ops import EdgeLinear
from dws.weightspace import WeightBatch, WeightSpaceSpec


class EquivariantLinear(nn.Module):
    """The complete equivariant affine layer, without redundant parameters.

    Deviation from the paper: it writes the layer as M² x 4 blocks (Tables 5-8), which pool the same
    entries repeatedly and share maps. With
    ``reduction="mean"`` this layer spans the same space with exactly
    ``spec.num_equivariant_maps * in_channels * out_channels`` weights and
    ``spec.num_invariants * out_channels`` biases (more weights than that, of the same space, where
    a hidden level has a single neuron). ``"sum"`` spans it too; ``"max"`` is as equivariant but not
    linear.

    Args:
        spec: The architecture of the input networks.
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
            EdgeLinear(in_channels, out_channels) for _ in range(spec.num_layers - 2)
        )
        self.reset_parameters()

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """The theorem: pool, map invariants, nodes and edges, broadcast."""
        batch.check_fits(self.spec, self.in_channels)
        invariants, nodes, edges = pool(batch, self.reduction)
        mapped = Features(
            self.invariant_map(invariants),
            [f(x) for f, x in zip(self.node_maps, nodes, strict=True)],
            [f(x) for f, x in zip(self.edge_maps, edges, strict=True)],
        )
        return broadcast(mapped, self.spec)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Start with outputs of unit variance for independent standard normal inputs.

        An output entry is y = Σ_f w_f x_f over all features f that are broadcast to it. With
        independent centred w_f of one variance s², E[y²] = s² Σ_f E[x_f²], so s² is the inverse of
        that sum. It is what the layer makes of the second moments if all its weights are 1: every
        map sums its inputs. The outputs of a layer are correlated, so this holds for one layer: a
        stack needs a norm between layers, without which ``"sum"`` grows and ``"max"`` shrinks.
        """
        moments = second_moments(self.spec, self.reduction)
        sums = tree_map(lambda x: x.sum(-1, keepdim=True).expand_as(x), moments)
        total = broadcast(sums, self.spec)
        std = pool(total.map(lambda x: (self.in_channels * x).rsqrt()), "mean")
        maps = [*self.node_maps, self.invariant_map, *self.edge_maps]
        for f, s in zip(maps, [*std.nodes, std.invariants, *std.edges], strict=True):
            rows = s.view(-1, 1).repeat_interleave(self.out_channels, dim=0)
            f.weight.normal_().mul_(rows.to(f.weight))
        if self.invariant_map.bias is not None:
            nn.init.zeros_(self.invariant_map.bias)
