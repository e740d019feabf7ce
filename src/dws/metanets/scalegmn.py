"""Scale-equivariant graph metanetworks (Kalogeropoulos et al., NeurIPS 2024, arXiv 2406.10685).

This implementation is for sine networks, whose scaling symmetries are sign flips of hidden neurons.
A sign flip changes the sign of the neuron's features and of the features of its edges. Features of
inputs and outputs are invariant.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.checks import check_dropout, check_widths
from dws.metanets.layers.neural_graph import (
    GraphNet,
    LevelEmbedding,
    levels_needed,
    neuron_values,
)
from dws.metanets.layers.scale_equivariant import ScaleEq
from dws.weightspace import WeightBatch, WeightSpaceSpec

Direction = Literal["forward", "bidirectional"]


class ScaleGMN(GraphNet):
    """A message-passing metanet, invariant to permutations and sign flips of hidden neurons.

    With ``"forward"``, messages pass from the inputs to the outputs, and the input of the final MLP
    consists of the nodes of the outputs. With ``"bidirectional"`` (ScaleGMN-B), messages pass in
    both directions, every map of nodes is conditioned on the level, and the input of the final MLP
    consists of the nodes of inputs and outputs.

    Default size: 330,494 parameters for networks 2-32-32-1 and 10 classes, forward. The authors'
    sizes for MNIST are in ``configs/model/scalegmn_published.yaml`` and
    ``scalegmn_b_published.yaml``, without parameters that receive no gradient.

    Deviation from the reference implementation: weights are scaled, whereas the reference uses them
    as they are; messages against the edges use their updated features, whereas the reference uses
    the initial ones; both directions start with a learned factor of the edges of each layer,
    whereas the reference has one for ``"forward"`` only, and separate ones for each input and
    output; features that cannot influence the outputs are not computed and have no parameters.
    Phases are used unchanged. The reference canonicalises them first, which does not change biases
    between -π/2 and π/2.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        direction: ``"forward"`` or ``"bidirectional"``.
        hidden_channels: Number of features of nodes, edges and messages, and width of all MLPs.
        num_layers: Number of message-passing layers. Information from the inputs reaches the
            outputs if this is at least the number of layers of the networks.
        dropout: Probability of zeroing a feature of a node after each layer, in training.
        num_probes: Number of function probes, see ``GraphNet``; 0 disables them.
        omega_0: ω0 of the networks, for the probes.

    Raises:
        ValueError: If a size is out of range, the direction is unknown, or a batch does not match
            the architecture.

    Examples:
        >>> net = ScaleGMN(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    reads = "scaled"  # input of ``WeightSpaceModel``; a shift would break the symmetry
    odd_activations = True  # sign flips of neurons preserve the function only if these are odd

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        direction: Direction = "forward",
        hidden_channels: int = 58,
        num_layers: int = 4,
        dropout: float = 0.2,
        num_probes: int = 0,
        omega_0: float = 30.0,
    ) -> None:
        check_widths(out_features=out_features, num_layers=num_layers)
        check_dropout(dropout)
        if direction not in get_args(Direction):
            raise UserError(f"expected direction in {get_args(Direction)}, got {direction!r}")
        c, both = hidden_channels, direction == "bidirectional"
        super().__init__(
            spec,
            in_channels=in_channels,
            channels=c,
            num_probes=num_probes,
            omega_0=omega_0,
            keep_signs=True,
        )
        self.both = both
        self.encode_nodes, self.encode_edges = (
            nn.Linear(in_channels, c, bias=False) for _ in range(2)
        )
        self.embedding = LevelEmbedding(spec, c)
        self.edge_embedding = nn.Parameter(torch.randn(spec.num_layers, c))
        ends = [0, spec.num_layers] if both else [spec.num_layers]
        self.needed = levels_needed(num_layers, len(spec.dims), ends, backward=both)
        self.layers = nn.ModuleList(
            Layer(c, both=both, last=i == num_layers - 1) for i in range(num_layers)
        )
        self.dropout = nn.Dropout(dropout)
        widths = [spec.dims[0] * c, spec.dims[-1] * c]
        self.projections = nn.ModuleList(nn.Linear(n, c) for n in widths) if both else None
        self.hidden = nn.Sequential(
            nn.Linear(2 * c if both else widths[1], c), nn.LayerNorm(c), nn.SiLU()
        )
        self.head = nn.Linear(c, out_features)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the hidden layer of the final MLP, (B, hidden_channels)."""
        batch, probed = self.prepare(batch)
        dims, last = self.spec.dims, self.spec.num_layers
        nodes = self.encode_nodes(neuron_values(batch, of_inputs=1.0))
        nodes = nodes if probed is None else nodes + probed
        vectors = self.embedding().split(dims)
        levels = [
            x + vector if level in (0, last) else x * vector
            for level, (x, vector) in enumerate(zip(nodes.split(dims, dim=1), vectors, strict=True))
        ]
        edges = [
            self.encode_edges(w) * factor
            for w, factor in zip(batch.weights, self.edge_embedding, strict=True)
        ]
        for i, layer in enumerate(self.layers):
            next_needed = self.needed[i + 1] if i < len(self.layers) - 1 else []
            levels, edges = layer(levels, edges, vectors, self.needed[i], next_needed)
            levels = [
                self.dropout(x) if level in self.needed[i] else x for level, x in enumerate(levels)
            ]
        ends = [levels[0].flatten(1), levels[-1].flatten(1)]
        if self.projections is None:
            return self.hidden(ends[1])  # type: ignore[no-any-return]
        projected = [f(x) for f, x in zip(self.projections, ends, strict=True)]
        return self.hidden(torch.cat(projected[::-1], dim=1))  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Messages and updates of nodes and edges: MSG, UPD_V, and UPD_E with the previous nodes.

    - MSG: m_jk = ScaleEq((A e_jk) ⊙ (B x_j)), summed over j separately for both directions;
    - UPD_V: x_k ← ScaleEq(x_k, Σ_j m_jk, ...), for ``"forward"`` plus a linear map of x_k;
    - UPD_E: e_jk ← Γ e_jk ⊙ φ(ρ(x_j) + ρ(-x_j), ρ(x_k) + ρ(-x_k)).
    """

    def __init__(self, channels: int, *, both: bool, last: bool) -> None:
        super().__init__()
        directions = 2 if both else 1

        def equivariant(num_inputs: int) -> ScaleEq:
            return ScaleEq(
                num_inputs * channels,
                channels,
                extra=channels if both else 0,
                hidden_channels=channels,
                ends_only=last,
            )

        self.messages = nn.ModuleList(Message(channels, equivariant(1)) for _ in range(directions))
        self.update = equivariant(1 + directions)
        self.skip = None if both else nn.Linear(channels, channels, bias=False)
        self.edges = None if last else EdgeUpdate(channels)
        self.both = both

    def forward(
        self,
        levels: list[Tensor],
        edges: list[Tensor],
        vectors: tuple[Tensor, ...],
        needed: list[int],
        next_needed: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Update the nodes and edges that influence the output; others are unchanged.

        Args:
            levels: Nodes of each level, (B, d_l, C).
            edges: Edges of each layer, (B, d_{m-1}, d_m, C).
            vectors: Learned vectors of the nodes, (d_l, C).
            needed: Levels whose nodes are updated.
            next_needed: Levels that the next layer updates.

        Returns:
            Nodes and edges of the same shapes.
        """
        end = len(levels) - 1
        new = list(levels)
        for k in needed:
            x, is_end = levels[k], k in (0, end)
            received = [torch.zeros_like(x) for _ in self.messages]
            if k > 0:
                sent = self.messages[0](
                    levels[k - 1][:, :, None], edges[k - 1], vectors[k - 1][:, None], is_end
                )
                received[0] = sent.sum(1)
            if self.both and k < end:
                sent = self.messages[1](levels[k + 1][:, None], edges[k], vectors[k + 1], is_end)
                received[1] = sent.sum(2)
            new[k] = self.update(torch.cat([x, *received], dim=-1), vectors[k], is_end)
            if self.skip is not None:
                new[k] = self.skip(x) + new[k]
        if self.edges is None:
            return new, edges
        is_needed = [m + 1 in next_needed or (self.both and m in next_needed) for m in range(end)]
        return new, self.edges(levels, edges, is_needed)


class Message(nn.Module):
    """ScaleEq of the rescale-equivariant product (A e_jk) ⊙ (B x_j), which is odd in k alone."""

    def __init__(self, channels: int, equivariant: ScaleEq) -> None:
        super().__init__()
        self.node, self.edge = (nn.Linear(channels, channels, bias=False) for _ in range(2))
        self.map = equivariant

    def forward(self, nodes: Tensor, edges: Tensor, vectors: Tensor, is_end: bool) -> Tensor:
        """Compute the message of every edge; senders and their vectors broadcast against edges."""
        return self.map(self.node(nodes) * self.edge(edges), vectors, is_end)  # type: ignore[no-any-return]


class EdgeUpdate(nn.Module):
    """Γ e_jk ⊙ φ(ρ(x_j) + ρ(-x_j), ρ(x_k) + ρ(-x_k)); the first map of φ is a sum of two maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels
        self.linear = nn.Linear(c, c, bias=False)
        self.rho = nn.Sequential(nn.Linear(c, c), nn.LayerNorm(c), nn.SiLU(), nn.Linear(c, c))
        self.source, self.target = nn.Linear(c, c), nn.Linear(c, c, bias=False)
        self.phi = nn.Sequential(nn.LayerNorm(c), nn.SiLU(), nn.Linear(c, c))

    def forward(
        self, levels: list[Tensor], edges: list[Tensor], is_needed: list[bool]
    ) -> list[Tensor]:
        """Update edges (B, d_{m-1}, d_m, C) from nodes (B, d_l, C) where needed."""
        even = [self.rho(x) + self.rho(-x) for x in levels]
        new = list(edges)
        for m, edge in enumerate(edges):
            if is_needed[m]:
                ends = self.source(even[m])[:, :, None] + self.target(even[m + 1])[:, None]
                new[m] = self.linear(edge) * self.phi(ends)
        return new
