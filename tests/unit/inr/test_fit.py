from __future__ import annotations

import math

import pytest
import torch
from tests.conftest import needs_compiler
from torch._dynamo.utils import counters

from dws.inr import FitConfig, Siren, fit_inrs, init_siren, siren_apply
from dws.inr.family import loss_and_gradient, sine_and_cosine
from dws.inr.fit import _cpu_gradient_function
from dws.weightspace import WeightBatch, WeightSpaceSpec


def waves(frequencies: list[float], num_points: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.linspace(-1, 1, num_points).unsqueeze(1)
    return x, torch.stack([torch.sin(f * x) for f in frequencies])


def fit(frequencies: list[float], **config: float) -> torch.Tensor:
    spec = WeightSpaceSpec((1, 16, 16, 1))
    x, y = waves(frequencies)
    initial = init_siren(spec, range(len(frequencies)))
    return fit_inrs(initial, x, y, config=FitConfig(**config))


@pytest.mark.parametrize("dims", [(2, 6, 5, 1), (1, 4, 3), (3, 4, 5, 6, 2)])
def test_gradient_equals_autograd(dims: tuple[int, ...]) -> None:
    spec = WeightSpaceSpec(dims)
    params = torch.randn(3, spec.num_params, dtype=torch.float64, requires_grad=True)
    points = torch.randn(9, dims[0], dtype=torch.float64)
    targets = torch.randn(3, 9, dims[-1], dtype=torch.float64)
    outputs = siren_apply(
        WeightBatch.from_flat(spec, params.unsqueeze(-1)), points, omega_0=2.0, output_offset=0.1
    )
    expected = (outputs - targets).square().mean(dim=(1, 2))
    mse, gradient = loss_and_gradient(
        params.detach(), points.T, targets.mT, spec=spec, family=Siren(2.0, 0.1)
    )
    torch.testing.assert_close(mse, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), params)[0])


@pytest.mark.parametrize(
    ("betas", "schedule"), [((0.9, 0.999), "constant"), ((0.8, 0.97), "cosine")]
)
def test_200_steps_equal_torch_nn_and_adam(betas: tuple[float, float], schedule: str) -> None:
    x, y = waves([1.0, 4.0])
    spec = WeightSpaceSpec((1, 16, 16, 1))
    initial = init_siren(spec, range(2))
    common = {"betas": betas, "weight_decay": 1e-4}
    config = FitConfig(num_steps=200, learning_rate=1e-3, stop_mse=0.0, schedule=schedule, **common)
    fitted = fit_inrs(initial, x, y, config=config).weights
    for index in range(2):
        params = [t[index].clone().requires_grad_() for t in initial.tensors()]
        optimizer = torch.optim.Adam(params, lr=1e-3, **common)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
        for _ in range(200):
            h = x
            for weight, bias in zip(params[:-2:2], params[1:-2:2], strict=True):
                h = torch.sin(30.0 * (h @ weight[..., 0] + bias[..., 0]))
            loss = (h @ params[-2][..., 0] + params[-1][..., 0] + 0.5 - y[index]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if schedule == "cosine":
                rate.step()
        alone = torch.cat([p.detach().flatten() for p in params])
        torch.testing.assert_close(fitted.flatten()[index, :, 0], alone, rtol=0, atol=1e-4)


def test_inr_in_a_batch_equals_inr_fitted_alone() -> None:
    together = fit([1.0, 8.0, 3.0], num_steps=300, learning_rate=1e-3, stop_mse=1e-3)
    assert together.num_steps.unique().numel() > 1  # they stop at different steps
    x, y = waves([8.0])
    spec = WeightSpaceSpec((1, 16, 16, 1))
    config = FitConfig(num_steps=300, learning_rate=1e-3, stop_mse=1e-3)
    alone = fit_inrs(init_siren(spec, [1]), x, y, config=config)
    assert alone.num_steps[0] == together.num_steps[1]
    torch.testing.assert_close(
        alone.weights.flatten()[0], together.weights.flatten()[1], rtol=0, atol=1e-5
    )


def test_fit_stops_at_the_criterion() -> None:
    result = fit([1.0, 2.0], num_steps=2000, learning_rate=1e-3, stop_mse=1e-3)
    assert (result.num_steps < 2000).all()
    assert (result.loss <= 1e-3).all()


def test_final_loss_belongs_to_the_final_weights() -> None:
    result = fit([1.0, 9.0], num_steps=57, learning_rate=1e-3)
    x, y = waves([1.0, 9.0])
    torch.testing.assert_close(
        result.loss, (siren_apply(result.weights, x) - y).square().mean(dim=(1, 2))
    )


@needs_compiler
@pytest.mark.parametrize(
    ("dtype", "largest_error"), [(torch.float32, 3e-7), (torch.float64, 1e-14)]
)
def test_compiled_sine_and_cosine_are_accurate(dtype: torch.dtype, largest_error: float) -> None:
    whole = torch.arange(-3000, 3000) * math.pi / 2  # boundaries where k and the sign change
    z = torch.cat([whole, whole.nextafter(whole + 1), torch.linspace(-1e4, 1e4, 300_001)]).to(dtype)
    for got, expected in zip(
        torch.compile(sine_and_cosine)(z), (z.double().sin(), z.double().cos()), strict=True
    ):
        torch.testing.assert_close(got.double(), expected, rtol=0, atol=largest_error)
    assert all(t.isnan().all() for t in torch.compile(sine_and_cosine)(z[:9] * math.nan))


@needs_compiler
def test_compiled_and_eager_agree() -> None:
    x, y = waves([1.0, 4.0, 2.0])
    initial = init_siren(WeightSpaceSpec((1, 16, 16, 1)), range(3))
    config = FitConfig(num_steps=100, learning_rate=1e-3, stop_mse=0.0)
    eager, compiled = (
        fit_inrs(initial, x, y, config=config, compiled=compiled) for compiled in (False, True)
    )
    torch.testing.assert_close(
        eager.weights.flatten(), compiled.weights.flatten(), rtol=0, atol=1e-5
    )


@needs_compiler
def test_step_is_compiled_once_for_any_number_of_networks() -> None:
    """Otherwise results would depend on the previous fits of a process."""
    x, y = waves([1.0, 4.0, 2.0])
    initial = init_siren(WeightSpaceSpec((1, 6, 6, 1)), range(3))
    config = FitConfig(num_steps=20, learning_rate=1e-3, stop_mse=0.0)
    torch._dynamo.reset()
    _cpu_gradient_function.cache_clear()
    counters["stats"].clear()
    for size in (2, 3, 1):
        result = fit_inrs(initial[:size], x, y[:size], config=config, compiled=True)
        eager = fit_inrs(initial[:size], x, y[:size], config=config)
        torch.testing.assert_close(result.loss, eager.loss, rtol=1e-4, atol=1e-6)
    assert counters["stats"]["unique_graphs"] == 1


def test_diverging_fit_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"NaN or infinite by step \d+ with fit\.learning_rate="):
        fit([float("nan")], num_steps=10)


def test_targets_of_wrong_shape_are_rejected() -> None:
    x, y = waves([1.0])
    with pytest.raises(ValueError, match=r"\(P, 1\) or .*targets \(2, P, 1\)"):
        fit_inrs(init_siren(WeightSpaceSpec((1, 4, 1)), [0, 1]), x, y, config=FitConfig())
