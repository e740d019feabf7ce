"""Properties of graph metanets that their papers state, beyond the common checklist."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from tests.conftest import random_batch, randomise
from torch import Tensor, nn

from dws.inr import init_siren, siren_apply
from dws.metanets import GMN, NGGNN, NGT, ScaleGMN, ng_t
from dws.metanets.gmn import Layer as GMNLayer
from dws.metanets.layers.neural_graph import levels_needed, neuron_values
from dws.metanets.layers.scale_equivariant import ScaleEq
from dws.metanets.ng_gnn import Messages, moments
from dws.metanets.ng_t import Attention, adjacency
from dws.metanets.scalegmn import Layer as ScaleGMNLayer
from dws.metanets.scalegmn import Message
from dws.training import WeightSpaceModel
from dws.weightspace import (
    SignedPermutation,
    Standardize,
    WeightSpaceSpec,
    assert_invariant,
)

MNIST = WeightSpaceSpec((2, 32, 32, 1))
SPEC = WeightSpaceSpec((2, 4, 3, 2))
C = 4


def num_parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def nodes(spec: WeightSpaceSpec = SPEC) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(3, d, C, generator=generator, dtype=torch.float64) for d in spec.dims]


@torch.no_grad()
def fill(module: nn.Module, **values: Tensor | float) -> None:
    """Set all parameters to 0 except the named ones, by paths with __ for dots."""
    for parameter in module.parameters():
        parameter.zero_()
    for name, value in values.items():
        parameter = module.get_parameter(name.replace("__", "."))
        parameter.copy_(torch.as_tensor(value))


# --- sizes ----------------------------------------------------------------------------------------

SCALEGMN_UNREAD = {  # ρ and φ of hidden neurons in the last layer, which have no gradient
    "forward": (2 * 33_280) + (66_176 + 49_664),
    "bidirectional": 2 * (33_280 + 49_664) + (99_072 + 82_432),
}


@pytest.mark.parametrize(
    ("direction", "published"), [("forward", 1.77e6), ("bidirectional", 3.09e6)]
)
def test_scalegmn_has_the_published_size(direction: str, published: float) -> None:
    net = ScaleGMN(MNIST, out_features=10, direction=direction, hidden_channels=128)
    unread = SCALEGMN_UNREAD[direction]
    assert num_parameters(net) + unread == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(
    ("net", "published"),
    [
        (lambda: NGGNN(MNIST, out_features=10, hidden_channels=32), 0.092e6),
        (lambda: NGT(MNIST, out_features=10), 0.3766e6),
    ],
)
def test_neural_graph_metanets_have_the_published_size(
    net: Callable[[], nn.Module], published: float
) -> None:
    assert num_parameters(net()) == pytest.approx(published, rel=0.01)


# --- message passing can express a layer of the INR -----------------------------------------------


def test_scalegmn_can_express_a_layer_of_the_input_network() -> None:
    """The sum of messages (A w_jk) x_j to a hidden neuron is the matrix product of a layer."""
    equivariant = ScaleEq(C, C, extra=0, hidden_channels=C, ends_only=False)
    message = Message(C, equivariant).double()
    identity = torch.eye(C)
    fill(
        message, node__weight=identity, edge__weight=identity, map__linear__weight=identity,
        map__phi__last__bias=1.0,
    )  # fmt: skip
    x, w = nodes()[1], random_batch(SPEC, 3).weights[1]
    got = message(x[:, :, None], w.expand(-1, -1, -1, C), torch.zeros(C), False).sum(1)
    torch.testing.assert_close(got, torch.einsum("bjc,bjk->bkc", x, w[..., 0]))


@pytest.mark.parametrize("direction", [0, 1])
def test_scalegmn_b_can_express_forward_and_backward_passes(direction: int) -> None:
    layer = ScaleGMNLayer(C, both=True, last=False).double()
    identity = torch.eye(C)
    at = f"messages__{direction}__"
    into = torch.zeros(C, 3 * C)
    into[:, (1 + direction) * C : (2 + direction) * C] = identity
    fill(
        layer,
        **{f"{at}{name}__weight": identity for name in ("node", "edge", "map__linear")},
        **{f"{at}map__phi__last__bias": 1.0, "update__linear__weight": into},
        update__phi__last__bias=1.0,
    )
    levels, batch = nodes(), random_batch(SPEC, 3)
    edges = [w.expand(-1, -1, -1, C) for w in batch.weights]
    vectors = tuple(torch.zeros(d, C, dtype=torch.float64) for d in SPEC.dims)
    new, _ = layer(levels, edges, vectors, [1, 2], [1, 2])
    if direction == 0:
        expected = torch.einsum("bjc,bjk->bkc", levels[1], batch.weights[1][..., 0])
    else:
        expected = torch.einsum("bkc,bjk->bjc", levels[3], batch.weights[2][..., 0])
    torch.testing.assert_close(new[2], expected)


def test_ng_gnn_can_express_a_layer_of_the_input_network() -> None:
    messages = Messages(SPEC, C).double()
    identity, mean = torch.eye(C), torch.zeros(C, 9 * C)
    mean[:, C : 2 * C] = identity
    fill(
        messages,
        modulate__weight=torch.cat([identity, torch.zeros(C, C)]),
        sender__weight=identity,
        combine__weight=mean,
        last__weight=identity,
    )
    levels, batch = nodes(), random_batch(SPEC, 3)
    edges = [
        (w.expand(-1, -1, -1, C), torch.zeros(*w.shape[:3], C).double()) for w in batch.weights
    ]
    new = messages(levels, edges, [2, 3])
    assert list(new) == [2, 3]
    for k, degree in ((2, 4 + 2), (3, 3)):
        expected = torch.einsum("bjc,bjk->bkc", levels[k - 1], batch.weights[k - 1][..., 0])
        torch.testing.assert_close(degree * new[k], expected)


def test_ng_t_can_express_a_layer_of_the_input_network() -> None:
    """Uniform attention with values w_ij x_j is a step of a backward pass."""
    attention = Attention(C, 1, C, 1).double()
    identity = torch.eye(C)
    factor = torch.zeros(3 * C, 1)
    factor[2 * C :] = 1
    fill(attention, value__weight=identity, edge_maps__weight=factor, last__weight=identity)
    x, generator = torch.cat(nodes(), dim=1), torch.Generator().manual_seed(0)
    w = torch.randn(3, 11, 11, 1, generator=generator, dtype=torch.float64)
    got = attention(x, x, w)
    torch.testing.assert_close(11 * got, torch.einsum("bjc,bij->bic", x, w[..., 0]))


def test_gmn_can_express_the_means_of_nf_layers() -> None:
    """silu(x) - silu(-x) = x, so the MLPs can express the identity."""
    layer = GMNLayer(C, last=False).double()
    half = torch.eye(C // 2)
    pick = torch.cat([half, torch.zeros(C // 2, C // 2)], dim=1)
    both = torch.cat([pick, -pick])
    rows = torch.cat([torch.zeros(C, C), both, torch.zeros(C, C)])
    back = torch.cat([torch.cat([half, -half], dim=1), torch.zeros(C // 2, C)])
    read = torch.zeros(C, 4 * C)
    read[:, 2 * C : 3 * C] = torch.cat([pick, -pick])
    fill(
        layer, of_edge__weight=rows, message_last__0__weight=back, node_mlp__0__weight=read,
        node_mlp__2__weight=back, edge_norm__weight=1.0,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    edges = [
        torch.randn(3, d + 1, k, C, generator=generator, dtype=torch.float64)
        for d, k in SPEC.weight_shapes
    ]
    before = torch.zeros(3, sum(SPEC.dims) + SPEC.num_layers, C).double()
    after, _, _ = layer(before, edges, torch.zeros(3, C).double())
    got = after.split([*SPEC.dims, *[1] * SPEC.num_layers], dim=1)[2][..., : C // 2]
    expected = nn.functional.layer_norm(edges[1], (C,)).mean(1)[..., : C // 2]
    torch.testing.assert_close(got, expected)


def test_combined_maps_equal_those_of_the_paper() -> None:
    """Γ x ⊙ φ(ρ(x) + ρ(-x)) with separate maps."""
    f = randomise(ScaleEq(3, 5, extra=2, hidden_channels=4, ends_only=False)).double()
    generator = torch.Generator().manual_seed(0)
    x, vector = (torch.randn(7, n, generator=generator, dtype=torch.float64) for n in (3, 2))
    silu = nn.functional.silu

    def rho(x: Tensor) -> Tensor:
        return f.rho_last(silu(f.norm(f.rho(x))))

    def phi(x: Tensor) -> Tensor:
        return f.phi.last(silu(f.phi.norm(f.phi.first(x) + f.phi.extra(vector))))

    expected = f.linear(x) * phi(rho(x) + rho(-x))
    torch.testing.assert_close(f(x, vector, False), expected)
    torch.testing.assert_close(f(-x, vector, False), -expected)


# --- symmetries and omitted computations ----------------------------------------------------------


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("num_probes", [0, 3])
def test_scalegmn_is_invariant_to_signed_permutations(direction: str, num_probes: int) -> None:
    spec = WeightSpaceSpec((2, 5, 4, 6, 3))
    net = ScaleGMN(
        spec, out_features=3, direction=direction, hidden_channels=6, num_probes=num_probes,
        omega_0=1.0,
    )  # fmt: skip
    g = SignedPermutation.random(spec, torch.Generator().manual_seed(0), nontrivial=True)
    assert_invariant(randomise(net).double().eval(), random_batch(spec, 3), g)


@pytest.mark.parametrize("net_class", [NGGNN, ScaleGMN])
def test_omitted_nodes_do_not_change_the_result(net_class: type[nn.Module]) -> None:
    batch = random_batch(SPEC, 3)
    net = randomise(net_class(SPEC, out_features=3, hidden_channels=4)).double().eval()
    expected = net(batch)
    assert net.needed == levels_needed(4, 4, [3], backward=net_class is NGGNN)
    net.needed = [[0, 1, 2, 3]] * 3 + [[3]]
    torch.testing.assert_close(net(batch), expected)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_ng_t_equals_attention_of_all_neurons(num_layers: int) -> None:
    net = randomise(NGT(SPEC, out_features=3, num_layers=num_layers)).double().eval()
    batch = random_batch(SPEC, 3)
    nodes = net.encode_nodes(neuron_values(batch, of_inputs=0.0)) + net.embedding()
    edges = net.encode_edges(adjacency(batch))
    for i in range(num_layers):
        nodes = net.node_updates[i](nodes, net.attention[i](nodes, nodes, edges))
        if i < num_layers - 1:
            edges = net.edge_updates[i](slice(None), nodes, edges)
    expected = net.head(net.hidden(nodes[:, -SPEC.dims[-1] :].flatten(1)))
    torch.testing.assert_close(net(batch), expected)


@pytest.mark.parametrize("num_parts", [1, 3])
def test_recomputed_pairs_have_the_same_gradients(
    num_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = random_batch(SPEC, 5)
    monkeypatch.setattr(ng_t, "CHUNK_SIZE", -(-len(batch.weights[0]) // num_parts))
    dropout = 0.5 if num_parts == 1 else 0.0  # parts have other masks than the whole
    net = randomise(NGT(SPEC, out_features=3, num_layers=3, dropout=dropout)).double()
    gradients = []
    for net.recompute in (False, True):
        torch.manual_seed(0)
        gradients.append(torch.autograd.grad(net(batch).square().sum(), list(net.parameters())))
    torch.testing.assert_close(*gradients)


def test_adjacency_matrix_contains_all_weights() -> None:
    batch = random_batch(SPEC, 3)
    matrix, (first, second, third) = adjacency(batch), batch.weights
    assert torch.equal(matrix[:, :2, 2:6], first)
    assert torch.equal(matrix[:, 2:6, 6:9], second)
    assert torch.equal(matrix[:, 6:9, 9:], third)
    assert int((matrix != 0).sum()) == sum(w.numel() for w in batch.weights)


def test_needed_levels_are_those_whose_messages_arrive() -> None:
    assert levels_needed(2, 5, [0, 4], backward=True) == [[0, 1, 3, 4], [0, 4]]
    assert levels_needed(3, 3, [2], backward=False) == [[0, 1, 2], [1, 2], [2]]


# --- probes ---------------------------------------------------------------------------------------

PROBED: Sequence[Callable[..., nn.Module]] = (GMN, NGGNN, NGT, ScaleGMN)


@pytest.mark.parametrize("net_class", PROBED)
def test_metanets_with_probes_scale_their_input(
    net_class: Callable[..., nn.Module],
) -> None:
    """Predictions use scaled weights and the activations of unscaled weights."""
    spec = WeightSpaceSpec((2, 4, 4, 1))
    batch = init_siren(spec, range(6))
    net = net_class(spec, out_features=3, num_probes=5)
    model = WeightSpaceModel(spec, net, nn.Identity()).eval()
    assert model.reads == "raw"
    before = model(batch)
    model.fit(batch)
    signs = net_class is ScaleGMN
    expected = Standardize(spec).fit(batch, keep_signs=signs)
    torch.testing.assert_close(net.scale.std, expected.std)
    torch.testing.assert_close(model.standardize.mean, expected.mean)
    assert not torch.allclose(model(batch), before)


def test_probe_features_depend_on_the_activations_of_every_neuron() -> None:
    spec = WeightSpaceSpec((2, 4, 3, 1))
    batch = init_siren(spec, range(3))
    net = ScaleGMN(spec, out_features=3, hidden_channels=2, num_probes=5)
    for module in net.probe_maps:
        fill(module, weight=torch.tensor([[1.0, 0, 0, 0, 0], [0, 0, 0, 0, 1]]))
    _, probed = net.prepare(batch)
    assert probed is not None
    values = siren_apply(batch, net.points, output_offset=0.0)  # (B, P, 1)
    torch.testing.assert_close(probed[:, -1], values[:, [0, 4], 0])
    torch.testing.assert_close(probed[:, :2], net.points[[0, 4]].T.expand(3, -1, -1))


def test_fit_requires_probes() -> None:
    with pytest.raises(ValueError, match="Only a network with probes is fitted"):
        GMN(SPEC, out_features=1).fit(random_batch(SPEC, 3))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"num_probes": -1}, "num_probes >= 0, got -1"),
        ({"omega_0": 0.0}, "omega_0 > 0, got 0"),
        ({"dropout": 1.0}, "0 <= dropout < 1, got 1"),
        ({"hidden_channels": 0}, "hidden_channels >= 1, got 0"),
    ],
)
@pytest.mark.parametrize("net_class", [GMN, NGGNN, ScaleGMN])
def test_sizes_out_of_range_are_named(
    net_class: Callable[..., nn.Module], arguments: dict[str, float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        net_class(SPEC, out_features=1, **arguments)


@pytest.mark.untyped
def test_unknown_choices_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"direction in \('forward', 'bidirectional'\), got 'up'"):
        ScaleGMN(SPEC, out_features=1, direction="up")
    with pytest.raises(ValueError, match="num_heads that divides attention_channels=128, got 3"):
        NGT(SPEC, out_features=1, num_heads=3)


@pytest.mark.untyped
def test_ng_gnn_computes_deviations_in_float32_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    message = 5 + 0.05 * torch.randn(2, 40, 3, 4, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        total, squares, _, _ = moments(message.bfloat16(), 1)
    variance = squares / 40 - (total / 40).square()
    expected = message.bfloat16().double().var(1, correction=0)
    torch.testing.assert_close(variance.double(), expected, rtol=1e-2, atol=1e-5)
