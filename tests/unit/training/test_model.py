from __future__ import annotations

import pytest
import torch
from tests.conftest import random_batch, randomise

from dws.metanets import MLP, DWSNet, ProbeNet, SignDWSNet
from dws.tasks import Regression
from dws.training import WeightSpaceModel
from dws.weightspace import PhaseShift, SignFlip, WeightSpaceSpec, assert_invariant


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("net", [MLP, SignDWSNet, ProbeNet])
def test_networks_of_another_dtype_are_read(dtype: torch.dtype, net: type) -> None:
    spec = WeightSpaceSpec((2, 5, 5, 1))
    model = WeightSpaceModel(spec, net(spec, out_features=3), torch.nn.Identity()).eval()
    model.fit(random_batch(spec, 20, dtype=torch.float32))
    batch = random_batch(spec, 4).to(dtype)
    assert torch.equal(model(batch), model(batch.to(torch.float32)))
    assert torch.equal(model.embed(batch), model.embed(batch.to(torch.float32)))
    assert model(batch[:0]).shape == (0, 3)


def test_a_metanet_that_reads_something_else_is_refused() -> None:
    net = SignDWSNet(WeightSpaceSpec((2, 3, 1)), out_features=1)
    net.reads = "signs"
    with pytest.raises(ValueError, match=r"reads in \('standardized', 'scaled', 'wra"):
        WeightSpaceModel(net.spec, net, torch.nn.Identity())


def test_a_model_of_scaled_weights_keeps_the_symmetry_of_its_metanet() -> None:
    """Weights whose mean is not 0: shifting them would tell a network from its flipped copy."""
    spec = WeightSpaceSpec((2, 5, 4, 1))
    weights = random_batch(spec, 20).map(lambda t: 3 * t + 1)
    flip = SignFlip.random(spec, torch.Generator().manual_seed(0))
    nets = {
        SignDWSNet(spec, out_features=3): True,
        SignDWSNet(spec, out_features=3, omega_0=30.0): True,
        DWSNet(spec, out_features=3): False,
    }
    for net, knows in nets.items():
        model = WeightSpaceModel(spec, randomise(net), torch.nn.Identity()).double().eval()
        model.fit(weights)
        if knows:
            assert_invariant(model, weights, flip)
        else:
            with pytest.raises(AssertionError, match="not invariant"):
                assert_invariant(model, weights, flip)


@pytest.mark.parametrize("omega_0", [30.0, None])
def test_a_model_of_wrapped_phases_is_invariant_to_phase_shifts(omega_0: float | None) -> None:
    spec = WeightSpaceSpec((2, 5, 4, 1))
    weights = random_batch(spec, 20)
    net = SignDWSNet(spec, out_features=3, omega_0=omega_0)
    model = WeightSpaceModel(spec, randomise(net), torch.nn.Identity()).double().eval()
    model.fit(weights)
    shift = PhaseShift.random(spec, torch.Generator().manual_seed(0))
    if omega_0:
        assert_invariant(model, weights, shift)
        assert_invariant(net, weights, shift)
    else:
        with pytest.raises(AssertionError, match="not invariant"):
            assert_invariant(model, weights, shift)


def test_a_checkpoint_whose_model_wrapped_phases_is_loaded() -> None:
    """As version 0.2 wrote it: the deviations of wrapped weights were the model's."""
    spec = WeightSpaceSpec((2, 5, 4, 1))
    weights = random_batch(spec, 20, dtype=torch.float32)
    trained, loaded = (
        WeightSpaceModel(spec, SignDWSNet(spec, out_features=3, omega_0=30.0), torch.nn.Identity())
        for _ in range(2)
    )
    trained.fit(weights)
    state = trained.state_dict()
    for name in ("mean", "std"):
        state[f"standardize.{name}"] = state.pop(f"net.scale.{name}")
    loaded.load_state_dict(state)
    assert torch.equal(loaded(weights), trained(weights))


def test_units_are_beyond_the_digits_of_bf16() -> None:
    spec = WeightSpaceSpec((2, 5, 1))
    networks = random_batch(spec, 6, dtype=torch.float32)
    task, targets = Regression(), 1000 + torch.arange(6.0)  # of which bf16 knows multiples of 4
    net = MLP(spec, out_features=1, hidden_features=(8,))
    model = WeightSpaceModel(spec, net, task.output_layer(targets))
    model.fit(networks)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(networks)
    torch.testing.assert_close(outputs, model(networks), rtol=0, atol=0.1)


@pytest.mark.parametrize("omega_0", [7.0, None])
def test_weight_noise_has_the_scale_of_the_weights(omega_0: float | None) -> None:
    """Also where the metanet scales by itself; the training loop adds noise in these units."""
    spec = WeightSpaceSpec((2, 5, 5, 1))
    batch = random_batch(spec, 50, dtype=torch.float32).map(lambda x: 0.03 * x)
    net = SignDWSNet(spec, out_features=3, omega_0=omega_0)
    model = WeightSpaceModel(spec, net, torch.nn.Identity())
    model.fit(batch)
    assert torch.all((model.standardize.std > 0.02) & (model.standardize.std < 0.04))
    assert omega_0 is None or torch.equal(net.scale.std, model.standardize.std)
