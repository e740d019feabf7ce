"""NG-T, a transformer on neural graphs (Kofinas et al., ICLR 2024, arXiv 2403.12143)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, pad
from torch.utils.checkpoint import checkpoint

from dws.errors import UserError
from dws.metanets.checks import check_dropout, check_widths
from dws.metanets.layers.encoding import FourierEncoder
from dws.metanets.layers.neural_graph import GraphNet, LevelEmbedding, mlp, neuron_values
from dws.weightspace import WeightBatch, WeightSpaceSpec

CHUNK_SIZE = 16  # networks that are recomputed at the same time


class NGT(GraphNet):
    """NG-T: relational attention between all neurons (after Diao and Loynd 2023).

    Every ordered pair of neurons is an edge, (B, N, N, C). Initial edge features are Fourier
    features of the weight from the first to the second neuron, or of 0 if they are not connected.
    Initial node features are the same as in ``NGGNN``. Edges are added to queries and keys, and
    modulate and shift values. The input of the final MLP consists of the nodes of the outputs.

    Default size: the authors' size for MNIST, 376,586 parameters for networks 2-32-32-1 and 10
    classes.

    Deviation from the reference implementation: the last layer computes attention only for the
    outputs, because nothing else influences the result; maps that the reference fuses are
    initialised with separate bounds.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        node_channels: Number of features of a node.
        edge_channels: Number of features of an edge.
        attention_channels: Number of features of queries, keys and values, for all heads together.
        num_layers: Number of layers.
        num_heads: Number of attention heads; must divide ``attention_channels``.
        hidden_features: Width of the final MLP.
        num_frequencies: Number of frequencies of the Fourier features.
        fourier_scale: Standard deviation of the frequencies.
        dropout: Probability of zeroing a feature in each update, in training.
        num_probes: Number of function probes, see ``GraphNet``; 0 disables them.
        omega_0: ω0 of the networks, for the probes.
        recompute: Compute the features of pairs of neurons again in the backward pass, which takes
            more time and less memory. ``torch.func`` does not support it.

    Raises:
        ValueError: If a size is out of range or a batch does not match the architecture.

    Examples:
        >>> net = NGT(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        node_channels: int = 64,
        edge_channels: int = 32,
        attention_channels: int = 128,
        num_layers: int = 4,
        num_heads: int = 8,
        hidden_features: int = 128,
        num_frequencies: int = 128,
        fourier_scale: float = 1.0,
        dropout: float = 0.2,
        num_probes: int = 0,
        omega_0: float = 30.0,
        recompute: bool = False,
    ) -> None:
        check_widths(
            out_features=out_features,
            edge_channels=edge_channels,
            attention_channels=attention_channels,
            num_layers=num_layers,
            hidden_features=hidden_features,
        )
        check_dropout(dropout)
        if num_heads < 1 or attention_channels % num_heads:
            raise UserError(
                f"expected num_heads that divides attention_channels={attention_channels}, got "
                f"{num_heads}"
            )
        super().__init__(
            spec,
            in_channels=in_channels,
            channels=node_channels,
            num_probes=num_probes,
            omega_0=omega_0,
        )
        self.recompute = recompute
        self.encode_nodes, self.encode_edges = (
            FourierEncoder(in_channels, num_frequencies, c, scale=fourier_scale)
            for c in (node_channels, edge_channels)
        )
        self.embedding = LevelEmbedding(spec, node_channels)
        self.attention = nn.ModuleList(
            Attention(node_channels, edge_channels, attention_channels, num_heads)
            for _ in range(num_layers)
        )
        self.node_updates = nn.ModuleList(
            NodeUpdate(node_channels, dropout) for _ in range(num_layers)
        )
        self.edge_updates = nn.ModuleList(
            EdgeUpdate(node_channels, edge_channels, dropout) for _ in range(num_layers - 1)
        )
        *hidden, self.head = mlp(spec.dims[-1] * node_channels, [hidden_features], out_features)
        self.hidden = nn.Sequential(*hidden)

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the hidden layer of the final MLP, (B, hidden_features)."""
        batch, probed = self.prepare(batch)
        nodes = self.encode_nodes(neuron_values(batch, of_inputs=0.0), probed) + self.embedding()
        edges = self.encode_edges(adjacency(batch))
        outputs, last = slice(-self.spec.dims[-1], None), len(self.attention) - 1
        edges = edges[:, outputs] if last == 0 else edges
        for i, (attend, update) in enumerate(zip(self.attention, self.node_updates, strict=True)):
            rows = outputs if i == last else slice(None)
            nodes = update(nodes[:, rows], self._on_pairs(attend, nodes[:, rows], nodes, edges))
            if i < last:
                rows = outputs if i == last - 1 else slice(None)
                edges = self._on_pairs(partial(self.edge_updates[i], rows), nodes, edges)
        return self.hidden(nodes.flatten(1))  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]

    def _on_pairs(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Apply a function of any number of networks to tensors (B, ...)."""
        if not (self.recompute and torch.is_grad_enabled()):
            return function(*tensors)
        if torch.compiler.is_compiling():  # parts would take longer to compile
            return checkpoint(function, *tensors, use_reentrant=False)
        parts = zip(*(tensor.split(CHUNK_SIZE) for tensor in tensors), strict=True)
        return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])


def adjacency(batch: WeightBatch) -> Float[Tensor, "b n n c"]:
    """Combine all weights into one matrix, from the row's neuron to the column's neuron."""
    total = sum(batch.spec.dims)
    rows, start = [], 0
    for w in batch.weights:
        start += w.shape[1]
        rows.append(pad(w, (0, 0, start, total - start - w.shape[2])))
    return pad(torch.cat(rows, dim=1), (0, 0, 0, 0, 0, batch.weights[-1].shape[2]))


class Attention(nn.Module):
    """Relational attention with scores (q_i + Q e_ij) · (k_j + K e_ij) from node i to node j.

    The value is S e_ij · v_j + T e_ij. T is applied after the sum over j, which is equivalent.
    """

    def __init__(
        self, node_channels: int, edge_channels: int, channels: int, num_heads: int
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = 1 / math.sqrt(channels)  # of all heads, as in the reference implementation
        self.query, self.key, self.value = (
            nn.Linear(node_channels, channels, bias=False) for _ in range(3)
        )
        self.edge_maps = nn.Linear(edge_channels, 3 * channels, bias=False)
        self.shift = nn.Linear(edge_channels, channels, bias=False)
        self.last = nn.Linear(channels, node_channels)
        for module in self.children():
            nn.init.xavier_uniform_(module.weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.last.bias)

    def forward(self, attending: Tensor, nodes: Tensor, edges: Tensor) -> Tensor:
        """Attend from (B, n, C) to (B, N, C), given the edges between them, (B, n, N, E)."""
        heads = (self.num_heads, -1)
        query = self.query(attending).unflatten(-1, heads)[:, :, None]
        key, value = (f(nodes).unflatten(-1, heads)[:, None] for f in (self.key, self.value))
        to_query, to_key, factor = self.edge_maps(edges).unflatten(-1, (3, *heads)).unbind(-3)
        scores = ((query + to_query) * (key + to_key)).sum(-1)  # (B, n, N, heads)
        weights = (self.scale * scores).softmax(dim=2)
        values = (weights[..., None] * (value * factor)).sum(2)
        pooled = torch.einsum("bijh,bije->bihe", weights, edges)
        shift = self.shift.weight.unflatten(0, heads)  # (heads, channels of a head, E)
        values = values + torch.einsum("bihe,hce->bihc", pooled, shift)
        return self.last(values.flatten(2))  # type: ignore[no-any-return]


class NodeUpdate(nn.Module):
    """Residual update of nodes by a linear map of the attention, then by an MLP, with post-norm."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.attended = xavier(channels, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.mlp = feed_forward(channels, 2 * channels, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, attended: Tensor) -> Tensor:
        """(B, n, C), (B, n, C) -> (B, n, C)."""
        nodes = self.norms[0](nodes + self.dropout(self.attended(attended)))
        return self.norms[1](nodes + self.mlp(nodes))  # type: ignore[no-any-return]


class EdgeUpdate(nn.Module):
    """Residual update of edges by MLP(e_ij, e_ji, x_i, x_j), then by an MLP, with post-norm."""

    def __init__(self, node_channels: int, channels: int, dropout: float) -> None:
        super().__init__()
        hidden = 2 * channels
        self.edge = xavier(2 * channels, hidden)
        self.source, self.target = (xavier(node_channels, hidden) for _ in range(2))
        self.last = xavier(hidden, channels)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.mlp = feed_forward(channels, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rows: slice, nodes: Tensor, edges: Tensor) -> Tensor:
        """Update the edges from some nodes: (B, N, C), (B, N, N, E) -> (B, n, N, E)."""
        along, against = self.edge.weight.chunk(2, dim=1)
        edges, reverse = edges[:, rows], edges[:, :, rows].transpose(1, 2)
        hidden = linear(edges, along, self.edge.bias) + linear(reverse, against)
        hidden = hidden + self.source(nodes[:, rows])[:, :, None] + self.target(nodes)[:, None]
        edges = self.norms[0](edges + self.dropout(self.last(gelu(hidden))))
        return self.norms[1](edges + self.mlp(edges))  # type: ignore[no-any-return]


def feed_forward(channels: int, hidden: int, dropout: float) -> nn.Sequential:
    """Construct an MLP with one hidden layer."""
    first = xavier(channels, hidden, bias=False)
    return nn.Sequential(first, nn.GELU(), xavier(hidden, channels), nn.Dropout(dropout))


def xavier(in_features: int, out_features: int, *, bias: bool = True) -> nn.Linear:
    """Construct a linear layer with Glorot-uniform weights and zero bias."""
    layer = nn.Linear(in_features, out_features, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
