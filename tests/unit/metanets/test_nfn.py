"""NF-layers equal the authors' implementation with the same coefficients."""

from __future__ import annotations

import pytest
import torch
from nfn.common import NetworkSpec, WeightSpaceFeatures, network_spec_from_wsfeat
from nfn.layers import HNPLinear, IOSinusoidalEncoding, NPLinear
from tests.conftest import random_batch, randomise
from torch import Tensor, nn

from dws.metanets import NFN
from dws.metanets.layers.encoding import position_codes
from dws.metanets.layers.nf_linear import NFLinear
from dws.training import WeightSpaceModel
from dws.weightspace import (
    Permutation,
    WeightBatch,
    WeightSpaceSpec,
    assert_equivariant,
)

C_IN, C_OUT = 3, 5
SPECS = [WeightSpaceSpec(d) for d in [(2, 4, 3, 5, 2), (2, 4, 3, 1), (3, 4, 2)]]


def to_nfn(batch: WeightBatch) -> WeightSpaceFeatures:
    """Convert to channels first, with rows as outputs."""
    return WeightSpaceFeatures(
        [w.permute(0, 3, 2, 1) for w in batch.weights], [b.transpose(1, 2) for b in batch.biases]
    )


def from_nfn(features: WeightSpaceFeatures) -> WeightBatch:
    return WeightBatch(
        tuple(w.permute(0, 3, 2, 1) for w in features.weights),
        tuple(b.transpose(1, 2) for b in features.biases),
    )


def nfn_spec(spec: WeightSpaceSpec) -> NetworkSpec:
    return network_spec_from_wsfeat(to_nfn(random_batch(spec, 1)))


def matrix(module: nn.Module) -> Tensor:
    """The matrix of a linear map or of a convolution of size 1."""
    return module.weight.flatten(1)


def channels_last(columns: Tensor, size: int) -> Tensor:
    """Reorder columns from (c, n) to (n, c)."""
    return columns.unflatten(1, (-1, size)).transpose(1, 2).flatten(1)


@torch.no_grad()
def copy_np(reference: nn.Module, layer: NFLinear) -> None:
    names = dict(reference.named_modules())
    rows, constants = [], []
    for i in range(layer.spec.num_layers):
        entry, source, target, bias = (
            names[f"{x}"] for x in (f"layer_{i}", f"layer_{i}_r", f"layer_{i}_c", f"bias_{i}")
        )
        layer.entrywise[i].weight.copy_(matrix(entry))
        layer.from_sources[i].weight.copy_(matrix(source))
        both = torch.cat([matrix(target), matrix(bias)])
        layer.from_targets[i].weight.copy_(both)
        for name, added in ((f"layer_{i}_rc", (entry, source, target)), (f"bias_{i}_rc", (bias,))):
            rows.append(matrix(names[name]))
            constants.append(names[name].bias + sum(m.bias for m in added))
    layer.from_means.weight.copy_(torch.cat(rows))
    layer.from_means.bias.copy_(torch.cat(constants))


@torch.no_grad()
def copy_hnp(reference: nn.Module, layer: NFLinear) -> None:
    spec, names = layer.spec, dict(reference.named_modules())
    last, (d_0, d_out) = spec.num_layers - 1, (spec.dims[0], spec.dims[-1])

    def features(module: nn.Module, sizes: dict[int, int]) -> list[Tensor]:
        """Split the columns into those of each feature, with the given numbers of parts."""
        columns, parts = matrix(module), []
        while columns.shape[1]:
            size = sizes.get(len(parts), 1)
            parts.append(channels_last(columns[:, : C_IN * size], size))
            columns = columns[:, C_IN * size :]
        return parts

    def rows(x: Tensor, size: int) -> Tensor:
        return channels_last(x.reshape(1, -1) if x.ndim == 1 else x.T, size).T

    means, constants = [], []

    def add(module: nn.Module, added: list[nn.Module], size: int) -> None:
        ends = 2 * spec.num_layers
        parts = features(module, {ends: d_0, ends + 1: d_out, ends + 2: d_out})
        means.append(rows(torch.cat(parts, dim=1), size))
        constant = module.bias + sum(m.bias for m in added)
        constants.append(rows(constant, size).flatten())

    for i in range(spec.num_layers):
        source, target = layer.from_sources[i], layer.from_targets[i]
        if i == 0:
            at = {0: d_0, 3: d_out}
            weight, bias = names["w0_rpt"], names["bias_0"]
            columns = [features(m, at) for m in (weight, bias)]
            for parts in columns:
                parts[1], parts[2] = parts[2], parts[1]  # the authors use another order
            total = torch.cat([torch.cat(parts, dim=1) for parts in columns])
            total[: d_0 * C_OUT] = rows(total[: d_0 * C_OUT].clone(), d_0)
            target.weight.copy_(total)
            add(names["w0_rbdcst"], [weight], d_0)
            add(names["bias_0_rc"], [bias], 1)
        elif i == last:
            weight = names["wfin_cpt"]
            parts = features(weight, {0: d_out, 2: d_0})
            parts.insert(2, torch.zeros_like(parts[1]))  # the authors omit the bias
            total = rows(torch.cat(parts, dim=1), d_out)
            source.weight.copy_(total)
            add(names["wfin_cbdcst"], [weight], d_out)
            add(names["bias_fin_rc"], [], d_out)
        else:
            entry, source_map, target_map, bias = (
                names[x] for x in (f"layer_{i}", f"layer_{i}_r", f"layer_{i}_c", f"bias_{i}")
            )
            layer.entrywise[i].weight.copy_(matrix(entry))
            total = torch.cat(features(source_map, {3: d_0}), dim=1)
            source.weight.copy_(total)
            both = [torch.cat(features(m, {3: d_out}), dim=1) for m in (target_map, bias)]
            target.weight.copy_(torch.cat(both))
            add(names[f"layer_{i}_rc"], [entry, source_map, target_map], 1)
            add(names[f"bias_{i}_rc"], [bias], 1)
    layer.from_means.weight.copy_(torch.cat(means))
    layer.from_means.bias.copy_(torch.cat(constants))


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("variant", ["np", "hnp"])
def test_layer_equals_the_authors_implementation(spec: WeightSpaceSpec, variant: str) -> None:
    reference_class, copy = (NPLinear, copy_np) if variant == "np" else (HNPLinear, copy_hnp)
    reference = randomise(reference_class(nfn_spec(spec), C_IN, C_OUT)).double()
    layer = NFLinear(spec, C_IN, C_OUT, variant=variant).double()
    copy(reference, layer)
    batch = random_batch(spec, 4, C_IN)
    expected = from_nfn(reference(to_nfn(batch)))
    for got, value in zip(layer(batch).tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(got, value, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("variant", ["np", "hnp"])
def test_layer_of_the_published_size_has_the_published_parameters(variant: str) -> None:
    spec = WeightSpaceSpec((2, 32, 32, 1))
    reference_class = NPLinear if variant == "np" else HNPLinear
    reference, actual = (
        sum(p.numel() for p in layer.parameters())
        for layer in (
            reference_class(nfn_spec(spec), 64, 64),
            NFLinear(spec, 64, 64, variant=variant),
        )
    )
    assert actual == pytest.approx(reference, rel=0.02)


@pytest.mark.parametrize("variant", ["np", "hnp"])
def test_nf_layer_is_equivariant(variant: str) -> None:
    spec = SPECS[0]
    layer = randomise(NFLinear(spec, C_IN, C_OUT, variant=variant)).double()
    g = Permutation.random(spec, torch.Generator().manual_seed(0), nontrivial=True)
    assert_equivariant(layer, random_batch(spec, 3, C_IN), g)


def test_position_codes_equal_those_of_the_authors() -> None:
    spec = WeightSpaceSpec((3, 4, 5, 2))
    batch = random_batch(spec, 1, dtype=torch.float32)
    reference = from_nfn(
        IOSinusoidalEncoding(nfn_spec(spec), max_freq=3, num_bands=3)(to_nfn(batch))
    )
    actual = WeightBatch.from_flat(spec, position_codes(spec, 3, 3.0))
    for got, expected in zip(actual.tensors(), reference.tensors(), strict=True):
        torch.testing.assert_close(got, expected[..., 1:])


@pytest.mark.parametrize("variant", ["np", "hnp"])
def test_network_distinguishes_inputs(variant: str) -> None:
    spec = WeightSpaceSpec((2, 4, 3, 1))
    net = randomise(NFN(spec, out_features=3, variant=variant, num_frequencies=4)).double().eval()
    batch = random_batch(spec, 2)
    other = WeightBatch((batch.weights[0].flip(1), *batch.weights[1:]), batch.biases)
    assert (net(other) - net(batch)).abs().max() > 1e-3


def test_weights_are_encoded_without_scaling() -> None:
    spec = WeightSpaceSpec((2, 4, 4, 1))
    batch = random_batch(spec, 6, dtype=torch.float32)
    net = NFN(spec, out_features=3)
    model = WeightSpaceModel(spec, net, nn.Identity()).eval()
    model.fit(batch)
    assert float(model.standardize.std.min()) != 1
    torch.testing.assert_close(model(batch), net(batch))


@pytest.mark.untyped
def test_unknown_variant_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"variant in \('np', 'hnp'\), got 'hp'"):
        NFN(SPECS[0], out_features=1, variant="hp")
