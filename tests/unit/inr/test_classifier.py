from __future__ import annotations

import pytest
import torch
from tests.conftest import needs_compiler
from tests.recorded import recording_on_cpus

from dws.inr import Classifier, FitConfig, classifier_apply, fit_networks, init_classifier
from dws.inr import fit as fit_module
from dws.inr.family import loss_and_gradient
from dws.weightspace import WeightBatch, WeightSpaceSpec

SPEC = WeightSpaceSpec((5, 8, 6, 1))


def examples(num_networks: int = 3, num_points: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Points for each network, labelled by the side of a separate random plane."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(num_networks, num_points, 5, generator=generator)
    planes = torch.randn(num_networks, 5, 1, generator=generator)
    return inputs, (inputs @ planes > 0).float()


def test_logits_equal_torch_nn() -> None:
    batch, inputs = init_classifier(SPEC, [4, 9]), torch.randn(2, 7, 5)
    logits = classifier_apply(batch, inputs)
    for index in range(2):
        layers: list[torch.nn.Module] = []
        for d_in, d_out in SPEC.weight_shapes:
            layers += [torch.nn.Linear(d_in, d_out), torch.nn.ReLU()]
        net = torch.nn.Sequential(*layers[:-1])
        state = [t[index, ..., 0] for t in batch.tensors()]
        with torch.no_grad():
            for parameter, value in zip(net.parameters(), state, strict=True):
                parameter.copy_(value.mT if value.ndim == 2 else value)
            torch.testing.assert_close(logits[index], net(inputs[index]))


def test_shared_inputs_equal_repeated_inputs() -> None:
    batch, inputs = init_classifier(SPEC, range(3)), torch.randn(7, 5)
    expected = classifier_apply(batch, inputs.expand(3, -1, -1))
    torch.testing.assert_close(classifier_apply(batch, inputs), expected)


def test_classifier_initialisation_is_seeded_and_has_the_bounds_of_torch_nn() -> None:
    one, both = init_classifier(SPEC, [7]), init_classifier(SPEC, [3, 7])
    assert torch.equal(one.flatten()[0], both.flatten()[1])
    assert float(both.weights[1].abs().max()) == pytest.approx(8**-0.5, rel=0.05)
    assert float(both.biases[1].abs().max()) <= 8**-0.5


@pytest.mark.parametrize("is_shared", [False, True])
def test_gradient_equals_autograd(is_shared: bool) -> None:
    params = torch.randn(3, SPEC.num_params, dtype=torch.float64, requires_grad=True)
    inputs, targets = (t.double() for t in examples())
    inputs = inputs[0] if is_shared else inputs
    batch = WeightBatch.from_flat(SPEC, params.unsqueeze(-1))
    expected = Classifier().final_loss(batch, inputs, targets)
    loss, gradient = loss_and_gradient(
        params.detach(), inputs.mT, targets.mT, spec=SPEC, family=Classifier()
    )
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), params)[0])


CONFIG = FitConfig(num_steps=120, learning_rate=1e-2, stop_mse=0.0)


def test_classifiers_in_a_batch_are_fitted_independently() -> None:
    inputs, targets = examples()
    initial = init_classifier(SPEC, range(3))
    together = fit_networks(Classifier(), initial, inputs, targets, config=CONFIG)
    is_right = (classifier_apply(together.weights, inputs) > 0) == (targets > 0.5)
    assert bool((is_right.float().mean(dim=(1, 2)) > 0.95).all())
    alone = fit_networks(Classifier(), initial[1:2], inputs[1:2], targets[1:2], config=CONFIG)
    torch.testing.assert_close(
        alone.weights.flatten()[0], together.weights.flatten()[1], rtol=0, atol=1e-5
    )
    torch.testing.assert_close(alone.loss[0], together.loss[1], rtol=1e-4, atol=1e-6)


def test_inputs_of_stopped_networks_are_removed_from_the_batch() -> None:
    """Zoos of classifiers reject early stopping, but the fit supports it."""
    inputs, targets = examples()
    stopping = FitConfig(num_steps=200, learning_rate=1e-2, stop_mse=0.1)
    initial = init_classifier(SPEC, range(3))
    result = fit_networks(Classifier(), initial, inputs, targets, config=stopping)
    assert result.num_steps.unique().numel() > 1
    for index, loss in enumerate(result.loss.tolist()):
        rows = slice(index, index + 1)
        alone = fit_networks(
            Classifier(), initial[rows], inputs[rows], targets[rows], config=stopping
        )
        assert loss == pytest.approx(float(alone.loss), rel=1e-4)


@needs_compiler
def test_compiled_and_eager_agree() -> None:
    inputs, targets = examples()
    initial = init_classifier(SPEC, range(3))
    for size in (3, 1):
        eager, compiled = (
            fit_networks(
                Classifier(), initial[:size], inputs[:size], targets[:size],
                config=CONFIG, compiled=compiled,
            )
            for compiled in (False, True)
        )  # fmt: skip
        torch.testing.assert_close(
            eager.weights.flatten(), compiled.weights.flatten(), rtol=0, atol=1e-4
        )


def test_recorded_fit_equals_the_plain_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets = examples()
    initial = init_classifier(SPEC, range(3))
    plain = fit_networks(Classifier(), initial, inputs, targets, config=CONFIG)
    monkeypatch.setattr(fit_module, "has_graphs", lambda device: True)
    with recording_on_cpus():
        recorded = fit_networks(Classifier(), initial, inputs, targets, config=CONFIG)
    torch.testing.assert_close(
        recorded.weights.flatten(), plain.weights.flatten(), rtol=0, atol=1e-4
    )


def test_inputs_for_a_wrong_number_of_networks_are_rejected() -> None:
    inputs, targets = examples()
    with pytest.raises(ValueError, match=r"targets \(3, P, 1\) .* got \(2, 40, 5\)"):
        fit_networks(
            Classifier(), init_classifier(SPEC, range(3)), inputs[:2], targets, config=CONFIG
        )
