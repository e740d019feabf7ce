"""Blocks of SignDWSNet commute with the group, and the network distinguishes its orbits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature

import pytest
import torch
from tests.conftest import needs_compiler, random_batch, randomise
from torch import Tensor, nn
from torch.func import grad, vmap

from dws.metanets import DWSNet, EquivariantDWSNet, EquivariantSignDWSNet, SignDWSNet
from dws.metanets.layers.parity import Odd, OddNorm
from dws.metanets.layers.signed import (
    Decoder,
    EdgeUpdate,
    Encoder,
    Message,
    NeuronUpdate,
    ReadOut,
    SignedFeatures,
    SignedLayer,
)
from dws.weightspace import (
    SignedPermutation,
    WeightBatch,
    WeightSpaceSpec,
    assert_equivariant,
    wrap_phases,
)

SPEC = WeightSpaceSpec((2, 5, 4, 6, 3))
C, E = 8, 4
G = SignedPermutation.random(SPEC, torch.Generator().manual_seed(0), nontrivial=True)


def permuted(x: Tensor, level: int, axis: int = 1) -> Tensor:
    return x.index_select(axis, G.levels[level].abs() - 1)


def moved(x: Odd) -> Odd:
    values = x.values
    for axis, level in enumerate(x.levels, start=1):
        signs = G.levels[level].sign().to(values)
        shape = [len(signs) if i == axis else 1 for i in range(values.ndim)]
        values = permuted(values, level, axis) * signs.view(shape)
    return Odd(values, x.levels)


def moved_features(x: SignedFeatures) -> SignedFeatures:
    return SignedFeatures(
        odd=[moved(o) for o in x.odd],
        even=[permuted(h, level) for level, h in enumerate(x.even)],
        edges=[moved(e) for e in x.edges],
        globals=x.globals,
    )


def draw(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


D = SPEC.hidden_dims
FEATURES = SignedFeatures(
    odd=[Odd(draw(3, d, C, seed=i), (i,)) for i, d in enumerate(D)],
    even=[draw(3, d, C, seed=10 + i) for i, d in enumerate(D)],
    edges=[Odd(draw(3, D[i], D[i + 1], E, seed=20 + i), (i, i + 1)) for i in range(len(D) - 1)],
    globals=draw(3, C, seed=30),
)


def tensors(x: object) -> list[Tensor]:
    """All tensors in order."""
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, Odd):
        return [x.values]
    if isinstance(x, SignedFeatures):
        return tensors([*x.odd, *x.even, *x.edges, x.globals])
    assert isinstance(x, Sequence)
    return [t for part in x for t in tensors(part)]


def assert_same(got: object, expected: object) -> None:
    for a, b in zip(tensors(got), tensors(expected), strict=True):
        assert b.abs().max() > 0.1
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def block(module: nn.Module) -> nn.Module:
    return randomise(module).double()


def test_encoder_is_equivariant() -> None:
    encode, batch = block(Encoder(SPEC, 2, C, E)), random_batch(SPEC, 3, 2)
    assert_same(encode(G.apply(batch)), moved_features(encode(batch)))


def test_decoder_is_equivariant() -> None:
    decode = block(Decoder(SPEC, C, E, 2))
    got, expected = decode(moved_features(FEATURES)), G.apply(decode(FEATURES))
    assert_same(list(got.tensors()), list(expected.tensors()))


def test_signed_layer_is_equivariant() -> None:
    layer = block(SignedLayer(len(D), C, E))
    assert_same(layer(moved_features(FEATURES)), moved_features(layer(FEATURES)))


def test_edge_update_is_equivariant() -> None:
    f, x, y = block(EdgeUpdate(C, E)), FEATURES, moved_features(FEATURES)
    expected = moved(f(x.edges[0], *x.odd[:2], *x.even[:2]))
    assert_same(f(y.edges[0], *y.odd[:2], *y.even[:2]), expected)


@pytest.mark.parametrize("backward", [False, True])
def test_message_is_equivariant(backward: bool) -> None:
    f = block(Message(C))

    def message(x: SignedFeatures) -> Odd:
        if backward:
            return f(x.odd[1], x.edges[0].transpose())
        return f(x.odd[0], x.edges[0])

    assert_same(message(moved_features(FEATURES)), moved(message(FEATURES)))


def test_neuron_update_is_equivariant() -> None:
    f, x, y = block(NeuronUpdate(C, num_messages=1)), FEATURES, moved_features(FEATURES)
    message = Odd(draw(3, D[0], C, seed=40), (0,))
    odd, even = f(x.odd[0], x.even[0], [message], x.globals)
    got = f(y.odd[0], y.even[0], [moved(message)], y.globals)
    assert_same(got, [moved(odd), permuted(even, 0)])


def test_odd_norm_is_equivariant() -> None:
    f = block(OddNorm(C))
    assert_same(f(moved(FEATURES.odd[0])), moved(f(FEATURES.odd[0])))


def test_read_out_is_invariant() -> None:
    f, x, y = block(ReadOut(C, 7)), FEATURES, moved_features(FEATURES)
    assert_same(f(y.odd[1], y.even[1]), f(x.odd[1], x.even[1]))


# --- networks in different orbits -----------------------------------------------------------------


def change(
    level: int, part: str, function: Callable[[Tensor, int], Tensor]
) -> Callable[[WeightBatch], WeightBatch]:
    """Change only the incoming weights, the biases or the outgoing weights of a hidden level."""

    def changed(batch: WeightBatch) -> WeightBatch:
        weights, biases = list(batch.weights), list(batch.biases)
        match part:
            case "incoming":
                weights[level] = function(weights[level], 2)
            case "bias":
                biases[level] = function(biases[level], 1)
            case _:
                weights[level + 1] = function(weights[level + 1], 1)
        return WeightBatch(tuple(weights), tuple(biases))

    return changed


def flip_first(x: Tensor, axis: int) -> Tensor:
    signs = torch.ones(x.shape[axis], dtype=x.dtype)
    signs[0] = -1
    return x * signs.view([-1 if i == axis else 1 for i in range(x.ndim)])


def swap_first_two(x: Tensor, axis: int) -> Tensor:
    return x.index_select(axis, torch.tensor([1, 0, *range(2, x.shape[axis])]))


def negate(x: Tensor, axis: int) -> Tensor:
    return -x


def negate_one_entry(x: Tensor, axis: int) -> Tensor:
    signs = torch.ones_like(x[0])
    signs[(0,) * signs.ndim] = -1
    return x * signs


@pytest.mark.parametrize("level", range(len(D)))
@pytest.mark.parametrize("part", ["incoming", "bias", "outgoing"])
@pytest.mark.parametrize("function", [flip_first, swap_first_two, negate, negate_one_entry])
def test_networks_in_different_orbits_are_distinguished(
    level: int, part: str, function: Callable[[Tensor, int], Tensor]
) -> None:
    torch.manual_seed(0)
    net, batch = SignDWSNet(SPEC, out_features=16).double(), random_batch(SPEC, 8)
    outputs, others = net(batch), net(change(level, part, function)(batch))
    spread = outputs.std(0).mean()
    assert ((others - outputs).square().mean(1).sqrt() > 1e-3 * spread).all()


def test_networks_with_different_last_biases_are_distinguished() -> None:
    net, batch = SignDWSNet(SPEC, out_features=16).double(), random_batch(SPEC, 8)
    other = WeightBatch(batch.weights, (*batch.biases[:-1], -batch.biases[-1]))
    assert (net(other) - net(batch)).abs().amax(1).min() > 1e-3


def test_global_features_reach_every_neuron() -> None:
    layer = block(SignedLayer(len(D), C, E))
    other = replace(FEATURES, globals=FEATURES.globals + draw(3, C, seed=50))
    for before, after in zip(layer(FEATURES).even, layer(other).even, strict=True):
        assert (after - before).abs().amax(2).min() > 1e-3


def test_no_channel_is_constant() -> None:
    """Initially each channel varies over neurons and networks and affects the embedding."""
    torch.manual_seed(0)
    net, batch = SignDWSNet(SPEC, out_features=16).double(), random_batch(SPEC, 16)
    outputs: list[SignedFeatures] = []
    for module in (net.encode, *net.layers):
        module.register_forward_hook(lambda _, __, features: outputs.append(features))
    embedding = net.embed(batch)
    assert embedding.std(0).min() > 1e-6
    for depth, features in enumerate(outputs):
        values = [*features.odd, *features.even, features.globals]
        values += features.edges if depth < len(net.layers) else []  # the last edges have no effect
        for value in tensors(values):
            (gradient,) = torch.autograd.grad(embedding.square().sum(), value, retain_graph=True)
            for x in (value, gradient):
                assert x.flatten(0, -2).std(0).min() > 1e-6


# --- phase shifts ---------------------------------------------------------------------------------


def test_fit_computes_the_scale_of_wrapped_weights() -> None:
    net, reference = SignDWSNet(SPEC, out_features=1, omega_0=30.0), random_batch(SPEC, 200)
    net.fit(reference)
    *scaled, last_bias = net.scale(wrap_phases(reference, omega_0=30.0)).tensors()
    for tensor in scaled:
        assert float(tensor.square().mean()) == pytest.approx(1, rel=1e-5)
    assert float(last_bias.std()) == pytest.approx(1, rel=1e-5)
    assert net.scale.mean[:-1].tolist() == [0] * len(scaled)


def test_fit_requires_omega_0() -> None:
    with pytest.raises(ValueError, match="Only a network with omega_0 is fitted"):
        SignDWSNet(SPEC, out_features=1).fit(random_batch(SPEC))


def test_state_dict_of_version_0_2_without_scale_is_rejected() -> None:
    net = SignDWSNet(SPEC, out_features=1, omega_0=30.0)
    state = {k: v for k, v in net.state_dict().items() if not k.startswith("scale.")}
    with pytest.raises(ValueError, match=r"version 0\.2 and lacks scale\.mean.*WeightSpaceModel"):
        net.load_state_dict(state)


# --- networks to networks -------------------------------------------------------------------------

WRITERS: dict[str, Callable[..., nn.Module]] = {
    "dwsnet": lambda **kw: EquivariantDWSNet(SPEC, hidden_channels=8, num_layers=3, **kw),
    "sign": lambda **kw: EquivariantSignDWSNet(SPEC, hidden_channels=8, num_layers=2, **kw),
}
writers = pytest.mark.parametrize("make", WRITERS.values(), ids=WRITERS)


@writers
def test_networks_are_mapped_to_networks(make: Callable[..., nn.Module]) -> None:
    output = make(in_channels=2, out_channels=3)(random_batch(SPEC, 4, 2, dtype=torch.float32))
    assert (output.spec, output.batch_size, output.num_channels) == (SPEC, 4, 3)


@writers
def test_gradients_reach_every_parameter(make: Callable[..., nn.Module]) -> None:
    net = make().double()
    net(random_batch(SPEC, 16)).flatten().pow(3).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-9, name


@writers
def test_vmap_of_grad_equals_the_gradient_of_each_network(make: Callable[..., nn.Module]) -> None:
    net, batch = randomise(make()).double().eval(), random_batch(SPEC, 3)

    def loss(network: WeightBatch) -> Tensor:
        return net(network.map(lambda t: t.unsqueeze(0))).flatten().square().sum()

    inputs = batch.map(lambda t: t.clone().requires_grad_())
    expected = torch.autograd.grad(net(inputs).flatten().square().sum(), list(inputs.tensors()))
    for got, gradient in zip(vmap(grad(loss))(batch).tensors(), expected, strict=True):
        torch.testing.assert_close(got, gradient)


@writers
def test_networks_of_other_widths_are_rejected(make: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"expected networks of widths \(2, 5, 4, 6, 3\)"):
        make()(random_batch(WeightSpaceSpec((2, 5, 3)), dtype=torch.float32))


@pytest.mark.parametrize("net", [DWSNet, SignDWSNet])
def test_to_networks_takes_the_arguments_of_the_metanet(net: type) -> None:
    invariant = set(signature(net).parameters) - {"out_features"}
    assert set(signature(net.to_networks).parameters) == invariant
    defaults = {p.name: p.default for p in signature(net).parameters.values()}
    for p in signature(net.to_networks).parameters.values():
        assert p.default == defaults[p.name], p.name


def test_to_networks_of_dwsnet_has_the_same_trunk() -> None:
    arguments = {"hidden_channels": 6, "num_layers": 3, "norm": "layer", "skip": True}
    net, invariant = (
        DWSNet.to_networks(SPEC, **arguments),
        DWSNet(SPEC, out_features=1, **arguments),
    )
    net.trunk.load_state_dict(invariant.trunk.state_dict())


def test_to_networks_of_sign_dwsnet_has_the_same_layers() -> None:
    arguments = {"hidden_channels": 8, "edge_channels": 2, "num_layers": 3}
    net = SignDWSNet.to_networks(SPEC, read_channels=5, head_layers=7, **arguments)
    net.layers.load_state_dict(SignDWSNet(SPEC, out_features=1, **arguments).layers.state_dict())


@pytest.mark.parametrize("argument", [{"dropout": 0.1}, {"omega_0": 30.0}])
def test_to_networks_rejects_dropout_and_omega_0(
    argument: dict[str, float],
) -> None:
    with pytest.raises(ValueError, match=r"model\.dropout=0 and model\.omega_0=null"):
        SignDWSNet.to_networks(SPEC, **argument)


def test_decoded_inner_weights_have_full_rank() -> None:
    """With one edge channel, edge features alone would have low rank."""
    spec = WeightSpaceSpec((2, 16, 16, 1))
    net = EquivariantSignDWSNet(spec, hidden_channels=32, edge_channels=1, num_layers=1).double()
    written = net(random_batch(spec, 2)).weights[1][..., 0]
    assert torch.linalg.matrix_rank(written).tolist() == [16, 16]


def test_output_networks_are_equivariant() -> None:
    net = randomise(EquivariantSignDWSNet(SPEC, hidden_channels=8)).double()
    assert_equivariant(net, random_batch(SPEC, 4), G)


@pytest.mark.untyped
@needs_compiler
def test_compiled_and_eager_agree() -> None:
    net = EquivariantSignDWSNet(SPEC, hidden_channels=8, num_layers=1).double()
    batch = random_batch(SPEC, 4)
    compiled = torch.compile(net, fullgraph=True)(batch)
    torch.testing.assert_close(compiled.flatten(), net(batch).flatten())
