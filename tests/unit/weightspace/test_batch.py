from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.conftest import random_batch
from torch import nn
from torch.utils._pytree import (
    key_get,
    keystr,
    tree_flatten,
    tree_flatten_with_path,
    tree_unflatten,
)

from dws.weightspace import WeightBatch, WeightSpaceSpec

SPEC = WeightSpaceSpec((2, 3, 4, 1))


def test_flatten_and_from_flat_are_inverse() -> None:
    batch = random_batch(SPEC, channels=2)
    again = WeightBatch.from_flat(SPEC, batch.flatten())
    assert all(torch.equal(a, b) for a, b in zip(batch.tensors(), again.tensors(), strict=True))


def test_flat_order_is_weight_bias_weight_bias() -> None:
    batch = random_batch(SPEC)
    flat = batch.flatten()
    assert torch.equal(flat[:, :6], batch.weights[0].flatten(1, 2))
    assert torch.equal(flat[:, 6:9], batch.biases[0])


def test_from_linear_gives_the_same_function() -> None:
    layers = [nn.Linear(d_in, d_out) for d_in, d_out in SPEC.weight_shapes]
    batch = WeightBatch.from_linear([f.weight for f in layers], [f.bias for f in layers])
    x = torch.randn(5, 2)
    expected, got = x, x
    for layer, weight, bias in zip(layers, batch.weights, batch.biases, strict=True):
        expected = layer(expected)
        got = got @ weight[0, :, :, 0] + bias[0, :, 0]
    torch.testing.assert_close(got, expected)


def test_layers_without_bias_get_zero_biases() -> None:
    layers = [nn.Linear(d_in, d_out, bias=False) for d_in, d_out in SPEC.weight_shapes]
    batch = WeightBatch.from_linear([f.weight for f in layers], [f.bias for f in layers])
    assert all(torch.equal(b, torch.zeros_like(b)) for b in batch.biases)
    assert batch.spec == SPEC


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("weights", "biases", "complaint"),
    [
        ([(8, 2, 3, 3)], [(8,)], r"matrices .* \[\(8, 2, 3, 3\)\]"),
        ([(3, 2), (1, 3)], [(3,)], r"1 biases and weights of shapes \[\(3, 2\), \(1, 3\)\]"),
        ([(3, 2), (1, 3)], [(3,), ()], r"\(\(1, 3\), \(\)\)"),
        ([(3, 2), (1, 3)], [(3,), (2,)], r"\(\(1, 3\), \(2,\)\)"),
        ([(3, 2), (1, 3)], [(3, 1), (1,)], r"\(\(3, 2\), \(3, 1\)\)"),
    ],
)
def test_invalid_linear_shapes_are_rejected(
    weights: list[tuple[int, ...]], biases: list[tuple[int, ...]], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        WeightBatch.from_linear(list(map(torch.zeros, weights)), list(map(torch.zeros, biases)))


def test_mismatching_batches_cannot_be_concatenated() -> None:
    with pytest.raises(ValueError, match="at least one"):
        WeightBatch.cat([])
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 1\).*\(2, 3, 1\)"):
        WeightBatch.cat([random_batch(SPEC), random_batch(WeightSpaceSpec((2, 3, 1)))])
    with pytest.raises(ValueError, match=r"1 channels.* 2"):
        WeightBatch.cat([random_batch(SPEC), random_batch(SPEC, channels=2)])


@pytest.mark.untyped
@pytest.mark.parametrize("index", [1, torch.tensor(1), np.int64(1)])
def test_integer_index_is_rejected(index: object) -> None:
    with pytest.raises(TypeError, match=r"batch\[1 : 2\]"):
        random_batch(SPEC)[index]


def test_spec_is_inferred_from_shapes() -> None:
    assert random_batch(SPEC).spec == SPEC


def test_indexing_selects_networks() -> None:
    batch = random_batch(SPEC)
    picked = batch[torch.tensor([2, 0])]
    assert torch.equal(picked.flatten(), batch.flatten()[[2, 0]])


def test_flat_parameters_of_wrong_size_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"expected flat parameters of shape \(B, 30, C\)"):
        WeightBatch.from_flat(SPEC, torch.zeros(2, 7, 1))


@pytest.mark.parametrize(
    ("weights", "biases"),
    [
        ([(2, 2, 3, 1)], []),
        ([(2, 2, 3)], [(2, 3, 1)]),
        ([(2, 2, 3, 1)], [(2, 4, 1)]),
        ([(2, 2, 3, 1), (2, 4, 1, 1)], [(2, 3, 1), (2, 1, 1)]),
        ([(2, 2, 3, 1), (3, 3, 1, 1)], [(2, 3, 1), (2, 1, 1)]),
        ([(2, 2, 3, 1), (2, 3, 1, 2)], [(2, 3, 1), (2, 1, 1)]),
    ],
)
def test_inconsistent_shapes_are_rejected(
    weights: list[tuple[int, ...]], biases: list[tuple[int, ...]]
) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        WeightBatch(tuple(map(torch.zeros, weights)), tuple(map(torch.zeros, biases)))


def test_batch_is_a_pytree() -> None:
    batch = random_batch(SPEC)
    leaves, structure = tree_flatten(batch)
    assert all(a is b for a, b in zip(leaves, (*batch.weights, *batch.biases), strict=True))
    again = tree_unflatten(leaves, structure)
    assert isinstance(again, WeightBatch)
    assert all(a is b for a, b in zip(again.tensors(), batch.tensors(), strict=True))


def test_pytree_paths_are_attribute_names() -> None:
    batch = random_batch(SPEC)
    paths, _ = tree_flatten_with_path(batch)
    assert len(paths) == 2 * SPEC.num_layers
    for path, tensor in paths:
        assert key_get(batch, path) is tensor
    assert keystr(paths[-1][0]) == f".biases[{SPEC.num_layers - 1}]"


def test_vmap_maps_over_networks() -> None:
    batch = random_batch(SPEC)
    scaled = torch.func.vmap(lambda network: network.map(lambda t: t * network.biases[0].sum()))(
        batch
    )
    sums = batch.biases[0].sum((1, 2))
    torch.testing.assert_close(scaled.flatten(), batch.flatten() * sums[:, None, None])


def test_batches_are_added_and_concatenated() -> None:
    a, b = random_batch(SPEC, seed=1), random_batch(SPEC, seed=2)
    assert torch.equal((a + b).flatten(), a.flatten() + b.flatten())
    assert torch.equal(WeightBatch.cat([a, b]).flatten(), torch.cat([a.flatten(), b.flatten()]))


@pytest.mark.parametrize("index", [(slice(None), 0), None, torch.zeros(2, 2, dtype=torch.long)])
@pytest.mark.untyped
def test_index_beyond_the_batch_dimension_is_rejected(index: object) -> None:
    batch = random_batch(WeightSpaceSpec((2, 3, 1)), 4)
    with pytest.raises(TypeError, match=r"a tensor of indices \(n,\), not by"):
        batch[index]  # type: ignore[index]


def test_mismatching_batches_cannot_be_added() -> None:
    batch = random_batch(WeightSpaceSpec((2, 3, 1)), 4)
    others = [
        random_batch(WeightSpaceSpec((2, 3, 3, 1)), 4),
        random_batch(WeightSpaceSpec((2, 1, 1)), 4),
        random_batch(WeightSpaceSpec((2, 3, 1)), 1),
        random_batch(WeightSpaceSpec((2, 3, 1)), 4, channels=2),
    ]
    for other in others:
        with pytest.raises(ValueError, match="expected"):
            batch + other


def test_batches_with_gradients_can_be_copied() -> None:
    batch = random_batch(WeightSpaceSpec((2, 3, 1)), 2).map(lambda t: t.requires_grad_())
    copied = copy.deepcopy(batch)
    assert copy.copy(batch) is batch
    assert torch.equal(copied.flatten(), batch.flatten())
    assert all(t.is_leaf and t.requires_grad for t in copied.tensors())


def test_split_channels_keeps_channels_of_a_network_together() -> None:
    batch = random_batch(WeightSpaceSpec((2, 3, 1)), 2, channels=3)
    networks = batch.split_channels()
    assert networks.num_channels == 1
    assert torch.equal(networks.flatten()[4, :, 0], batch.flatten()[1, :, 1])


def test_printed_batch_is_one_line() -> None:
    batch = random_batch(WeightSpaceSpec((2, 3, 1)), 5, channels=2)
    text = "WeightBatch(5 networks of widths (2, 3, 1), channels: 2, torch.float64, cpu)"
    assert (repr(batch), len(batch)) == (text, 5)
