from __future__ import annotations

import pytest
import torch
from tests.conftest import random_batch, randomise

from dws.metanets import MLP, DWSNet, ProbeNet, SignDWSNet
from dws.tasks import Classification, Reader, Regression
from dws.weightspace import PhaseShift, SignFlip, WeightSpaceSpec, assert_invariant


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("net", [MLP, SignDWSNet, ProbeNet])
def test_networks_of_another_dtype_are_read(dtype: torch.dtype, net: type) -> None:
    spec = WeightSpaceSpec((2, 5, 5, 1))
    reader = Reader(spec, net(spec, out_features=3), torch.nn.Identity()).eval()
    reader.fit(random_batch(spec, 20, dtype=torch.float32))
    batch = random_batch(spec, 4).to(dtype)
    assert torch.equal(reader(batch), reader(batch.to(torch.float32)))
    assert torch.equal(reader.embed(batch), reader.embed(batch.to(torch.float32)))
    assert reader(batch[:0]).shape == (0, 3)


def test_accuracy_counts_the_largest_logit() -> None:
    outputs = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 9.0]])
    metrics = Classification(num_classes=2).metrics(outputs, torch.tensor([0, 1, 1, 1]))
    assert metrics["accuracy"] == 0.75
    outputs[0] = torch.nan  # which argmax takes for the largest
    assert Classification(num_classes=2).scores(outputs, torch.tensor([0, 1, 1, 1])).sum() == 2


@pytest.mark.parametrize("classes", [[0, 10], [-1, 3]])
def test_classes_out_of_range_are_refused(classes: list[int]) -> None:
    with pytest.raises(
        ValueError, match=r"expected label from 0 to 9, got .* set task.num_classes"
    ):
        Classification().targets({"label": torch.tensor(classes)})


def test_fractions_are_no_classes() -> None:
    with pytest.raises(ValueError, match=r"expected whole numbers for the label label, got torch"):
        Classification().targets({"label": torch.tensor([0.5, 1.0])})


def test_a_missing_label_lists_those_there() -> None:
    with pytest.raises(
        ValueError, match="expected a zoo with the label 'label', got one with freq"
    ):
        Classification().targets({"frequency": torch.zeros(1)})


def test_regression_reports_in_the_units_of_the_label() -> None:
    targets = torch.tensor([1.0, 3.0, 5.0, 7.0])
    metrics = Regression().metrics(targets.unsqueeze(1) + 2, targets)
    assert metrics["mse"] == pytest.approx(4)
    assert metrics["r2"] == pytest.approx(1 - 4 / 5)


def test_regression_starts_at_the_mean_and_spread_of_the_targets() -> None:
    layer = Regression().output_layer(torch.tensor([2.0, 4.0, 6.0]))
    torch.testing.assert_close(layer(torch.tensor([0.0, 1.0])), torch.tensor([4.0, 6.0]))


def test_targets_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(ValueError, match="expected values of frequency that differ, got 1"):
        Regression().output_layer(torch.ones(5))


def test_targets_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite values of frequency"):
        Regression().targets({"frequency": torch.tensor([1.0, float("nan")])})


def test_a_metanet_that_reads_something_else_is_refused() -> None:
    net = SignDWSNet(WeightSpaceSpec((2, 3, 1)), out_features=1)
    net.reads = "signs"
    with pytest.raises(ValueError, match=r"expected .* reads \('standardized', 'scaled', 'wra"):
        Reader(net.spec, net, torch.nn.Identity())


def test_a_reader_of_raw_weights_keeps_the_symmetry_of_its_metanet() -> None:
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
        reader = Reader(spec, randomise(net), torch.nn.Identity()).double().eval()
        reader.fit(weights)
        if knows:
            assert_invariant(reader, weights, flip)
        else:
            with pytest.raises(AssertionError, match="not invariant"):
                assert_invariant(reader, weights, flip)


@pytest.mark.parametrize("omega_0", [30.0, None])
def test_a_reader_of_wrapped_phases_does_not_see_them_shifted(omega_0: float | None) -> None:
    spec = WeightSpaceSpec((2, 5, 4, 1))
    weights = random_batch(spec, 20)
    net = SignDWSNet(spec, out_features=3, omega_0=omega_0)
    reader = Reader(spec, randomise(net), torch.nn.Identity()).double().eval()
    reader.fit(weights)
    shift = PhaseShift.random(spec, torch.Generator().manual_seed(0))
    if omega_0:
        assert_invariant(reader, weights, shift)
    else:
        with pytest.raises(AssertionError, match="not invariant"):
            assert_invariant(reader, weights, shift)


def test_units_are_beyond_the_digits_of_bf16() -> None:
    spec = WeightSpaceSpec((2, 5, 1))
    networks = random_batch(spec, 6, dtype=torch.float32)
    task, targets = Regression(), 1000 + torch.arange(6.0)  # of which bf16 knows multiples of 4
    net = MLP(spec, out_features=1, hidden_features=(8,))
    reader = Reader(spec, net, task.output_layer(targets))
    reader.fit(networks)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = reader(networks)
    torch.testing.assert_close(outputs, reader(networks), rtol=0, atol=0.1)
