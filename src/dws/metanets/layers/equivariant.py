"""All affine maps between weight spaces that commute with permutations of hidden neurons.

Theorem (Navon et al. 2023, Section 4; the dimension is ``WeightSpaceSpec.num_equivariant_maps``).
Every equivariant linear map is a composition of ``pool``, a linear map A and ``broadcast``, where A
consists of

- one dense map on the I invariants,
- one dense map on the n_l node features of each hidden level,
- one scalar for each inner weight matrix.

If every hidden level has at least two neurons, this representation is unique. Affine maps add I
constants to the invariants.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils._pytree import tree_map

from dws.metanets.checks import check_widths
from dws.metanets.layers.features import (
    Features,
    Reduction,
    broadcast,
    check_reduction,
    pool,
    second_moments,
)
from dws.metanets.ops import EdgeLinear
from dws.weightspace import WeightBatch, WeightSpaceSpec


class EquivariantLinear(nn.Module):
    """The complete equivariant affine layer, without redundant parameters.

    Deviation from the paper: the paper writes the layer as M² x 4 blocks (Tables 5-8), which pool
    the same entries repeatedly and share maps. With ``reduction="mean"`` this layer spans the same
    space with exactly ``spec.num_equivariant_maps * in_channels * out_channels`` weights and
    ``spec.num_invariants * out_channels`` biases. If a hidden level has a single neuron, the layer
    has more weights than the dimension of this space. ``"sum"`` spans the same space. ``"max"`` is
    equivariant but not linear.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels, C_in.
        out_channels: Number of output channels, C_out.
        reduction: Pooling of features: ``"mean"``, ``"sum"`` or ``"max"``.
        bias: Whether to add the I constants.

    Shape:
        WeightBatch with C_in channels -> WeightBatch of the same spec with C_out channels.

    Raises:
        ValueError: If the reduction is unknown, a number of channels is below 1, or a batch does
            not match the spec or the number of channels.
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
        """Pool, map invariants, nodes and edges, and broadcast, as in the theorem."""
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
        """Initialise such that outputs have unit variance for independent standard normal inputs.

        An output entry is y = Σ_f w_f x_f over all features f that are broadcast to it. If the w_f
        are independent with mean 0 and variance s², then E[y²] = s² Σ_f E[x_f²], so s² is the
        inverse of this sum. The sum is the output of the layer for the second moments if all
        weights are 1, because every map then sums its inputs. The outputs of a layer are
        correlated, so the result holds for a single layer. A stack needs a norm between layers;
        without it, activations grow with ``"sum"`` and shrink with ``"max"``.
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
