"""A network on weights of sine networks that sees neither the order nor the signs of neurons.

Sine is odd: a hidden neuron whose incoming weights, bias and outgoing weights all change their
sign computes the same (``SignFlip``). With the reordering of neurons (Navon et al. 2023) the group
is the product over hidden levels of S_{d_l} ⋉ {±1}^{d_l}. It acts on

- *odd* features o of the neurons of each hidden level: the bias, the columns of W_1 at the first
  level, the rows of W_M at the last. They are reordered, and change sign with their neuron;
- features e of the *edges* between two hidden levels: W_2, ..., W_{M-1}. They change sign with
  either of their neurons;
- *even* features h of the neurons, which are only reordered, and *global* ones g: b_M.

Maps between them that commute with the group, from which every layer is built:

- odd to odd and edge to edge: linear without bias, since a bias would not change sign; times any
  even factor (a gate);
- edges and odd features of one level to odd features of the other: Σ_j o_j e_jk, in which the sign
  of neuron j cancels. It is what a forward pass of the network itself does, and with the roles
  exchanged a backward pass. Edges carry few channels, each of which takes its own group of the
  neurons' channels along, because there are far more edges than neurons;
- odd to even: products of two odd features of one neuron;
- odd to edge: products o_j o_k of the neurons at the ends;
- even to even, and global: anything, with means over neurons towards the global ones.

A layer first updates the edges, then sends messages along them, then updates neurons, then the
global features. Each update adds to what was there. At the end many even features of each neuron
are pooled over its level, and an MLP answers, linearly in all of its hidden layers. Before a linear
map odd and edge features are divided by their root mean square alone, since a shift would not
change its sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.weightspace import WeightBatch, WeightSpaceSpec


class SignDWSNet(nn.Module):
    """Invariant to reordering hidden neurons and to flipping their signs.

    Args:
        spec: The architecture of the networks that are read.
        in_channels: Channels of the input; 1 for plain weights.
        out_features: Size of the output.
        hidden_channels: Channels of what layers pass on of neurons, and of global features.
        edge_channels: Channels of what they pass on of edges; a divisor of ``hidden_channels``.
        read_channels: Even features of each neuron that are pooled at the end.
        num_layers: Number of equivariant layers.
        head_layers: Hidden layers of the MLP, of 4 ``hidden_channels`` each.
        dropout: Probability of dropping a feature before the output, in training.
        omega_0: ω0 of the networks, to read them after ``wrap_phases``: a
            ``dws.training.WeightSpaceModel`` is then invariant to ``PhaseShift`` too. None reads
            phases as they are, as suits networks whose biases began at 0.

    Raises:
        ValueError: On sizes out of range or a batch that does not fit.

    >>> net = SignDWSNet(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_channels: int = 64,
        edge_channels: int = 4,
        read_channels: int = 128,
        num_layers: int = 4,
        head_layers: int = 3,
        dropout: float = 0.0,
        omega_0: float | None = None,
    ) -> None:
        super().__init__()
        channels = (in_channels, out_features, hidden_channels, edge_channels, read_channels)
        sizes = (*channels, num_layers, head_layers)
        if min(sizes) < 1 or not 0 <= dropout < 1 or not (omega_0 is None or omega_0 > 0):
            raise UserError(
                "expected in_channels, out_features, hidden_channels, edge_channels, "
                "read_channels, num_layers and head_layers >= 1, 0 <= dropout < 1 and omega_0 > 0 "
                f"or none, got {', '.join(map(str, sizes))}, {dropout} and {omega_0}"
            )
        if hidden_channels % edge_channels:
            raise UserError(
                f"expected edge_channels that divide hidden_channels={hidden_channels}, got "
                f"{edge_channels}"
            )
        self.reads = "scaled" if omega_0 is None else "wrapped"  # see WeightSpaceModel
        self.omega_0 = omega_0
        self.spec = spec
        self.in_channels = in_channels
        self.encode = Encoder(spec, in_channels, hidden_channels, edge_channels)
        num_levels = len(spec.hidden_dims)
        self.layers = nn.ModuleList(
            Layer(num_levels, hidden_channels, edge_channels) for _ in range(num_layers)
        )
        self.read_outs = nn.ModuleList(
            ReadOut(hidden_channels, read_channels) for _ in range(num_levels)
        )
        width = 4 * hidden_channels
        widths = [2 * num_levels * read_channels + hidden_channels, *[width] * head_layers]
        self.hidden = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width), nn.GELU())
            for size in widths[:-1]
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(head_layers * width, out_features)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """What the output is read off, (B, 4 ``hidden_channels`` · ``head_layers``)."""
        batch.check_fits(self.spec, self.in_channels)
        features = self.encode(batch)
        for layer in self.layers:
            features = layer(features)
        pooled = [features.globals]
        pooled += [
            f(o, h) for f, o, h in zip(self.read_outs, features.odd, features.even, strict=True)
        ]
        hidden = [torch.cat(pooled, dim=1)]
        for f in self.hidden:
            hidden.append(f(hidden[-1]))
        return torch.cat(hidden[1:], dim=1)

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Read a batch of networks."""
        return self.head(self.dropout(self.embed(batch)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Features:
    """What the layers pass on.

    Attributes:
        odd: (B, d_l, C) for each hidden level l.
        even: (B, d_l, C) for each hidden level l.
        edges: (B, d_l, d_{l+1}, E) for each two neighbouring hidden levels.
        globals: (B, C).
    """

    odd: Sequence[Tensor]
    even: Sequence[Tensor]
    edges: Sequence[Tensor]
    globals: Tensor


class Encoder(nn.Module):
    """Weights to features of C and E channels; even ones come from absolute values."""

    def __init__(
        self, spec: WeightSpaceSpec, in_channels: int, channels: int, edge_channels: int
    ) -> None:
        super().__init__()
        d_0, *hidden, d_m = spec.dims
        sizes = [in_channels] * len(hidden)  # the bias
        sizes[0] += d_0 * in_channels
        sizes[-1] += d_m * in_channels
        self.odd = nn.ModuleList(linear(size, channels) for size in sizes)
        self.even = nn.ModuleList(nn.Linear(size, channels) for size in sizes)
        self.edges = nn.ModuleList(linear(in_channels, edge_channels) for _ in hidden[1:])
        self.globals = nn.Linear(d_m * in_channels, channels)

    def forward(self, batch: WeightBatch) -> Features:
        """Networks with ``in_channels`` channels."""
        nodes = list(batch.biases[:-1])
        nodes[0] = torch.cat([nodes[0], batch.weights[0].transpose(1, 2).flatten(2)], dim=2)
        nodes[-1] = torch.cat([nodes[-1], batch.weights[-1].flatten(2)], dim=2)
        return Features(
            odd=[f(x) for f, x in zip(self.odd, nodes, strict=True)],
            even=[f(x.abs()) for f, x in zip(self.even, nodes, strict=True)],
            edges=[f(w) for f, w in zip(self.edges, batch.weights[1:-1], strict=True)],
            globals=self.globals(batch.biases[-1].flatten(1)),
        )


class Layer(nn.Module):
    """Updates of edges, neurons and global features."""

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

    def forward(self, features: Features) -> Features:
        """The same kinds of features."""
        odd, even = list(features.odd), list(features.even)
        edges = [
            f(e, odd[i], odd[i + 1], even[i], even[i + 1])
            for i, (f, e) in enumerate(zip(self.edges, features.edges, strict=True))
        ]
        messages: list[list[Tensor]] = [[] for _ in odd]
        for i, e in enumerate(edges):
            messages[i + 1].append(self.forward_messages[i](odd[i], e))
            messages[i].append(self.backward_messages[i](odd[i + 1], e.transpose(1, 2)))
        for i, f in enumerate(self.neurons):
            odd[i], even[i] = f(odd[i], even[i], messages[i], features.globals)
        pooled = torch.cat([features.globals, *(h.mean(dim=1) for h in even)], dim=1)
        return Features(odd, even, edges, features.globals + self.globals(pooled))


class EdgeUpdate(nn.Module):
    """e_jk + gate(h_j, h_k) · linear(e_jk) + (P o_j) · (Q o_k), products channel by channel."""

    def __init__(self, channels: int, edge_channels: int) -> None:
        super().__init__()
        self.linear = normed_linear(edge_channels, edge_channels)
        self.gates = nn.ModuleList(nn.Linear(channels, edge_channels) for _ in range(2))
        self.ends = nn.ModuleList(normed_linear(channels, edge_channels) for _ in range(2))

    def forward(
        self, edges: Tensor, odd: Tensor, next_odd: Tensor, even: Tensor, next_even: Tensor
    ) -> Tensor:
        """(B, d, d', E), (B, d, C), (B, d', C), (B, d, C), (B, d', C) -> (B, d, d', E)."""
        gate = self.gates[0](even)[:, :, None] + self.gates[1](next_even)[:, None]
        outer = self.ends[0](odd)[:, :, None] * self.ends[1](next_odd)[:, None]
        return edges + gate * self.linear(edges) + outer  # type: ignore[no-any-return]


class Message(nn.Module):
    """Σ_j (A o_j) · e_jk / sqrt(d): what neurons j of one level tell neurons k of another.

    The C channels of A o_j fall into E groups, and each channel of e_jk scales its own group.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = normed_linear(channels, channels)

    def forward(self, odd: Tensor, edges: Tensor) -> Tensor:
        """(B, d, C), (B, d, d', E) -> (B, d', C)."""
        grouped = self.linear(odd).unflatten(2, (edges.shape[3], -1))
        sums = torch.einsum("bjgc,bjkg->bkgc", grouped, edges).flatten(2)
        return sums / math.sqrt(odd.shape[1])


class NeuronUpdate(nn.Module):
    """Even features learn from products of odd ones, and gate what is added to the odd ones."""

    def __init__(self, channels: int, *, num_messages: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(RootMeanSquareNorm(channels) for _ in range(1 + num_messages))
        self.linear = linear((1 + num_messages) * channels, channels)
        self.product = Product((1 + num_messages) * channels, channels)
        self.even = update(3 * channels, 2 * channels, channels)
        self.gate = nn.Linear(channels, channels)

    def forward(
        self, odd: Tensor, even: Tensor, messages: Sequence[Tensor], globals_: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Odd and even features (B, d, C), messages (B, d, C) each, global features (B, C)."""
        read = torch.cat([f(x) for f, x in zip(self.norms, [odd, *messages], strict=True)], dim=2)
        everywhere = globals_[:, None].expand_as(even)
        even = even + self.even(torch.cat([even, self.product(read), everywhere], dim=2))
        return odd + self.gate(even) * self.linear(read), even


class RootMeanSquareNorm(nn.RMSNorm):
    """``nn.RMSNorm`` in the precision of its weights, also where autocast made the input bf16."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return super().forward(x.to(self.weight.dtype))


class Product(nn.Module):
    """(L o) · (L' o), channel by channel: even features of odd ones."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.factors = nn.ModuleList(linear(in_channels, channels) for _ in range(2))

    def forward(self, odd: Tensor) -> Tensor:
        """(B, d, C_in) -> (B, d, C)."""
        return self.factors[0](odd) * self.factors[1](odd)  # type: ignore[no-any-return]


class ReadOut(nn.Module):
    """Mean and maximum over the neurons of a level, of more features than the layers pass on."""

    def __init__(self, channels: int, num_features: int) -> None:
        super().__init__()
        self.even = update(channels, num_features, num_features)
        self.product = Product(channels, num_features)

    def forward(self, odd: Tensor, even: Tensor) -> Tensor:
        """(B, d, C), (B, d, C) -> (B, 2 F)."""
        features = self.even(even) + self.product(odd)
        # max, not amax: its gradient goes by position, while amax compares values with their
        # maximum, which a compiler may have rounded to bf16 on the way, and divides by matches
        return torch.cat([features.mean(dim=1), features.max(dim=1).values], dim=1)


def linear(in_channels: int, out_channels: int) -> nn.Linear:
    """A map between features that change sign: it must have no bias."""
    return nn.Linear(in_channels, out_channels, bias=False)


def normed_linear(in_channels: int, out_channels: int) -> nn.Sequential:
    """A map between features that change sign, of features of unit root mean square."""
    return nn.Sequential(RootMeanSquareNorm(in_channels), linear(in_channels, out_channels))


def update(in_channels: int, hidden_channels: int, channels: int) -> nn.Sequential:
    """An MLP between features that do not change sign."""
    return nn.Sequential(
        nn.LayerNorm(in_channels),
        nn.Linear(in_channels, hidden_channels),
        nn.GELU(),
        nn.Linear(hidden_channels, channels),
    )
