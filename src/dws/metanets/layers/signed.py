"""Layers for weights of sine networks that are equivariant to signed permutations of neurons.

The group acts on ``SignedFeatures``. All blocks in this module are composed of the following maps,
which commute with the group:

- odd to odd and edge to edge: linear maps without bias, times an even factor (a gate);
- edges and odd features of one level to odd features of the other: Σ_j o_j e_jk, in which the sign
  of neuron j cancels. A forward pass of the input network has this form, and so does a backward
  pass with exchanged levels. There are far more edges than neurons, so edges have few channels,
  and each of them scales one group of the neurons' channels;
- odd to even: products of two odd features of one neuron;
- odd to edge: products o_j o_k of the neurons at the ends;
- even to even, and global: any map, with means over neurons for global features.

``dws.metanets.layers.parity`` rejects all other maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from torch import Tensor, nn

from dws.metanets.layers.parity import Odd, OddLinear, OddNorm, concatenate
from dws.metanets.ops import first_maximum
from dws.weightspace import WeightBatch, WeightSpaceSpec


@dataclass(frozen=True)
class SignedFeatures:
    """Input and output features of a layer.

    Attributes:
        odd: Features (B, d_l, C) for each hidden level l, which are permuted and change their sign
            with their neuron.
        even: Features (B, d_l, C) for each hidden level l, which are only permuted.
        edges: Features (B, d_l, d_{l+1}, E) for each pair of adjacent hidden levels, which are
            permuted and change their sign with either of their neurons.
        globals: Invariant features (B, C).
    """

    odd: Sequence[Odd]
    even: Sequence[Tensor]
    edges: Sequence[Odd]
    globals: Tensor


def num_odd_features(spec: WeightSpaceSpec) -> list[int]:
    """Number of odd features of a neuron for each hidden level: its bias and its outer weights."""
    sizes = [1] * len(spec.hidden_dims)
    sizes[0] += spec.dims[0]
    sizes[-1] += spec.dims[-1]
    return sizes


class Encoder(nn.Module):
    """Map from weights to features; even features are maps of the absolute values of odd ones."""

    def __init__(
        self, spec: WeightSpaceSpec, in_channels: int, channels: int, edge_channels: int
    ) -> None:
        super().__init__()
        sizes = [n * in_channels for n in num_odd_features(spec)]
        self.odd = nn.ModuleList(OddLinear(size, channels) for size in sizes)
        self.even = nn.ModuleList(nn.Linear(size, channels) for size in sizes)
        self.edges = nn.ModuleList(OddLinear(in_channels, edge_channels) for _ in sizes[1:])
        self.globals = nn.Linear(spec.dims[-1] * in_channels, channels)

    def forward(self, batch: WeightBatch) -> SignedFeatures:
        """Encode networks with ``in_channels`` channels."""
        first, *inner, last = batch.weights
        *biases, last_bias = batch.biases
        nodes = [Odd(b, (level,)) for level, b in enumerate(biases)]
        nodes[0] = concatenate([nodes[0], Odd(first.transpose(1, 2).flatten(2), nodes[0].levels)])
        nodes[-1] = concatenate([nodes[-1], Odd(last.flatten(2), nodes[-1].levels)])
        edges = [Odd(w, (level, level + 1)) for level, w in enumerate(inner)]
        return SignedFeatures(
            odd=[f(x) for f, x in zip(self.odd, nodes, strict=True)],
            even=[f(x.abs()) for f, x in zip(self.even, nodes, strict=True)],
            edges=[f(w) for f, w in zip(self.edges, edges, strict=True)],
            globals=self.globals(last_bias.flatten(1)),
        )


class Decoder(nn.Module):
    """Map from features to weights, the counterpart of ``Encoder``.

    The bias and outer weights of a neuron are a linear map of its odd features, multiplied by a
    gate. The inner weight between two neurons is the sum of Σ_c (A o_j)_c (B o_k)_c, which gives
    matrices of any rank up to the number of channels, and a linear map of the edge features, which
    have few channels. Gates are computed from even features.
    """

    def __init__(
        self, spec: WeightSpaceSpec, channels: int, edge_channels: int, out_channels: int
    ) -> None:
        super().__init__()
        self.spec = spec
        self.out_channels = out_channels
        sizes = [n * out_channels for n in num_odd_features(spec)]
        self.odd = nn.ModuleList(Gated(channels, channels) for _ in sizes)
        self.to_neurons = nn.ModuleList(OddLinear(channels, size) for size in sizes)
        self.edges = nn.ModuleList(
            EdgeDecoder(channels, edge_channels, out_channels) for _ in sizes[1:]
        )
        self.globals = update(channels, 2 * channels, spec.dims[-1] * out_channels)

    def forward(self, features: SignedFeatures) -> WeightBatch:
        """Decode to networks with ``out_channels`` channels."""
        d_0, d_out = self.spec.dims[0], self.spec.dims[-1]
        gated = [f(o, h) for f, o, h in zip(self.odd, features.odd, features.even, strict=True)]
        nodes = [
            f(x).values.unflatten(2, (-1, self.out_channels))  # (B, d_l, bias and weights, C)
            for f, x in zip(self.to_neurons, gated, strict=True)
        ]
        ends = zip(pairwise(features.odd), pairwise(features.even), strict=True)
        weights = [
            nodes[0][:, :, 1 : 1 + d_0].transpose(1, 2),
            *(
                f(e, *odds, *evens).values
                for f, e, (odds, evens) in zip(self.edges, features.edges, ends, strict=True)
            ),
            nodes[-1][:, :, -d_out:],
        ]
        last_bias = self.globals(features.globals).unflatten(1, (d_out, self.out_channels))
        biases = [*(x[:, :, 0] for x in nodes), last_bias]
        return WeightBatch.from_tensors(chain.from_iterable(zip(weights, biases, strict=True)))


class EdgeDecoder(nn.Module):
    """Map from features of edges and of the neurons at their ends to inner weights."""

    def __init__(self, channels: int, edge_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.linear = OddLinear(edge_channels, out_channels)
        self.gates = nn.ModuleList(nn.Linear(channels, out_channels) for _ in range(2))
        self.ends = nn.ModuleList(Gated(channels, channels * out_channels) for _ in range(2))

    def forward(self, edges: Odd, odd: Odd, next_odd: Odd, even: Tensor, next_even: Tensor) -> Odd:
        """(B, d, d', E), (B, d, C), (B, d', C), (B, d, C), (B, d', C) -> (B, d, d', C_out)."""
        gate = self.gates[0](even)[:, :, None] + self.gates[1](next_even)[:, None]
        ends = self.ends[0](odd, even), self.ends[1](next_odd, next_even)
        inner = ends[0].inner(ends[1], self.out_channels)
        return self.linear(edges).gated(gate) + inner  # type: ignore[no-any-return]


class Gated(nn.Module):
    """A linear map of normalised odd features, multiplied by a gate from even features."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = normed_linear(channels, out_channels)
        self.gate = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, out_channels))

    def forward(self, odd: Odd, even: Tensor) -> Odd:
        """(B, d, C), (B, d, C) -> (B, d, C_out)."""
        return self.linear(odd).gated(self.gate(even))  # type: ignore[no-any-return]


class SignedLayer(nn.Module):
    """An equivariant layer: update of edges, then of neurons, then of global features."""

    def __init__(self, num_levels: int, channels: int, edge_channels: int) -> None:
        super().__init__()
        pairs = range(num_levels - 1)
        self.edges = nn.ModuleList(EdgeUpdate(channels, edge_channels) for _ in pairs)
        self.forward_messages = nn.ModuleList(Message(channels) for _ in pairs)
        self.backward_messages = nn.ModuleList(Message(channels) for _ in pairs)
        self.neurons = nn.ModuleList(
            NeuronUpdate(channels, num_messages=(i > 0) + (i < num_levels - 1))
            for i in range(num_levels)
        )
        self.globals = update(channels * (num_levels + 1), 2 * channels, channels)

    def forward(self, features: SignedFeatures) -> SignedFeatures:
        """Update all features."""
        odd, even = list(features.odd), list(features.even)
        ends = zip(pairwise(odd), pairwise(even), strict=True)
        edges = [
            f(e, *odds, *evens)
            for f, e, (odds, evens) in zip(self.edges, features.edges, ends, strict=True)
        ]
        messages: list[list[Odd]] = [[] for _ in odd]
        for i, e in enumerate(edges):
            messages[i + 1].append(self.forward_messages[i](odd[i], e))
            messages[i].append(self.backward_messages[i](odd[i + 1], e.transpose()))
        for i, f in enumerate(self.neurons):
            odd[i], even[i] = f(odd[i], even[i], messages[i], features.globals)
        pooled = torch.cat([features.globals, *(h.mean(dim=1) for h in even)], dim=1)
        return SignedFeatures(odd, even, edges, features.globals + self.globals(pooled))


class EdgeUpdate(nn.Module):
    """Update of edges: e_jk + gate(h_j, h_k) · linear(e_jk) + (P o_j) · (Q o_k), per channel."""

    def __init__(self, channels: int, edge_channels: int) -> None:
        super().__init__()
        self.linear = normed_linear(edge_channels, edge_channels)
        self.gates = nn.ModuleList(nn.Linear(channels, edge_channels) for _ in range(2))
        self.ends = nn.ModuleList(normed_linear(channels, edge_channels) for _ in range(2))

    def forward(self, edges: Odd, odd: Odd, next_odd: Odd, even: Tensor, next_even: Tensor) -> Odd:
        """(B, d, d', E), (B, d, C), (B, d', C), (B, d, C), (B, d', C) -> (B, d, d', E)."""
        gate = self.gates[0](even)[:, :, None] + self.gates[1](next_even)[:, None]
        outer = self.ends[0](odd).outer(self.ends[1](next_odd))
        return edges + self.linear(edges).gated(gate) + outer  # type: ignore[no-any-return]


class Message(nn.Module):
    """Messages Σ_j (A o_j) · e_jk / sqrt(d) from neurons j of one level to neurons k of another."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = normed_linear(channels, channels)

    def forward(self, odd: Odd, edges: Odd) -> Odd:
        """(B, d, C), (B, d, d', E) -> (B, d', C)."""
        return self.linear(odd) @ edges  # type: ignore[no-any-return]


class NeuronUpdate(nn.Module):
    """Update of even features by products of odd ones, and of odd features with even gates."""

    def __init__(self, channels: int, *, num_messages: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(OddNorm(channels) for _ in range(1 + num_messages))
        self.linear = OddLinear((1 + num_messages) * channels, channels)
        self.product = Product((1 + num_messages) * channels, channels)
        self.even = update(3 * channels, 2 * channels, channels)
        self.gate = nn.Linear(channels, channels)

    def forward(
        self, odd: Odd, even: Tensor, messages: Sequence[Odd], globals_: Tensor
    ) -> tuple[Odd, Tensor]:
        """Update odd and even features (B, d, C), given messages (B, d, C) and globals (B, C)."""
        normed = concatenate([f(x) for f, x in zip(self.norms, [odd, *messages], strict=True)])
        expanded = globals_[:, None].expand_as(even)
        even = even + self.even(torch.cat([even, self.product(normed), expanded], dim=2))
        return odd + self.linear(normed).gated(self.gate(even)), even


class Product(nn.Module):
    """Even features (L o) · (L' o) of odd features o, channel by channel."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.factors = nn.ModuleList(OddLinear(in_channels, channels) for _ in range(2))

    def forward(self, odd: Odd) -> Tensor:
        """(B, d, C_in) -> (B, d, C)."""
        return self.factors[0](odd) * self.factors[1](odd)  # type: ignore[no-any-return]


class ReadOut(nn.Module):
    """Mean and maximum of F even features over the neurons of a level."""

    def __init__(self, channels: int, num_features: int) -> None:
        super().__init__()
        self.even = update(channels, num_features, num_features)
        self.product = Product(channels, num_features)

    def forward(self, odd: Odd, even: Tensor) -> Tensor:
        """(B, d, C), (B, d, C) -> (B, 2 F)."""
        features = self.even(even) + self.product(odd)
        return torch.cat([features.mean(dim=1), first_maximum(features, dim=1)], dim=1)


def normed_linear(in_channels: int, out_channels: int) -> nn.Sequential:
    """Construct a linear map of normalised odd features."""
    return nn.Sequential(OddNorm(in_channels), OddLinear(in_channels, out_channels))


def update(in_channels: int, hidden_channels: int, channels: int) -> nn.Sequential:
    """Construct an MLP for even features."""
    return nn.Sequential(
        nn.LayerNorm(in_channels),
        nn.Linear(in_channels, hidden_channels),
        nn.GELU(),
        nn.Linear(hidden_channels, channels),
    )
