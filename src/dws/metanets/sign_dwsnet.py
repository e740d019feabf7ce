"""Networks on weights of sine networks that are equivariant to order and signs of hidden neurons.

Sine is odd: a hidden neuron whose incoming weights, bias and outgoing weights all change their
sign computes the same. With the permutations (Navon et al. 2023) the group is that of
``SignedPermutation``, the product over hidden levels of S_{d_l} ⋉ {±1}^{d_l}. It acts on

- *odd* features o of the neurons of each hidden level: the bias, the columns of W_1 at the first
  level, the rows of W_M at the last. They are permuted, and change sign with their neuron;
- odd features e of the *edges* between two hidden levels: W_2, ..., W_{M-1}. They change sign with
  either of their neurons;
- *even* features h of the neurons, which are only permuted, and *global* ones g: b_M.

Maps between them that commute with the group, from which every layer is built:

- odd to odd and edge to edge: linear without bias, times any even factor (a gate);
- edges and odd features of one level to odd features of the other: Σ_j o_j e_jk, in which the sign
  of neuron j cancels. It is what a forward pass of the network itself does, and with the roles
  exchanged a backward pass. Edges carry few channels, each of which takes its own group of the
  neurons' channels along, because there are far more edges than neurons;
- odd to even: products of two odd features of one neuron;
- odd to edge: products o_j o_k of the neurons at the ends;
- even to even, and global: anything, with means over neurons towards the global ones.

``dws.metanets.layers.parity`` refuses all others. A layer first updates the edges, then sends
messages along them, then updates neurons, then the global features. Each update adds to what was
there. Before a linear map odd features are divided by their root mean square.

Related work: ScaleGMN (Kalogeropoulos et al., NeurIPS 2024, arXiv 2406.10685) treats the signs of
sine networks in message passing on the graph of neurons. Its invariant functions of odd features
are |x| or the symmetrisation ρ(x) + ρ(-x), its equivariant ones are linear maps times these, and
its code makes phases canonical before training. Deviation: here even features start from |x| as
well, but are a second stream with normalisation, MLPs and global features of its own, which learns
from products of two linear maps of odd features and gates them; edges have features of their own
that are updated. ``wrap_phases`` is a canonical form of phases too, which jumps where ω0 b is an
odd multiple of π/2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.layers.features import check_widths
from dws.metanets.layers.parity import Odd, OddLinear, OddNorm, concatenate
from dws.metanets.ops import first_maximum
from dws.weightspace import Standardize, WeightBatch, WeightSpaceSpec, wrap_phases


@dataclass(frozen=True)
class Features:
    """What the layers pass on.

    Attributes:
        odd: (B, d_l, C) for each hidden level l.
        even: (B, d_l, C) for each hidden level l.
        edges: (B, d_l, d_{l+1}, E) for each two neighbouring hidden levels.
        globals: (B, C).
    """

    odd: Sequence[Odd]
    even: Sequence[Tensor]
    edges: Sequence[Odd]
    globals: Tensor


class SignTrunk(nn.Module):
    """Weights to features, by an encoder and ``num_layers`` layers. Arguments as ``SignDWSNet``."""

    reads = "scaled"  # by ``WeightSpaceModel``: a shift would end the symmetry

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int,
        hidden_channels: int,
        edge_channels: int,
        num_layers: int,
    ) -> None:
        super().__init__()
        check_widths(
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            edge_channels=edge_channels,
            num_layers=num_layers,
        )
        if hidden_channels % edge_channels:
            raise UserError(
                f"expected edge_channels that divide hidden_channels={hidden_channels}, got "
                f"{edge_channels}"
            )
        self.spec = spec
        self.in_channels = in_channels
        self.encode = Encoder(spec, in_channels, hidden_channels, edge_channels)
        num_levels = len(spec.hidden_dims)
        self.layers = nn.ModuleList(
            Layer(num_levels, hidden_channels, edge_channels) for _ in range(num_layers)
        )

    def features(self, batch: WeightBatch) -> Features:
        """Of networks with ``in_channels`` channels."""
        batch.check_fits(self.spec, self.in_channels)
        features: Features = self.encode(batch)
        for layer in self.layers:
            features = layer(features)
        return features


class SignDWSNet(SignTrunk):
    """Invariant to permutations and sign flips of hidden neurons.

    At the end many even features of each neuron are pooled over its level, and an MLP answers,
    linearly in all of its hidden layers.

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
        omega_0: ω0 of the networks, to be invariant to ``PhaseShift`` too: the network takes
            weights as they are, applies ``wrap_phases``, and scales them, see ``fit``. None reads
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
        check_widths(
            out_features=out_features, read_channels=read_channels, head_layers=head_layers
        )
        if not 0 <= dropout < 1 or not (omega_0 is None or omega_0 > 0):
            raise UserError(
                f"expected 0 <= dropout < 1 and omega_0 > 0 or none, got {dropout} and {omega_0}"
            )
        super().__init__(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            edge_channels=edge_channels,
            num_layers=num_layers,
        )
        self.omega_0 = omega_0
        if omega_0 is not None:
            self.reads = "wrapped"
            self.scale = Standardize(spec)
        num_levels = len(spec.hidden_dims)
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

    def fit(self, reference: WeightBatch) -> None:
        """Scale what ``wrap_phases`` gives by the deviations of a reference.

        Args:
            reference: The training split, not scaled.

        Raises:
            ValueError: If ω0 is not set.
        """
        if self.omega_0 is None:
            raise UserError("Only a network with omega_0 is fitted to a reference; set omega_0.")
        self.scale.fit(wrap_phases(reference, omega_0=self.omega_0), keep_signs=True)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """What the output is read off, (B, 4 ``hidden_channels`` · ``head_layers``)."""
        if self.omega_0 is not None:
            batch = self.scale(wrap_phases(batch, omega_0=self.omega_0))
        features = self.features(batch)
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


class EquivariantSignDWSNet(SignTrunk):
    """Weights in, weights out, equivariant to permutations and sign flips of hidden neurons.

    The counterpart of ``EquivariantDWSNet``: every weight and bias of a hidden neuron is an odd
    feature, and the last bias an even one. Scale weights, and do not shift them: it would end the
    symmetry, see ``Standardize.fit(..., keep_signs=True)``.

    Args:
        spec: The architecture of the networks that are read and written.
        in_channels: Channels of the input; 1 for plain weights.
        out_channels: Channels of the output; 1 for plain weights.
        hidden_channels: As for ``SignDWSNet``.
        edge_channels: As for ``SignDWSNet``.
        num_layers: As for ``SignDWSNet``.

    Shape:
        WeightBatch with ``in_channels`` -> WeightBatch of the same spec with ``out_channels``.

    Raises:
        ValueError: As for ``SignDWSNet``.
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_channels: int = 1,
        hidden_channels: int = 64,
        edge_channels: int = 4,
        num_layers: int = 4,
    ) -> None:
        check_widths(out_channels=out_channels)
        super().__init__(
            spec,
            in_channels=in_channels,
            hidden_channels=hidden_channels,
            edge_channels=edge_channels,
            num_layers=num_layers,
        )
        self.decode = Decoder(spec, hidden_channels, edge_channels, out_channels)

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Map a batch of networks to networks."""
        return self.decode(self.features(batch))  # type: ignore[no-any-return]


def _num_odd(spec: WeightSpaceSpec) -> list[int]:
    """Odd features of a neuron of each hidden level: bias, and weights from inputs, to outputs."""
    sizes = [1] * len(spec.hidden_dims)
    sizes[0] += spec.dims[0]
    sizes[-1] += spec.dims[-1]
    return sizes


class Encoder(nn.Module):
    """Weights to features of C and E channels; even ones come from absolute values."""

    def __init__(
        self, spec: WeightSpaceSpec, in_channels: int, channels: int, edge_channels: int
    ) -> None:
        super().__init__()
        sizes = [n * in_channels for n in _num_odd(spec)]
        self.odd = nn.ModuleList(OddLinear(size, channels) for size in sizes)
        self.even = nn.ModuleList(nn.Linear(size, channels) for size in sizes)
        self.edges = nn.ModuleList(OddLinear(in_channels, edge_channels) for _ in sizes[1:])
        self.globals = nn.Linear(spec.dims[-1] * in_channels, channels)

    def forward(self, batch: WeightBatch) -> Features:
        """Networks with ``in_channels`` channels."""
        first, *inner, last = batch.weights
        *biases, last_bias = batch.biases
        nodes = [Odd(b, (level,)) for level, b in enumerate(biases)]
        nodes[0] = concatenate([nodes[0], Odd(first.transpose(1, 2).flatten(2), nodes[0].levels)])
        nodes[-1] = concatenate([nodes[-1], Odd(last.flatten(2), nodes[-1].levels)])
        edges = [Odd(w, (level, level + 1)) for level, w in enumerate(inner)]
        return Features(
            odd=[f(x) for f, x in zip(self.odd, nodes, strict=True)],
            even=[f(x.abs()) for f, x in zip(self.even, nodes, strict=True)],
            edges=[f(w) for f, w in zip(self.edges, edges, strict=True)],
            globals=self.globals(last_bias.flatten(1)),
        )


class Decoder(nn.Module):
    """Features to weights: what an ``Encoder`` reads off the weights is written there."""

    def __init__(
        self, spec: WeightSpaceSpec, channels: int, edge_channels: int, out_channels: int
    ) -> None:
        super().__init__()
        self.spec = spec
        self.out_channels = out_channels
        self.odd = nn.ModuleList(OddLinear(channels, n * out_channels) for n in _num_odd(spec))
        self.edges = nn.ModuleList(
            OddLinear(edge_channels, out_channels) for _ in spec.hidden_dims[1:]
        )
        self.globals = nn.Linear(channels, spec.dims[-1] * out_channels)

    def forward(self, features: Features) -> WeightBatch:
        """Networks with ``out_channels`` channels."""
        d_0, d_out = self.spec.dims[0], self.spec.dims[-1]
        nodes = [
            f(x).values.unflatten(2, (-1, self.out_channels))  # (B, d_l, bias and weights, C)
            for f, x in zip(self.odd, features.odd, strict=True)
        ]
        weights = [
            nodes[0][:, :, 1 : 1 + d_0].transpose(1, 2),
            *(f(e).values for f, e in zip(self.edges, features.edges, strict=True)),
            nodes[-1][:, :, -d_out:],
        ]
        last_bias = self.globals(features.globals).unflatten(1, (d_out, self.out_channels))
        biases = [*(x[:, :, 0] for x in nodes), last_bias]
        return WeightBatch.from_tensors(chain.from_iterable(zip(weights, biases, strict=True)))


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
        return Features(odd, even, edges, features.globals + self.globals(pooled))


class EdgeUpdate(nn.Module):
    """e_jk + gate(h_j, h_k) · linear(e_jk) + (P o_j) · (Q o_k), products channel by channel."""

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
    """Σ_j (A o_j) · e_jk / sqrt(d): what neurons j of one level tell neurons k of another."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = normed_linear(channels, channels)

    def forward(self, odd: Odd, edges: Odd) -> Odd:
        """(B, d, C), (B, d, d', E) -> (B, d', C)."""
        return self.linear(odd) @ edges  # type: ignore[no-any-return]


class NeuronUpdate(nn.Module):
    """Even features learn from products of odd ones, and gate what is added to the odd ones."""

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
        """Odd and even features (B, d, C), messages (B, d, C) each, global features (B, C)."""
        read = concatenate([f(x) for f, x in zip(self.norms, [odd, *messages], strict=True)])
        everywhere = globals_[:, None].expand_as(even)
        even = even + self.even(torch.cat([even, self.product(read), everywhere], dim=2))
        return odd + self.linear(read).gated(self.gate(even)), even


class Product(nn.Module):
    """(L o) · (L' o), channel by channel: even features of odd ones."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.factors = nn.ModuleList(OddLinear(in_channels, channels) for _ in range(2))

    def forward(self, odd: Odd) -> Tensor:
        """(B, d, C_in) -> (B, d, C)."""
        return self.factors[0](odd) * self.factors[1](odd)  # type: ignore[no-any-return]


class ReadOut(nn.Module):
    """Mean and maximum over the neurons of a level, of more features than the layers pass on."""

    def __init__(self, channels: int, num_features: int) -> None:
        super().__init__()
        self.even = update(channels, num_features, num_features)
        self.product = Product(channels, num_features)

    def forward(self, odd: Odd, even: Tensor) -> Tensor:
        """(B, d, C), (B, d, C) -> (B, 2 F)."""
        features = self.even(even) + self.product(odd)
        return torch.cat([features.mean(dim=1), first_maximum(features, dim=1)], dim=1)


def normed_linear(in_channels: int, out_channels: int) -> nn.Sequential:
    """A linear map of odd features of unit root mean square."""
    return nn.Sequential(OddNorm(in_channels), OddLinear(in_channels, out_channels))


def update(in_channels: int, hidden_channels: int, channels: int) -> nn.Sequential:
    """An MLP of even features."""
    return nn.Sequential(
        nn.LayerNorm(in_channels),
        nn.Linear(in_channels, hidden_channels),
        nn.GELU(),
        nn.Linear(hidden_channels, channels),
    )
