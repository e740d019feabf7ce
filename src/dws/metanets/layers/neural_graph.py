"""Networks as graphs of neurons, with the common parts of the graph metanets.

Neurons are the nodes, (B, N, C) with N = d_0 + ... + d_M, ordered by level. Weights are the edges,
(B, d_{m-1}, d_m, C) for each layer m = 1..M. All networks of a zoo have the same architecture, so
dense tensors represent the graph without lists of edges.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dws.errors import UserError
from dws.inr.siren import siren_activations
from dws.metanets.checks import check_positive, check_widths
from dws.weightspace import Standardize, WeightBatch, WeightSpaceSpec


class GraphNet(nn.Module):
    """Base class of graph metanets, with optional function probes.

    With ``num_probes`` > 0 the input is unscaled weights. The metanet evaluates the SIRENs at
    learned points and scales the weights itself, see ``fit``. The activations of every neuron at
    these points are additional features of its node (the probe features of Kofinas et al. 2024).

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels.
        channels: Number of features of a node.
        num_probes: Number of learned points, initially uniform on [-1, 1]; 0 disables the probes.
        omega_0: ω0 of the networks, for the probes.
        keep_signs: Whether to preserve sign symmetry: weights are scaled but not shifted, and
            activations are mapped without a norm.

    Raises:
        ValueError: If a size is out of range.
    """

    omega_0: float | None = None  # for the probes

    def __init__(
        self,
        spec: WeightSpaceSpec,
        *,
        in_channels: int,
        channels: int,
        num_probes: int,
        omega_0: float,
        keep_signs: bool = False,
    ) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, hidden_channels=channels)
        check_positive(omega_0=omega_0)
        if num_probes < 0:
            raise UserError(f"expected num_probes >= 0, got {num_probes}")
        self.spec = spec
        self.in_channels = in_channels
        self.keep_signs = keep_signs
        self.num_probes = num_probes
        if num_probes:
            self.reads = "raw"  # input of ``WeightSpaceModel``
            self.omega_0 = omega_0
            self.scale = Standardize(spec)
            self.points = nn.Parameter(2 * torch.rand(num_probes, spec.dims[0]) - 1)
            self.probe_maps = nn.ModuleList(
                nn.Linear(n * num_probes, channels, bias=False)
                if keep_signs
                else nn.Sequential(nn.Linear(n * num_probes, channels), nn.LayerNorm(channels))
                for n in [1, *[in_channels] * spec.num_layers]
            )

    def fit(self, reference: WeightBatch) -> None:
        """Compute the scale of weights from a reference.

        Args:
            reference: The training split, not scaled.

        Raises:
            ValueError: If there are no probes, because the input is then scaled already.
        """
        if not self.num_probes:
            raise UserError("Only a network with probes is fitted to a reference. Set num_probes.")
        self.scale.fit(reference, keep_signs=self.keep_signs)

    def prepare(self, batch: WeightBatch) -> tuple[WeightBatch, Float[Tensor, "b n c"] | None]:
        """Scale the weights and compute the probe features.

        Returns:
            The scaled weights, and the probe features of every node, (B, N, C), or None without
            probes.

        Raises:
            ValueError: If the batch does not match the architecture.
        """
        batch.check_fits(self.spec, self.in_channels)
        if not self.num_probes:
            return batch, None
        networks = batch.split_channels()  # (B C, ...)
        with torch.autocast(self.points.device.type, enabled=False):  # phases are large
            activations = siren_activations(networks, self.points, omega_0=self.omega_0 or 0.0)
        coordinates, *levels = [x.transpose(1, 2) for x in activations]  # (B C, d_l, P)
        features = [coordinates.expand(batch.batch_size, -1, -1)]
        for x in levels:
            x = x.unflatten(0, (batch.batch_size, self.in_channels)).transpose(1, 2).flatten(2)
            features.append(x)
        mapped = [f(x) for f, x in zip(self.probe_maps, features, strict=True)]
        return self.scale(batch), torch.cat(mapped, dim=1)


class LevelEmbedding(nn.Module):
    """A learned vector for each input, each hidden level, and each output.

    Args:
        spec: The architecture.
        channels: Number of channels, C.
    """

    def __init__(self, spec: WeightSpaceSpec, channels: int) -> None:
        super().__init__()
        self.counts = [1] * spec.dims[0] + list(spec.hidden_dims) + [1] * spec.dims[-1]
        self.vectors = nn.Parameter(torch.randn(len(self.counts), channels))

    def forward(self) -> Float[Tensor, "n c"]:
        """Return the vector of every neuron, (N, C)."""
        pairs = zip(self.vectors, self.counts, strict=True)
        return torch.cat([vector.expand(count, -1) for vector, count in pairs])


def neuron_values(batch: WeightBatch, *, of_inputs: float) -> Float[Tensor, "b n c"]:
    """Return the biases of all neurons, (B, N, C), and the constant ``of_inputs`` for inputs."""
    first = batch.weights[0]
    inputs = torch.full_like(first[:, :, 0], of_inputs)
    return torch.cat([inputs, *batch.biases], dim=1)


def levels_needed(
    num_layers: int, num_levels: int, read: Collection[int], *, backward: bool
) -> list[list[int]]:
    """Return the levels whose nodes each message-passing layer has to update.

    A node depends on nodes of the previous level and, with ``backward``, of the next level. Nodes
    of other levels do not influence the result.

    Args:
        num_layers: Number of message-passing layers.
        num_levels: Number of levels, M + 1.
        read: Levels whose nodes are used after the last layer.
        backward: Whether messages also pass against the edges.

    Returns:
        Levels in increasing order, for each layer.

    Examples:
        >>> levels_needed(3, 4, [3], backward=False)
        [[1, 2, 3], [2, 3], [3]]
    """
    steps = (-1, 0, 1) if backward else (-1, 0)
    needed = [sorted(read)]
    for _ in range(num_layers - 1):
        reached = {level + step for level in needed[0] for step in steps}
        needed.insert(0, sorted(reached & set(range(num_levels))))
    return needed


def mlp(in_features: int, hidden_features: Sequence[int], out_features: int) -> nn.Sequential:
    """Construct an MLP with ReLU between its linear layers."""
    layers = nn.Sequential()
    for n_in, n_out in pairwise([in_features, *hidden_features]):
        layers.extend([nn.Linear(n_in, n_out), nn.ReLU()])
    return layers.append(nn.Linear([in_features, *hidden_features][-1], out_features))
