"""The equivariant layer in the form of the paper, with separate blocks for each pair of spaces.

The implementation is intentionally slow and redundant and does not use ``dws.metanets``. It serves
as an oracle for ``EquivariantLinear`` and as the baseline of ``scripts/bench_layers.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, combinations

import torch
from torch import Tensor, nn

from dws.weightspace import WeightBatch, WeightSpaceSpec


@dataclass(frozen=True)
class Space:
    """A weight matrix or bias: the hidden levels among its axes, and the size of other axes."""

    name: str
    levels: tuple[int, ...]
    num_fixed: int


def spaces(spec: WeightSpaceSpec) -> list[Space]:
    """Return the spaces W_1, b_1, W_2, ..., in the order of ``WeightBatch.tensors``."""
    result = []
    last = spec.num_layers
    for m, (d_in, d_out) in enumerate(spec.weight_shapes, start=1):
        fixed_in, fixed_out = (d_in if m == 1 else 1), (d_out if m == last else 1)
        levels = tuple(level for level in (m - 1, m) if 0 < level < last)
        result.append(Space(f"W{m}", levels, fixed_in * fixed_out))
        result.append(Space(f"b{m}", tuple(x for x in (m,) if x < last), fixed_out))
    return result


def shared_subsets(source: Space, target: Space) -> list[tuple[int, ...]]:
    """Return the sets of shared levels that a basis map may keep without pooling."""
    shared = [level for level in source.levels if level in target.levels]
    sizes = range(len(shared) + 1)
    return list(chain.from_iterable(combinations(shared, n) for n in sizes))


class BlockwiseLinear(nn.Module):
    """Sum over (source, target, kept levels): pool other levels, map channels, broadcast."""

    def __init__(
        self, spec: WeightSpaceSpec, in_channels: int, out_channels: int, *, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.spec, self.reduction, self.out_channels = spec, reduction, out_channels
        self.spaces = spaces(spec)
        self.blocks = nn.ModuleDict(
            {
                self.key(s, t, kept): nn.Linear(
                    s.num_fixed * in_channels, t.num_fixed * out_channels, bias=False
                )
                for s in self.spaces
                for t in self.spaces
                for kept in shared_subsets(s, t)
            }
        )
        self.biases = nn.ParameterDict(
            {t.name: nn.Parameter(torch.zeros(t.num_fixed * out_channels)) for t in self.spaces}
        )

    @staticmethod
    def key(source: Space, target: Space, kept: tuple[int, ...]) -> str:
        return f"{source.name}_to_{target.name}_keeping_{'_'.join(map(str, kept))}"

    def forward(self, batch: WeightBatch) -> WeightBatch:
        tensors = [self.fold(s, t) for s, t in zip(self.spaces, batch.tensors(), strict=True)]
        outputs = []
        for target in self.spaces:
            total = self.biases[target.name]
            for source, tensor in zip(self.spaces, tensors, strict=True):
                for kept in shared_subsets(source, target):
                    pooled = self.pool(tensor, source, kept)
                    mapped = self.blocks[self.key(source, target, kept)](pooled)
                    total = total + self.broadcast(mapped, kept, target)
            outputs.append(
                self.unfold(target, total.expand(len(tensors[0]), *self.axes(target), -1))
            )
        return WeightBatch(tuple(outputs[0::2]), tuple(outputs[1::2]))

    def axes(self, space: Space) -> list[int]:
        return [self.spec.dims[level] for level in space.levels]

    def fold(self, space: Space, tensor: Tensor) -> Tensor:
        """Reshape axes that are not permuted to channels: (B, hidden axes, fixed * C)."""
        if space.name == "W1":
            tensor = tensor.transpose(1, 2)
        return tensor.reshape(len(tensor), *self.axes(space), -1)

    def unfold(self, space: Space, tensor: Tensor) -> Tensor:
        m = int(space.name[1:])
        d_in, d_out = self.spec.weight_shapes[m - 1]
        if space.name[0] == "b":
            return tensor.reshape(len(tensor), d_out, -1)
        if space.name == "W1":
            return tensor.reshape(len(tensor), d_out, d_in, -1).transpose(1, 2)
        return tensor.reshape(len(tensor), d_in, d_out, -1)

    def pool(self, tensor: Tensor, space: Space, kept: tuple[int, ...]) -> Tensor:
        dims = [axis for axis, level in enumerate(space.levels, start=1) if level not in kept]
        if not dims:
            return tensor
        return {"mean": tensor.mean, "sum": tensor.sum, "max": tensor.amax}[self.reduction](dims)

    def broadcast(self, tensor: Tensor, kept: tuple[int, ...], target: Space) -> Tensor:
        for axis, level in enumerate(target.levels, start=1):
            if level not in kept:
                tensor = tensor.unsqueeze(axis)
        return tensor


def copy_coefficients(fast: nn.Module, blocks: BlockwiseLinear) -> None:
    """Copy the coefficients of an ``EquivariantLinear`` to the blocks."""
    spec, c_out = blocks.spec, blocks.out_channels
    c_in = fast.in_channels
    last = spec.num_layers
    by_name = {space.name: space for space in blocks.spaces}

    def names_at(level: int) -> list[str]:  # bias, incoming, outgoing
        return [f"b{level}", f"W{level}", f"W{level + 1}"]

    invariant_order: list[str] = []
    for level in range(1, last):
        own = names_at(level) if level == last - 1 else names_at(level)[:2]
        invariant_order += own
    invariant_order.append(f"b{last}")

    def fill(weight: Tensor, order: list[str], kept: tuple[int, ...]) -> None:
        rows = weight.split([by_name[t].num_fixed * c_out for t in order], dim=0)
        for target, row in zip(order, rows, strict=True):
            parts = row.split([by_name[s].num_fixed * c_in for s in order], dim=1)
            for source, block in zip(order, parts, strict=True):
                key = blocks.key(by_name[source], by_name[target], kept)
                blocks.blocks[key].weight.copy_(block)

    with torch.no_grad():
        fill(fast.invariant_map.weight, invariant_order, ())
        for level, node_map in enumerate(fast.node_maps, start=1):
            fill(node_map.weight, names_at(level), (level,))
        for m, edge_map in enumerate(fast.edge_maps, start=2):
            fill(edge_map.weight, [f"W{m}"], (m - 1, m))
        sizes = [by_name[t].num_fixed * c_out for t in invariant_order]
        for target, bias in zip(invariant_order, fast.invariant_map.bias.split(sizes), strict=True):
            blocks.biases[target].copy_(bias)
