"""Checklist of properties that every metanet has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.conftest import needs_compiler, random_batch, randomise
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from chirps import GatedNet
from dws.metanets import (
    GMN,
    MLP,
    NFN,
    NGGNN,
    NGT,
    DWSNet,
    INR2Vec,
    ProbeNet,
    ScaleGMN,
    SignDWSNet,
    Transformer,
)
from dws.weightspace import (
    Permutation,
    SignFlip,
    WeightBatch,
    WeightSpaceSpec,
    assert_invariant,
)

SPEC = WeightSpaceSpec((2, 6, 5, 3))
NETS: dict[str, Callable[..., nn.Module]] = {
    "dwsnet": lambda **kw: DWSNet(hidden_channels=4, num_layers=2, **kw),
    "dwsnet_mean": lambda **kw: DWSNet(hidden_channels=4, num_layers=2, reduction="mean", **kw),
    "dwsnet_sum": lambda **kw: DWSNet(hidden_channels=4, num_layers=2, reduction="sum", **kw),
    "dwsnet_no_norm": lambda **kw: DWSNet(hidden_channels=4, num_layers=2, norm="none", **kw),
    "dwsnet_layer_norm": lambda **kw: DWSNet(hidden_channels=4, num_layers=2, norm="layer", **kw),
    "dwsnet_attention": lambda **kw: DWSNet(
        hidden_channels=4, num_layers=2, set_layer="attention", **kw
    ),
    "dwsnet_skip_dropout": lambda **kw: DWSNet(
        hidden_channels=4, num_layers=3, skip=True, dropout=0.3, **kw
    ),
    "dwsnet_sign": lambda **kw: SignDWSNet(hidden_channels=4, num_layers=2, **kw),
    "probe": lambda **kw: ProbeNet(num_probes=6, hidden_features=(16, 8), omega_0=1.0, **kw),
    "mlp": lambda **kw: MLP(hidden_features=(16, 8), **kw),
    "inr2vec": lambda **kw: INR2Vec(hidden_features=(16, 8), **kw),
    "transformer": lambda **kw: Transformer(hidden_features=8, num_layers=2, num_heads=2, **kw),
}
NFN_SIZES = {"hidden_channels": 4, "num_layers": 2, "head_features": 8, "num_frequencies": 3}
NETS["nfn"] = lambda **kw: NFN(**NFN_SIZES, **kw)
NETS["nfn_hnp"] = lambda **kw: NFN(variant="hnp", **NFN_SIZES, **kw)
GRAPH_NETS: dict[str, Callable[..., nn.Module]] = {
    "scalegmn": lambda **kw: ScaleGMN(hidden_channels=4, num_layers=3, **kw),
    "scalegmn_b": lambda **kw: ScaleGMN(
        direction="bidirectional", hidden_channels=4, num_layers=3, **kw
    ),
    "ng_gnn": lambda **kw: NGGNN(hidden_channels=8, num_layers=3, num_frequencies=3, **kw),
    "ng_t": lambda **kw: NGT(
        node_channels=16, edge_channels=8, attention_channels=16, num_heads=2, num_layers=3,
        hidden_features=16, num_frequencies=3, **kw,
    ),
    "gmn": lambda **kw: GMN(hidden_channels=4, num_layers=2, **kw),
}  # fmt: skip
NETS |= GRAPH_NETS
NETS |= {
    f"{name}_probes": lambda make=make, **kw: make(num_probes=3, omega_0=1.0, **kw)
    for name, make in GRAPH_NETS.items()
}
NETS["gated_of_the_example"] = lambda **kw: GatedNet(hidden_channels=4, num_layers=2, **kw)
NETS["transformer_layers"] = lambda **kw: NETS["transformer"](encoding="layer", **kw)
NOT_INVARIANT = ("mlp", "inr2vec", "transformer", "transformer_layers")
forward_mode = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
KNOW_SINES = ("dwsnet_sign", "probe", *(name for name in NETS if name.startswith("scalegmn")))
batched_attention = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")


def along(
    function: Callable[..., torch.Tensor], x: torch.Tensor | WeightBatch, direction: object
) -> torch.Tensor:
    """Central difference along a direction."""
    step = 1e-6
    ahead = tree_map(lambda t, d: t + step * d, x, direction)
    behind = tree_map(lambda t, d: t - step * d, x, direction)
    return (function(ahead) - function(behind)) / (2 * step)


@pytest.fixture(params=NETS)
def make(request: pytest.FixtureRequest) -> Callable[..., nn.Module]:
    return lambda spec=SPEC, **kw: NETS[request.param](
        spec=spec, **{"in_channels": 2, "out_features": 7, **kw}
    )


@pytest.mark.parametrize("dims", [(2, 6, 5, 3), (1, 4, 1), (1, 1, 1, 1), (3, 2, 3, 2, 3, 2)])
def test_output_and_embedding_have_documented_shapes(
    make: Callable[..., nn.Module], dims: tuple[int, ...]
) -> None:
    spec = WeightSpaceSpec(dims)
    net = make(spec).eval()
    batch = random_batch(spec, 3, 2, dtype=torch.float32)
    assert net(batch).shape == (3, 7)
    assert net.embed(batch).shape[0] == 3


def test_batch_of_one_network_has_one_output(make: Callable[..., nn.Module]) -> None:
    assert make().eval()(random_batch(SPEC, 1, 2, dtype=torch.float32)).shape == (1, 7)


def test_empty_batch_gives_empty_output(make: Callable[..., nn.Module]) -> None:
    net, batch = make().eval(), random_batch(SPEC, 0, 2, dtype=torch.float32)
    assert net(batch).shape == (0, 7)
    assert net.embed(batch).shape == (
        0,
        net.embed(random_batch(SPEC, 1, 2).to(torch.float32)).shape[1],
    )


def test_gradients_reach_every_parameter(make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)  # of dropout
    net = randomise(make()).double()  # some metanets have initial gradients near 0
    net(random_batch(SPEC, 16, 2)).square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-6, name


@pytest.mark.untyped
@batched_attention
def test_vmap_of_grad_equals_the_gradient_of_each_network(make: Callable[..., nn.Module]) -> None:
    net, batch = randomise(make()).double().eval(), random_batch(SPEC, 4, 2)

    def loss(network: WeightBatch) -> torch.Tensor:
        return net(network.map(lambda t: t.unsqueeze(0))).square().sum()

    inputs = batch.map(lambda t: t.clone().requires_grad_())
    expected = torch.autograd.grad(net(inputs).square().sum(), list(inputs.tensors()))
    for got, gradient in zip(vmap(grad(loss))(batch).tensors(), expected, strict=True):
        torch.testing.assert_close(got, gradient)


@pytest.mark.untyped
@batched_attention
def test_jacrev_equals_the_gradient_of_each_output(make: Callable[..., nn.Module]) -> None:
    net, batch = randomise(make()).double().eval(), random_batch(SPEC, 2, 2)
    inputs = batch.map(lambda t: t.clone().requires_grad_())
    row = torch.autograd.grad(net(inputs)[1, 3], list(inputs.tensors()))
    for got, expected in zip(jacrev(net)(batch).tensors(), row, strict=True):
        torch.testing.assert_close(got[1, 3], expected)


@pytest.mark.untyped
@forward_mode
def test_jvp_equals_the_directional_derivative(make: Callable[..., nn.Module]) -> None:
    net, batch = randomise(make()).double().eval(), random_batch(SPEC, 2, 2)
    direction = random_batch(SPEC, 2, 2, seed=1)
    with sdpa_kernel(SDPBackend.MATH):
        _, got = jvp(net, (batch,), (direction,))
    torch.testing.assert_close(got, along(net, batch, direction), rtol=1e-5, atol=1e-5)


@pytest.mark.untyped
@forward_mode
@batched_attention
def test_forward_and_reverse_mode_jacobians_agree(make: Callable[..., nn.Module]) -> None:
    net, batch = randomise(make()).double().eval(), random_batch(SPEC, 2, 2)
    with sdpa_kernel(SDPBackend.MATH):
        pairs = zip(jacfwd(net)(batch).tensors(), jacrev(net)(batch).tensors(), strict=True)
    for got, expected in pairs:
        torch.testing.assert_close(got, expected)


@pytest.mark.untyped
@forward_mode
@batched_attention
def test_hessian_equals_the_derivative_of_the_gradient(make: Callable[..., nn.Module]) -> None:
    net, batch = randomise(make()).double().eval(), random_batch(SPEC, 2, 2)

    def loss(bias: torch.Tensor) -> torch.Tensor:
        return net(WeightBatch(batch.weights, (bias, *batch.biases[1:]))).square().sum()

    bias, direction = batch.biases[0], random_batch(SPEC, 2, 2, seed=1).biases[0]
    with sdpa_kernel(SDPBackend.MATH):
        got = hessian(loss)(bias)
    expected = along(grad(loss), bias, direction)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close((got * direction).sum((3, 4, 5)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.untyped
@batched_attention
def test_per_network_parameter_gradients_equal_autograd(make: Callable[..., nn.Module]) -> None:
    net, batch = randomise(make()).double().eval(), random_batch(SPEC, 3, 2)
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(parameters: dict[str, torch.Tensor], network: WeightBatch) -> torch.Tensor:
        network = network.map(lambda t: t.unsqueeze(0))
        return functional_call(net, parameters, (network,)).square().sum()

    got = vmap(grad(loss), in_dims=(None, 0))(parameters, batch)
    net(batch[2:]).square().sum().backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(got[name][2], parameter.grad)


def test_float64_stays_float64(make: Callable[..., nn.Module]) -> None:
    assert make().double()(random_batch(SPEC, 4, 2)).dtype == torch.float64


def test_state_dict_round_trip_preserves_the_function(make: Callable[..., nn.Module]) -> None:
    net, other = randomise(make()).eval(), make().eval()
    batch = random_batch(SPEC, 4, 2, dtype=torch.float32)
    assert not torch.equal(other(batch), net(batch))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(batch), net(batch))


def test_evaluation_is_deterministic_and_independent_of_the_batch(
    make: Callable[..., nn.Module],
) -> None:
    net = make().double().eval()
    batch = random_batch(SPEC, 8, 2)
    assert torch.equal(net(batch), net(batch))
    torch.testing.assert_close(net(batch[:3]), net(batch)[:3])


def test_equivariant_metanets_are_invariant_to_permutations(
    make: Callable[..., nn.Module], request: pytest.FixtureRequest
) -> None:
    net = randomise(make()).double().eval()
    g = Permutation.random(SPEC, torch.Generator().manual_seed(0))
    batch = random_batch(SPEC, 4, 2)
    if request.node.callspec.params["make"] in NOT_INVARIANT:
        with pytest.raises(AssertionError, match="not invariant"):
            assert_invariant(net, batch, g)
    else:
        assert_invariant(net, batch, g)


def test_only_metanets_for_sines_are_invariant_to_sign_flips(
    make: Callable[..., nn.Module], request: pytest.FixtureRequest
) -> None:
    net = randomise(make()).double().eval()
    flip = SignFlip.random(SPEC, torch.Generator().manual_seed(0))
    batch = random_batch(SPEC, 4, 2)
    if request.node.callspec.params["make"] in KNOW_SINES:
        assert_invariant(net, batch, flip)
    else:
        with pytest.raises(AssertionError, match="not invariant"):
            assert_invariant(net, batch, flip)


def test_transformer_distinguishes_neurons() -> None:
    """Permuting the columns of a single layer, or the outputs, changes the function."""
    net = randomise(NETS["transformer"](spec=SPEC, in_channels=2, out_features=7)).double().eval()
    batch = random_batch(SPEC, 4, 2)
    for level in (0, 2):
        weights, biases = list(batch.weights), list(batch.biases)
        weights[level], biases[level] = weights[level].flip(2), biases[level].flip(1)
        other = WeightBatch(tuple(weights), tuple(biases))
        assert (net(other) - net(batch)).abs().max() > 1e-3


@pytest.mark.untyped
@needs_compiler
@pytest.mark.parametrize("make_net", [DWSNet, SignDWSNet])
def test_compiled_bfloat16_gradients_equal_eager_float32(
    make_net: Callable[..., nn.Module],
) -> None:
    net = make_net(SPEC, out_features=7, hidden_channels=4, num_layers=2)
    compiled = torch.compile(net, dynamic=False, fullgraph=True)
    assert_same_gradients(net, compiled, random_batch(SPEC, 16, dtype=torch.float32))


@pytest.mark.untyped
@pytest.mark.parametrize("name", ["nfn", "nfn_hnp", *GRAPH_NETS, "scalegmn_probes"])
def test_traced_bfloat16_gradients_equal_eager_float32(name: str) -> None:
    """Traced only, because generating code for these metanets takes long."""
    net = NETS[name](spec=SPEC, in_channels=2, out_features=7, dropout=0.0)
    traced = torch.compile(net, backend="aot_eager", dynamic=False, fullgraph=True)
    assert_same_gradients(net, traced, random_batch(SPEC, 16, 2, dtype=torch.float32))


def assert_same_gradients(net: nn.Module, compiled: nn.Module, batch: WeightBatch) -> None:
    gradients = []
    for function, bfloat16 in ((net, False), (compiled, True)):
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            outputs = function(batch)
        outputs.float().square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.untyped
@pytest.mark.parametrize("make_net", [DWSNet, SignDWSNet])
def test_exported_metanet_accepts_any_batch_size(
    make_net: Callable[..., nn.Module], tmp_path: Path
) -> None:
    net = make_net(SPEC, out_features=7, hidden_channels=4, num_layers=2).eval()
    batch, larger = (random_batch(SPEC, size, dtype=torch.float32) for size in (4, 7))
    any_size = ({0: torch.export.Dim.DYNAMIC},) * SPEC.num_layers
    program = torch.export.export(net, (batch,), dynamic_shapes=([any_size, any_size],))
    torch.export.save(program, tmp_path / "net.pt2")
    loaded = torch.export.load(tmp_path / "net.pt2").module()
    torch.testing.assert_close(loaded(larger), net(larger))


@pytest.mark.parametrize(
    ("dims", "channels"), [((2, 5, 5, 3), 2), ((2, 6, 5, 3), 1), ((2, 6, 5, 5, 3), 2)]
)
def test_networks_of_other_architectures_are_rejected(
    make: Callable[..., nn.Module], dims: tuple[int, ...], channels: int
) -> None:
    batch = random_batch(WeightSpaceSpec(dims), 4, channels, dtype=torch.float32)
    with pytest.raises(
        ValueError, match=r"expected networks of widths \(2, 6, 5, 3\) with 2 chann"
    ):
        make().eval()(batch)


@pytest.mark.parametrize("name", ["in_channels", "out_features"])
def test_invalid_sizes_are_rejected(make: Callable[..., nn.Module], name: str) -> None:
    with pytest.raises(ValueError, match=f"^expected {name} >= 1, got 0$"):
        make(**{name: 0})


def test_edge_channels_must_divide_hidden_channels() -> None:
    with pytest.raises(ValueError, match=r"edge_channels to divide hidden_channels=6, got 4"):
        SignDWSNet(SPEC, out_features=7, hidden_channels=6)


@pytest.mark.untyped
def test_unknown_transformer_encoding_lists_the_choices() -> None:
    with pytest.raises(ValueError, match=r"expected encoding in \('neuron', 'layer'\), got 'row'"):
        Transformer(SPEC, out_features=1, encoding="row")


@pytest.mark.untyped
@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"reduction": "median"}, r"reduction in \('mean', 'sum', 'max'\), got 'median'"),
        ({"norm": "group"}, r"norm in \('batch', 'layer', 'none'\) .* got 'group' and 'deepsets'"),
        ({"set_layer": "gru"}, r"set_layer in \('deepsets', 'attention'\), got 'batch' and 'gru'"),
        (
            {"set_layer": "attention", "hidden_channels": 6},
            r"num_heads that divides the 6 channels, got 4",
        ),
        ({"num_layers": 0}, r"num_layers >= 1, got 0"),
        ({"dropout": 1.0}, r"0 <= dropout < 1, got 1\.0"),
    ],
)
def test_unknown_dwsnet_choice_lists_the_choices(bad: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=f"expected .*{complaint}"):
        DWSNet(SPEC, out_features=1, **bad)
