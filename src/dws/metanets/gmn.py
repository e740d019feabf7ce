"""Graph metanetworks (Lim et al., ICLR 2024, arXiv 2312.04501)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import silu

from dws.metanets.checks import check_dropout, check_widths
from dws.metanets.layers.neural_graph import GraphNet, LevelEmbedding
from dws.weightspace import WeightBatch, WeightSpaceSpec


class GMN(GraphNet):
    """A graph network with node, edge and global features on the parameter graph.

    In the parameter graph every weight and every bias is an edge. The biases of a layer are the
    edges from an additional node, stored as a row below its weights. Messages pass in both
    directions, with separate maps. The input of the final MLP consists of the mean edge features of
    each weight and bias and the global features.

    Default size: 325,390 parameters for networks 2-32-32-1 and 10 classes. The authors published
    neither sizes nor training code for INRs.

    Deviation from the paper: messages are averaged over neighbours instead of summed, separately
    for the two directions; updates are residual, and nodes, edges and global features are
    normalised before each layer.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels; 1 for plain weights.
        out_features: Number of outputs.
        hidden_channels: Number of node, edge and global features, and width of all MLPs.
        num_layers: Number of message-passing layers.
        dropout: Probability of zeroing a feature before the output, in training.
        num_probes: Number of function probes, see ``GraphNet``; 0 disables them.
        omega_0: ω0 of the networks, for the probes.

    Raises:
        ValueError: If a size is out of range or a batch does not match the architecture.

    Examples:
        >>> net = GMN(WeightSpaceSpec((2, 8, 8, 1)), out_features=10)
    """

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int = 1,
        out_features: int,
        hidden_channels: int = 58,
        num_layers: int = 4,
        dropout: float = 0.0,
        num_probes: int = 0,
        omega_0: float = 30.0,
    ) -> None:
        check_widths(out_features=out_features, num_layers=num_layers)
        check_dropout(dropout)
        c = hidden_channels
        super().__init__(
            spec, in_channels=in_channels, channels=c, num_probes=num_probes, omega_0=omega_0
        )
        self.encode_edges = nn.Linear(in_channels, c, bias=False)
        self.embedding = LevelEmbedding(spec, c)
        self.bias_nodes = nn.Parameter(torch.randn(spec.num_layers, c))
        self.weight_types = nn.Parameter(torch.randn(spec.num_layers, c))
        self.bias_types = nn.Parameter(torch.randn(spec.num_layers, c))
        self.globals = nn.Parameter(torch.randn(c))
        self.layers = nn.ModuleList(Layer(c, last=i == num_layers - 1) for i in range(num_layers))
        self.hidden = nn.Sequential(
            nn.Linear((2 * spec.num_layers + 1) * c, 2 * c), nn.LayerNorm(2 * c), nn.SiLU()
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * c, out_features))

    def embed(self, batch: WeightBatch) -> Float[Tensor, "b e"]:
        """Compute the hidden layer of the final MLP, (B, 2 hidden_channels)."""
        batch, probed = self.prepare(batch)
        size = batch.batch_size
        nodes = torch.cat([self.embedding(), self.bias_nodes]).expand(size, -1, -1)
        if probed is not None:
            nodes = nodes + torch.cat([probed, torch.zeros_like(nodes[:, probed.shape[1] :])], 1)
        edges = []
        for w, b, weight_type, bias_type in zip(
            batch.weights, batch.biases, self.weight_types, self.bias_types, strict=True
        ):
            row = self.encode_edges(b[:, None]) + bias_type
            edges.append(torch.cat([self.encode_edges(w) + weight_type, row], dim=1))
        globals_ = self.globals.expand(size, -1)
        for layer in self.layers:
            nodes, edges, globals_ = layer(nodes, edges, globals_)
        means = [x for e in edges for x in (e[:, :-1].mean((1, 2)), e[:, -1].mean(1))]
        return self.hidden(torch.cat([*means, globals_], dim=1))  # type: ignore[no-any-return]

    def forward(self, batch: WeightBatch) -> Float[Tensor, "b f"]:
        """Map a batch of networks to outputs."""
        return self.head(self.embed(batch))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Update of node, edge and global features (after Battaglia et al. 2018).

    - x_k += MLP(x_k, u, mean over j of messages), for both directions;
    - e_jk += MLP(x_j, x_k, e_jk, u);
    - u += MLP(u, mean of all x_k, mean of all updated e_jk).

    The arguments of all updates are normalised, except for the updated edges in the last one.

    Two implementation details do not change the result: the first map of the MLPs on edges is a sum
    of separate maps of their inputs, and the last map of messages is applied after the mean.

    Args:
        channels: Number of features of each kind.
        last: Whether this is the last layer, which does not update nodes.
    """

    def __init__(self, channels: int, *, last: bool) -> None:
        super().__init__()
        c = channels
        self.node_norm, self.edge_norm, self.global_norm = (nn.LayerNorm(c) for _ in range(3))
        num_mlps = 1 if last else 3  # MLPs on edges: the update, messages along and against
        self.of_edge = nn.Linear(c, num_mlps * c)
        self.of_source, self.of_target, self.of_globals = (
            nn.Linear(c, num_mlps * c, bias=False) for _ in range(3)
        )
        self.edge_last = nn.Linear(c, c)
        self.message_last = nn.ModuleList(nn.Linear(c, c) for _ in range(num_mlps - 1))
        self.node_mlp = None if last else update_mlp(4 * c, c)
        self.global_mlp = update_mlp(3 * c, c)

    def forward(
        self, nodes: Tensor, edges: list[Tensor], globals_: Tensor
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Update nodes (B, N + M, C), edges (B, d_{m-1} + 1, d_m, C), global features (B, C)."""
        x, u = self.node_norm(nodes), self.global_norm(globals_)
        normed = [self.edge_norm(e) for e in edges]
        dims = [edges[0].shape[1] - 1, *(e.shape[2] for e in edges)]
        sizes = [*dims, *[1] * len(edges)]
        sources = self.of_source(x).split(sizes, dim=1)
        targets = (self.of_target(x) + self.of_globals(u)[:, None]).split(sizes, dim=1)
        zeros = torch.zeros_like(x)
        along, against = list(zeros.split(sizes, 1)), list(zeros.split(sizes, 1))
        new = []
        for m, (e, old) in enumerate(zip(normed, edges, strict=True)):
            source = torch.cat([sources[m], sources[len(dims) + m]], dim=1)
            hidden = silu(self.of_edge(e) + source[:, :, None] + targets[m + 1][:, None])
            hidden, *messages = hidden.chunk(1 + len(self.message_last), dim=-1)
            new.append(old + self.edge_last(hidden))
            if messages:
                along[m + 1] = self.message_last[0](messages[0].mean(1))
                backward = self.message_last[1](messages[1].mean(2))
                against[m], against[len(dims) + m] = backward.split([dims[m], 1], dim=1)
        mean_edge = torch.cat([e.flatten(1, 2) for e in new], dim=1).mean(1)
        update = self.global_mlp(torch.cat([u, x.mean(1), mean_edge], dim=1))
        if self.node_mlp is not None:
            inputs = [x, u[:, None].expand_as(x), torch.cat(along, 1), torch.cat(against, 1)]
            nodes = nodes + self.node_mlp(torch.cat(inputs, dim=2))
        return nodes, new, globals_ + update


def update_mlp(in_channels: int, channels: int) -> nn.Sequential:
    """Construct an MLP with one hidden layer."""
    return nn.Sequential(nn.Linear(in_channels, channels), nn.SiLU(), nn.Linear(channels, channels))
