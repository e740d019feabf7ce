"""Fit many SIRENs at once, with the forward and backward pass written out.

All networks of a batch share their coordinates, so each step is a few batched matrix products and
sines over (B, width, points). The gradient is written by hand because autograd would keep and
revisit more than is needed; ``torch.compile`` fuses the elementwise work when a C++ compiler is
there. Networks never see each other: each ends where it would have ended alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dws.errors import UserError
from dws.inr.siren import siren_apply
from dws.runtime import should_compile
from dws.settings import FitConfig
from dws.weightspace import WeightBatch, WeightSpaceSpec

CPU_CHUNK_SIZE = 32  # INRs whose activations stay in the cache of a core
CHECK_EVERY = 10  # steps between two looks at the stopping criterion

# Gets the work since the last call, in INRs (together as many as are fitted), and the mean squared
# errors of the INRs that have finished since, (n,).
OnProgress = Callable[[float, Tensor], None]


@dataclass(frozen=True, eq=False)
class FitResult:
    """Fitted networks and how they fit.

    Attributes:
        weights: B networks.
        mse: Mean squared error over points and outputs of the final weights, (B,).
        num_steps: Steps taken, (B,).
    """

    weights: WeightBatch
    mse: Float[Tensor, " b"]
    num_steps: Int[Tensor, " b"]


def use_compiler(config: FitConfig, num_inrs: int) -> bool:
    """Whether ``config`` asks for the compiled step, in a fit of ``num_inrs`` in all.

    Raises:
        ValueError: If ``compile="always"`` and there is no C++ compiler.
    """
    # the compiled step saves some 0.04 ms a step and INR, and compiling takes some 10 s
    pays = num_inrs * config.num_steps >= 200_000
    return should_compile(config.compile, pays=pays, option="fit.compile")


def fit_inrs(
    initial: WeightBatch,
    coordinates: Float[Tensor, "p d_0"],
    targets: Float[Tensor, "b p d_m"],
    *,
    config: FitConfig,
    omega_0: float = 30.0,
    output_offset: float = 0.5,
    compiled: bool = False,
    on_progress: OnProgress = lambda work, mse: None,
) -> FitResult:
    """Fit one SIREN to each signal, all in one batch.

    Args:
        initial: B networks to start from, with one channel.
        coordinates: The P points that all signals share, (P, d_0).
        targets: Values of each signal at the points, (B, P, d_M).
        config: Steps, learning rate and stopping. Its ``chunk_size`` and ``compile`` are for
            callers that cut a zoo into batches, its ``device`` for callers that make the tensors.
        omega_0: ω0 of the sine layers.
        output_offset: Added to the output.
        compiled: Whether to run the compiled step, see ``use_compiler``.
        on_progress: Called every ``CHECK_EVERY`` steps, see ``OnProgress``.

    Returns:
        The networks in the order given.

    Raises:
        ValueError: If the shapes do not fit, or a fit became NaN or infinite.
    """
    spec, size = initial.spec, initial.batch_size
    num_points, d_0 = coordinates.shape
    if targets.shape != (size, num_points, spec.dims[-1]) or d_0 != spec.dims[0]:
        raise UserError(
            f"expected coordinates (P, {spec.dims[0]}) and targets ({size}, P, {spec.dims[-1]}), "
            f"got {tuple(coordinates.shape)} and {tuple(targets.shape)}"
        )
    # contiguous() leaves axes of size 1 their strides, for each of which torch.compile makes code
    points = coordinates.T.clone(memory_format=torch.contiguous_format)
    values = targets.transpose(1, 2).clone(memory_format=torch.contiguous_format)
    if compiled and values.device.type == "cpu":
        gradient = _code_for_cpus(spec, omega_0, output_offset, num_points, values.dtype)
    else:
        gradient = _gradient_function(spec, omega_0, output_offset, compiled)

    active = torch.arange(size, device=values.device)  # networks that are not done
    params = initial.flatten().squeeze(-1).clone()  # theirs, (active, num_params)
    fitted = torch.empty_like(params)
    num_steps = torch.full_like(active, config.num_steps)
    optimizer = torch.optim.Adam(
        [params], lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    since = 0  # step of the last report
    for step in range(config.num_steps):
        mse, params.grad = gradient(params, points, values)
        if step % CHECK_EVERY == 0:
            _check_finite(mse, step, config)
            done = mse <= config.stop_mse
            num_done = int(done.sum())
            work = len(active) * (step - since) + num_done * (config.num_steps - step)
            on_progress(work / config.num_steps, mse[done] if num_done else mse[:0])
            since = step
            if num_done:
                fitted[active[done]] = params[done]
                num_steps[active[done]] = step
                active, values = active[~done], values[~done]
                _keep(optimizer, params, ~done)
                if not len(active):
                    break
        optimizer.step()
    fitted[active] = params
    weights = WeightBatch.from_flat(spec, fitted.unsqueeze(-1))
    outputs = siren_apply(weights, coordinates, omega_0=omega_0, output_offset=output_offset)
    final_mse = (outputs - targets).square().mean(dim=(1, 2))
    _check_finite(final_mse, config.num_steps, config)
    on_progress(len(active) * (config.num_steps - since) / config.num_steps, final_mse[active])
    return FitResult(weights, final_mse, num_steps)


def loss_and_gradient(
    params: Float[Tensor, "b num_params"],
    points: Float[Tensor, "d_0 p"],
    values: Float[Tensor, "b d_m p"],
    *,
    spec: WeightSpaceSpec,
    omega_0: float,
    output_offset: float,
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b num_params"]]:
    """Mean squared error of each network and its gradient, by hand-written backpropagation.

    Points come last, so that sines run over contiguous memory. With z_m = ω0 (W_mᵀ x_{m-1} + b_m)
    and x_m = sin z_m, the error δ_m = dL/d(z_m / ω0) goes back as
    δ_m = ω0 cos z_m ⊙ (W_{m+1} δ_{m+1}).
    """
    weights, biases = [], []
    sizes = [n for d_in, d_out in spec.weight_shapes for n in (d_in * d_out, d_out)]
    blocks = iter(params.split(sizes, dim=1))
    for shape in spec.weight_shapes:
        weights.append(next(blocks).unflatten(1, shape))  # (B, d_in, d_out)
        biases.append(next(blocks).unsqueeze(-1))  # (B, d_out, 1)

    inputs, cosines = [points], []
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        z = _product((omega_0 * weight).mT, inputs[-1]) + omega_0 * bias  # (B, d_out, P)
        sine, cosine = _sine_and_cosine(z)
        inputs.append(sine)
        cosines.append(cosine)
    residual = _product(weights[-1].mT, inputs[-1]) + (biases[-1] + output_offset) - values
    mse = residual.square().mean(dim=(1, 2))

    delta = residual * (2 / residual[0].numel())
    gradient = []
    for layer in reversed(range(spec.num_layers)):
        gradient.append(delta.sum(-1))
        gradient.append(_product(delta, inputs[layer].mT).mT.flatten(1))
        if layer > 0:
            delta = _product(omega_0 * weights[layer], delta) * cosines[layer - 1]
    return mse, torch.cat(gradient[::-1], dim=1)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``, elementwise where that is faster: no matrix product is good at being this thin."""
    rows, inner = a.shape[-2:]
    if inner == 1:
        return a * b
    if rows == 1 and torch.compiler.is_compiling():  # the product is fused into the sum
        return (a.mT * b).sum(-2, keepdim=True)
    return a @ b


def _sine_and_cosine(z: Tensor) -> tuple[Tensor, Tensor]:
    """``z.sin()`` and ``z.cos()``.

    A compiled step on a CPU spends a third of its time on these two. There, what they share is
    computed once: with z = kπ + r, |r| <= π/2, sin z = (-1)^k sin r and cos z = (-1)^k cos r, which
    are polynomials of r with the least largest error. That error is below 3e-7 for |z| <= 1e4.
    """
    exact = z.dtype != torch.float32 or z.device.type != "cpu"
    if exact or not torch.compiler.is_compiling():
        return z.sin(), z.cos()
    k = (z * (1 / math.pi)).round()
    r = z - k * 3.140625 - k * 9.67653589793e-4  # π in two parts; k times the first is exact
    sign = 1 - 2 * (k - 2 * (0.5 * k).floor())
    q = r * r
    sine = -1.980960e-4 + q * 2.605780e-6
    sine = 1 + q * (-0.1666665955 + q * (8.333066243e-3 + q * sine))
    cosine = -1.385592698e-3 + q * 2.319438e-5
    cosine = 1 + q * (-0.4999993229 + q * (4.166398942e-2 + q * cosine))
    return sine * (r * sign), cosine * sign


@cache
def _gradient_function(
    spec: WeightSpaceSpec, omega_0: float, output_offset: float, compiled: bool
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    function = partial(loss_and_gradient, spec=spec, omega_0=omega_0, output_offset=output_offset)
    return torch.compile(function) if compiled else function


@cache
def _code_for_cpus(
    spec: WeightSpaceSpec,
    omega_0: float,
    output_offset: float,
    num_points: int,
    dtype: torch.dtype,
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The compiled step for any number of networks, the same in every process.

    ``torch.compile`` by itself makes code for the first number of networks that it meets and other
    code for further ones, so that bytes would depend on what a process has fitted before.
    """
    function = partial(loss_and_gradient, spec=spec, omega_0=omega_0, output_offset=output_offset)
    step = torch.compile(function, dynamic=False)

    def run(params: Tensor, points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if len(params) == 1:  # a size of 1 is never dynamic
            mse, gradient = run(params.repeat(2, 1), points, values.repeat(2, 1, 1))
            return mse[:1], gradient[:1]
        for tensor in (params, values):
            torch._dynamo.mark_dynamic(tensor, 0)
        compiled: tuple[Tensor, Tensor] = step(params, points, values)
        return compiled

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    size, d_0, d_m = CPU_CHUNK_SIZE, spec.dims[0], spec.dims[-1]
    run(zeros(size, spec.num_params), zeros(d_0, num_points), zeros(size, d_m, num_points))
    return run


def _keep(optimizer: torch.optim.Optimizer, params: Tensor, rows: Tensor) -> None:
    """Drop the other rows from the parameters, their gradient and the optimiser's moments."""
    assert params.grad is not None
    params.data, params.grad = params.data[rows], params.grad[rows]
    state = optimizer.state[params]
    for name in state.keys() & {"exp_avg", "exp_avg_sq"}:
        state[name] = state[name][rows]


def _check_finite(mse: Tensor, step: int, config: FitConfig) -> None:
    if not bool(mse.isfinite().all()):
        raise UserError(
            f"a fit became NaN or infinite by step {step} with fit.learning_rate="
            f"{config.learning_rate}; lower it, or look for NaN in the signals"
        )


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of signals with peak 1, in dB, at most 200."""
    return -10 * mse.clamp(min=1e-20).log10()
