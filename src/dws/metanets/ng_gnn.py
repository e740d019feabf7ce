"""NG-GNN, a graph network on neural graphs (Kofinas et al., ICLR 2024, arXiv 2403.12143)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from dws.metanets.checks import check_dropout, check_widths
from dws.metanets.layers.encoding import FourierEncoder
from dws.metanets.layers.neural_graph import (
    GraphNet,
    LevelEmbedding,
    levels_needed,
    mlp,
    neuron_values,
)
from dws.metanets.ops import first_maximum
from dws.weightspace import WeightBatch, WeightSpaceSpec


class NGGNN(GraphNet):
    """NG-GNN: message passing between neurons along weights in both directions.

    Initial node features are Fourier features of the bias plus a learned embedding of the level.
    Initial edge features are Fourier features of (w, 0, w) along the weight w, and of (0, w, w)
    against it. In each layer, edges modulate the
    messages, messages are aggregated as in PNA (Corso et al. 2020), and edges are then updated from
    the nodes at their ends. The input of the final MLP consists of the nodes of the outputs.

    Default size: 331,466 parameters for networks 2-32-32-1 and 10 classes. The authors' size for
    MNIST (92,010 parameters) is in ``configs/model/ng_gnn_published.yaml``.

    Deviation from the reference implementation: nodes are normalised over the channels of each
    node, whereas the reference uses statistics over all nodes of a batch; degrees, which scale
    aggregated messages, count edges in both directions in their mean too; nodes and edges that
    cannot influence the outputs are not updated, which does not change the result.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        hidden_channels: Number of features of a node and of an edge.
        num_layers: Number of message-passing layers. Information from the inputs reaches the
            outputs if this is at least the number of layers of the networks.
        num_frequencies: Number of frequencies of the Fourier features.
        fourier_scale: Standard deviation of the frequencies.
        dropout: Probability of zeroing a feature of a node after each layer, in training.
        num_probes: Number of function probes, see ``GraphNet``; 0 disables them.
        omega_0: ω0 of the networks, for the probes.

    Raises:
        ValueError: If a size is out of range or a batch does not match the architecture.

    Examples:
        >>> net = NGGNN(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_channels: int = 64,
        num_layers: int = 4,
        num_frequencies: int = 128,
        fourier_scale: float = 3.0,
        dropout: float = 0.2,
        num_probes: int = 0,
        omega_0: float = 30.0,
    ) -> None:
        check_widths(out_features=out_features, num_layers=num_layers)
        check_dropout(dropout)
        c = hidden_channels
        super().__init__(
            spec, in_channels=in_channels, channels=c, num_probes=num_probes, omega_0=omega_0
        )
        self.encode_nodes = FourierEncoder(in_channels, num_frequencies, c, scale=fourier_scale)
        self.encode_edges = FourierEncoder(3 * in_channels, num_frequencies, c, scale=fourier_scale)
        self.embedding = LevelEmbedding(spec, c)
        self.needed = levels_needed(num_layers, len(spec.dims), [spec.num_layers], backward=True)
        self.messages = nn.ModuleList(Messages(spec, c) for _ in range(num_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(c) for _ in range(num_layers - 1))
        self.edge_updates = nn.ModuleList(EdgeUpdate(c) for _ in range(num_layers - 1))
        self.dropout = nn.Dropout(dropout)
        *hidden, self.head = mlp(spec.dims[-1] * c, [c, c], out_features)
        self.hidden = nn.Sequential(*hidden)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the last hidden layer of the final MLP, (B, hidden_channels)."""
        batch, probed = self.prepare(batch)
        nodes = self.encode_nodes(neuron_values(batch, of_inputs=0.0), probed) + self.embedding()
        levels = list(nodes.split(self.spec.dims, dim=1))
        edges = []
        for w in batch.weights:
            zero = torch.zeros_like(w)  # (w, 0, w) along the weights and (0, w, w) against them
            along, against = torch.cat([w, zero, w], dim=-1), torch.cat([zero, w, w], dim=-1)
            edges.append((self.encode_edges(along), self.encode_edges(against)))
        for i, messages in enumerate(self.messages):
            new = messages(levels, edges, self.needed[i])
            for level, x in new.items():
                last = i == len(self.messages) - 1
                levels[level] = x if last else self.dropout(silu(self.norms[i](x)))
            if i < len(self.edge_updates):
                edges = self.edge_updates[i](levels, edges, self.needed[i + 1])
        return self.hidden(levels[-1].flatten(1))  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]


class Messages(nn.Module):
    """Message passing and update of nodes (after Corso et al. 2020).

    The message from j to k is scale(e_jk) · (A x_k + B x_j + a) + shift(e_jk). Messages are
    aggregated by mean, minimum, maximum and standard deviation over j. A linear map of x_k, the
    aggregates, and the aggregates scaled by the logarithm of the degree relative to its mean gives
    the new node.
    """

    def __init__(self, spec: WeightSpaceSpec, channels: int) -> None:
        super().__init__()
        dims = spec.dims
        before, after = (0, *dims[:-1]), (*dims[1:], 0)
        self.degrees = [a + b for a, b in zip(before, after, strict=True)]
        logarithms = [d * math.log(n + 1) for d, n in zip(dims, self.degrees, strict=True)]
        self.mean_logarithm = sum(logarithms) / sum(dims)
        self.modulate = nn.Linear(channels, 2 * channels)
        self.receiver = nn.Linear(channels, channels)
        self.sender = nn.Linear(channels, channels, bias=False)
        self.combine = nn.Linear(9 * channels, channels)
        self.last = nn.Linear(channels, channels)

    def forward(
        self,
        levels: list[Tensor],
        edges: list[tuple[Tensor, Tensor]],
        needed: list[int],
    ) -> dict[int, Tensor]:
        """Compute new nodes of some levels.

        Args:
            levels: Nodes of each level, (B, d_l, C).
            edges: Edge features of each layer along and against its weights,
                (B, d_{m-1}, d_m, C) each.
            needed: Indices of the levels to update.

        Returns:
            New nodes (B, d_l, C) of each level in ``needed``.
        """
        sent = [self.sender(x) for x in levels]
        new = {}
        for k in needed:
            received = self.receiver(levels[k])
            arriving = []
            if k > 0:
                scale, shift = self.modulate(edges[k - 1][0]).chunk(2, dim=-1)
                message = scale * (received[:, None] + sent[k - 1][:, :, None]) + shift
                arriving.append(moments(message, 1))
            if k < len(levels) - 1:
                scale, shift = self.modulate(edges[k][1]).chunk(2, dim=-1)
                message = scale * (received[:, :, None] + sent[k + 1][:, None]) + shift
                arriving.append(moments(message, 2))
            total, squares, smallest, largest = arriving[0]
            for a, b, c, d in arriving[1:]:
                total, squares = total + a, squares + b
                smallest, largest = torch.minimum(smallest, c), torch.maximum(largest, d)
            mean = total / self.degrees[k]
            deviation = (squares / self.degrees[k] - mean.square()).clamp(min=1e-5).sqrt()
            aggregated = torch.cat([mean, smallest, largest, deviation], dim=-1)
            factor = math.log(self.degrees[k] + 1) / self.mean_logarithm
            inputs = torch.cat([levels[k], aggregated, factor * aggregated], dim=-1)
            new[k] = self.last(self.combine(inputs))
        return new


def moments(message: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute sum, sum of squares, minimum and maximum over one dimension.

    The sums are in float32, also under autocast: a variance is the difference of two of them.
    """
    wide = message.float() if message.dtype == torch.bfloat16 else message
    smallest, largest = -first_maximum(-message, dim), first_maximum(message, dim)
    return wide.sum(dim), wide.square().sum(dim), smallest, largest


class EdgeUpdate(nn.Module):
    """Update of edges from j to k: MLP(e_jk, x_j, x_k), whose first map is a sum of three maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edge, self.source, self.target, self.last = (
            nn.Linear(channels, channels) for _ in range(4)
        )

    def forward(
        self, levels: list[Tensor], edges: list[tuple[Tensor, Tensor]], needed: list[int]
    ) -> list[tuple[Tensor, Tensor]]:
        """Update the edges towards the levels in ``needed``; other edges are unchanged."""
        sources, targets = [self.source(x) for x in levels], [self.target(x) for x in levels]
        new = []
        for m, (along, against) in enumerate(edges):
            if m + 1 in needed:
                ends = sources[m][:, :, None] + targets[m + 1][:, None]
                along = self.last(silu(self.edge(along) + ends))
            if m in needed:
                ends = targets[m][:, :, None] + sources[m + 1][:, None]
                against = self.last(silu(self.edge(against) + ends))
            new.append((along, against))
        return new
