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

from dws.capture import has_graphs
from dws.errors import UserError
from dws.inr.graph_fit import CHECK_EVERY, GraphFit
from dws.inr.siren import siren_apply
from dws.runtime import find_device, should_compile
from dws.settings import FitConfig
from dws.weightspace import WeightBatch, WeightSpaceSpec

CPU_CHUNK_SIZE = 32  # INRs whose activations stay in the cache of a core
# INRs beyond which more at once are hardly faster on a GPU: on an H200, 512 / 2,048 / 8,192 at
# once made 617 / 858 / 947 eager and 920 / 1,292 / 1,515 compiled INRs a second.
GPU_CHUNK_SIZE = 8192
NUM_COPIES = 16  # of the hidden values of all points that a step and its recording hold, at most
# Steps and INRs, multiplied, from which compiling pays, by type of device. On a CPU it takes some
# 10 s and saves some 0.04 ms each. On an H200 it takes 60 s and saves some 0.3 µs each.
COMPILING_PAYS = {"cpu": 200_000, "cuda": 200_000_000}

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
    pays = num_inrs * config.num_steps >= COMPILING_PAYS.get(_device_type(config), 200_000)
    return should_compile(config.compile, pays=pays, option="fit.compile")


def chunk_size(
    config: FitConfig, spec: WeightSpaceSpec, num_points: int, device: torch.device
) -> int:
    """How many INRs to fit at once.

    Args:
        config: If it does not say, 32 on a CPU, where they stay in the cache, and on a GPU as many
            as half of its free memory holds, at most ``GPU_CHUNK_SIZE``.
        spec: Their architecture.
        num_points: P.
        device: Where they are fitted.
    """
    if config.chunk_size is not None:
        return config.chunk_size
    if device.type == "cpu":
        return CPU_CHUNK_SIZE
    if device.type != "cuda":
        return GPU_CHUNK_SIZE
    free, _ = torch.cuda.mem_get_info(device)
    bytes_an_inr = 4 * num_points * (sum(spec.dims[1:])) * NUM_COPIES
    return max(1, min(GPU_CHUNK_SIZE, free // 2 // bytes_an_inr))


def _device_type(config: FitConfig) -> str:
    """Of the device that will be fitted on, which may be that of another machine."""
    if config.device == "auto":
        return find_device("auto", option="fit.device").type
    return config.device.partition(":")[0]


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
        config: Steps, learning rate and stopping, and whether a GPU runs CUDA graphs. Its
            ``chunk_size`` and ``compile`` are for callers that cut a zoo into batches, its
            ``device`` for callers that make the tensors.
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

    reported = 0.0  # work in INRs

    def report(step: int, num_active: int, finished: Tensor) -> None:
        nonlocal reported
        done = size - num_active * (1 - step / config.num_steps)
        on_progress(done - reported, finished)
        reported = done

    def finish(fitted: Tensor, num_steps: Tensor, unreported: Tensor) -> FitResult:
        weights = WeightBatch.from_flat(spec, fitted.unsqueeze(-1))
        outputs = siren_apply(weights, coordinates, omega_0=omega_0, output_offset=output_offset)
        mse = (outputs - targets).square().mean(dim=(1, 2))
        _check_finite(bool(mse.isfinite().all()), config.num_steps, config)
        report(config.num_steps, 0, mse[unreported])
        return FitResult(weights, mse, num_steps)

    active = torch.arange(size, device=values.device)  # networks that are not done
    params = initial.flatten().squeeze(-1).clone()  # theirs, (active, num_params)
    if config.cuda_graph != "never" and has_graphs(values.device):

        def on_checked(is_finite: bool, step: int, num_active: int) -> None:
            _check_finite(is_finite, step, config)
            report(step, num_active, values.new_empty(0))

        graph_fit = GraphFit(gradient, params, points, values, config)
        graph_fit.run(on_checked)
        return finish(graph_fit.fitted, graph_fit.num_steps, active)
    fitted = torch.empty_like(params)
    num_steps = torch.full_like(active, config.num_steps)
    optimizer = torch.optim.Adam(
        [params],
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )
    for step in range(config.num_steps):
        mse, params.grad = gradient(params, points, values)
        if step % CHECK_EVERY == 0:
            _check_finite(bool(mse.isfinite().all()), step, config)
            done = mse <= config.stop_mse
            if bool(done.any()):
                fitted[active[done]] = params[done]
                num_steps[active[done]] = step
                active, values = active[~done], values[~done]
                _keep(optimizer, params, ~done)
            report(step, len(active), mse[done])
            if not len(active):
                break
        optimizer.param_groups[0]["lr"] = config.learning_rate * config.factor(step)
        optimizer.step()
    fitted[active] = params
    return finish(fitted, num_steps, active)


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


def _check_finite(is_finite: bool, step: int, config: FitConfig) -> None:
    if not is_finite:
        raise UserError(
            f"a fit became NaN or infinite by step {step} with fit.learning_rate="
            f"{config.learning_rate}; lower it, or look for NaN in the signals"
        )


def psnr(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of signals with peak 1, in dB, at most 200."""
    return -10 * mse.clamp(min=1e-20).log10()
