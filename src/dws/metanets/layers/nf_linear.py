"""The NF-layers of neural functional networks (Zhou et al., NeurIPS 2023, arXiv 2302.14040)."""

from __future__ import annotations

from itertools import chain
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from dws.errors import UserError
from dws.metanets.checks import check_widths
from dws.metanets.ops import EdgeLinear
from dws.weightspace import WeightBatch, WeightSpaceSpec

Variant = Literal["np", "hnp"]


class NFLinear(nn.Module):
    """An NF-layer: an affine layer that is equivariant to permutations of neurons.

    Every output entry is a sum of linear maps of the corresponding weight, of features of the two
    neurons that the weight connects, and of means over whole weights and biases.

    - ``"np"``, for neuron permutations: inputs and outputs are permuted too. The features of a
      neuron are its bias and the means of its incoming and outgoing weights.
    - ``"hnp"``, for hidden neuron permutations: the weights from the inputs and to the outputs are
      channels of the hidden neurons.

    Deviation from the reference implementation: constants that are added to each other are a single
    parameter instead of up to four; all maps to an output are initialised with the same bound; with
    ``"hnp"`` the last weight depends on the biases of the last hidden level, which the reference
    omits.

    Args:
        spec: The architecture of the input networks.
        in_channels: Number of input channels, C_in.
        out_channels: Number of output channels, C_out.
        variant: ``"np"`` or ``"hnp"``.

    Shape:
        WeightBatch with C_in channels -> WeightBatch of the same spec with C_out channels.

    Raises:
        ValueError: If a number of channels is below 1, the variant is unknown, or a batch does not
            match the architecture.
    """

    def __init__(
        self, spec: WeightSpaceSpec, in_channels: int, out_channels: int, *, variant: Variant
    ) -> None:
        super().__init__()
        check_widths(in_channels=in_channels, out_channels=out_channels)
        if variant not in get_args(Variant):
            raise UserError(f"expected variant in {get_args(Variant)}, got {variant!r}")
        self.spec = spec
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.variant: Variant = variant
        ones = WeightBatch.from_flat(spec, torch.ones(1, spec.num_params, 1))
        sources, targets, means = self._features(ones)
        self.num_sources = [x.shape[2] for x in sources]
        self.num_targets = [x.shape[2] for x in targets]
        self.num_means = means.shape[1]
        d_0, d_out = (spec.dims[0], spec.dims[-1]) if variant == "hnp" else (1, 1)
        groups = [d_0, *[1] * (spec.num_layers - 2), d_out]  # numbers of unpermuted channels
        self.sizes = [n * out_channels for n in chain.from_iterable((n, 1) for n in groups)]
        self.sizes[-1] *= d_out

        def linear(num_features: int, num_groups: int) -> nn.Module:
            n_in, n_out = num_features * in_channels, num_groups * out_channels
            return nn.Linear(n_in, n_out, bias=False) if num_features else nn.Identity()

        self.from_means = nn.Linear(self.num_means * in_channels, sum(self.sizes))
        self.from_sources = nn.ModuleList(map(linear, self.num_sources, groups))
        self.from_targets = nn.ModuleList(map(linear, self.num_targets, [n + 1 for n in groups]))
        self.entrywise = nn.ModuleList(
            EdgeLinear(in_channels, out_channels) if both else nn.Identity()
            for both in map(min, self.num_sources, self.num_targets)
        )
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise uniformly within 1 / sqrt(n), where n is the fan-in of an output entry."""
        bounds = []
        for i, (a, b) in enumerate(zip(self.num_sources, self.num_targets, strict=True)):
            fan_in = self.in_channels * (self.num_means + a + b + (min(a, b) > 0))
            bounds += [fan_in**-0.5, (self.in_channels * (self.num_means + b)) ** -0.5]
            for maps in (self.from_sources, self.from_targets, self.entrywise):
                for parameter in maps[i].parameters():
                    parameter.uniform_(-1, 1).mul_(fan_in**-0.5)
        sizes = torch.tensor(self.sizes)
        rows = torch.tensor(bounds).repeat_interleave(sizes, output_size=sum(self.sizes))
        self.from_means.weight.uniform_(-1, 1).mul_(rows[:, None])
        self.from_means.bias.uniform_(-1, 1).mul_(rows)

    def forward(self, batch: WeightBatch) -> WeightBatch:
        """Apply the layer."""
        batch.check_fits(self.spec, self.in_channels)
        c, (d_0, d_out) = self.out_channels, (self.spec.dims[0], self.spec.dims[-1])
        all_sources, all_targets, means = self._features(batch)
        constants = self.from_means(means).split(self.sizes, dim=1)
        tensors = []
        for i, (weight, source, target) in enumerate(
            zip(batch.weights, all_sources, all_targets, strict=True)
        ):
            constant, bias_constant = constants[2 * i : 2 * i + 2]
            if not self.num_targets[i]:  # outputs are not permuted
                to_outputs = self.from_sources[i](source) + constant[:, None]
                tensors += [
                    to_outputs.unflatten(2, (d_out, c)),
                    bias_constant.unflatten(1, (d_out, c)),
                ]
                continue
            entering, bias = self.from_targets[i](target).tensor_split([-c], dim=2)
            entering = entering + constant[:, None]
            if self.num_sources[i]:
                leaving = self.from_sources[i](source)[:, :, None]
                output = self.entrywise[i](weight) + leaving + entering[:, None]
            else:  # inputs are not permuted
                output = entering.unflatten(2, (d_0, c)).transpose(1, 2)
            tensors += [output, bias + bias_constant[:, None]]
        return WeightBatch.from_tensors(tensors)

    def _features(self, batch: WeightBatch) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Compute the features of neurons and the means over weights and biases.

        Returns:
            For each weight, features of its source neurons, (B, d_in, ·), and of its target
            neurons, (B, d_out, ·), both empty for levels that are not permuted; and the means,
            (B, ·).
        """
        weights, biases, last = batch.weights, batch.biases, len(batch.weights) - 1
        outgoing, incoming = [w.mean(2) for w in weights], [w.mean(1) for w in weights]
        means = [x.mean(1) for x in (*outgoing, *biases)]
        sources = [[x] for x in outgoing]
        targets = [[x, b] for x, b in zip(incoming, biases, strict=True)]
        for i in range(last):
            targets[i].append(outgoing[i + 1])
            sources[i + 1] += [incoming[i], biases[i]]
        if self.variant == "hnp":
            means += [x.flatten(1) for x in (outgoing[0], incoming[-1], biases[-1])]
            from_inputs, to_outputs = weights[0].transpose(1, 2).flatten(2), weights[-1].flatten(2)
            sources[last][0], targets[0][0] = to_outputs, from_inputs
            sources[1].append(from_inputs)
            targets[last - 1].append(to_outputs)
            sources[0], targets[last] = [outgoing[0][..., :0]], [incoming[-1][..., :0]]
        return (
            [torch.cat(x, dim=2) for x in sources],
            [torch.cat(x, dim=2) for x in targets],
            torch.cat(means, dim=1),
        )
