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
def test_networks_of_other_dtypes_are_converted(dtype: torch.dtype, net: type) -> None:
    spec = WeightSpaceSpec((2, 5, 5, 1))
    model = WeightSpaceModel(spec, net(spec, out_features=3), torch.nn.Identity()).eval()
    model.fit(random_batch(spec, 20, dtype=torch.float32))
    batch = random_batch(spec, 4).to(dtype)
    assert torch.equal(model(batch), model(batch.to(torch.float32)))
    assert torch.equal(model.embed(batch), model.embed(batch.to(torch.float32)))
    assert model(batch[:0]).shape == (0, 3)


def test_unknown_input_form_of_a_metanet_is_rejected() -> None:
    net = SignDWSNet(WeightSpaceSpec((2, 3, 1)), out_features=1)
    net.reads = "signs"
    with pytest.raises(ValueError, match=r"reads in \('standardized', 'scaled', 'unsc"):
        WeightSpaceModel(net.spec, net, torch.nn.Identity())


def test_model_with_scaled_weights_is_invariant_to_sign_flips() -> None:
    """The weights have a nonzero mean, so a shift would break the symmetry."""
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
def test_model_with_wrapped_phases_is_invariant_to_phase_shifts(omega_0: float | None) -> None:
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


def test_checkpoint_with_scale_in_the_model_is_loaded() -> None:
    """Version 0.2 stored the deviations of wrapped weights in the model."""
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


def test_output_layer_computes_in_float32() -> None:
    spec = WeightSpaceSpec((2, 5, 1))
    networks = random_batch(spec, 6, dtype=torch.float32)
    task, targets = Regression(), 1000 + torch.arange(6.0)  # bf16 represents only multiples of 4
    net = MLP(spec, out_features=1, hidden_features=(8,))
    model = WeightSpaceModel(spec, net, task.output_layer(targets))
    model.fit(networks)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(networks)
    torch.testing.assert_close(outputs, model(networks), rtol=0, atol=0.1)


@pytest.mark.parametrize("omega_0", [7.0, None])
def test_standard_deviations_are_those_of_the_weights(omega_0: float | None) -> None:
    """Also if the metanet scales its input; weight noise has these units."""
    spec = WeightSpaceSpec((2, 5, 5, 1))
    batch = random_batch(spec, 50, dtype=torch.float32).map(lambda x: 0.03 * x)
    net = SignDWSNet(spec, out_features=3, omega_0=omega_0)
    model = WeightSpaceModel(spec, net, torch.nn.Identity())
    model.fit(batch)
    assert torch.all((model.standardize.std > 0.02) & (model.standardize.std < 0.04))
    assert omega_0 is None or torch.equal(net.scale.std, model.standardize.std)
