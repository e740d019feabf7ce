"""Batched fitting of many small networks with a hand-written forward and backward pass.

A step consists of a few batched matrix products and activations over (B, width, points). The
gradient is hand-written (see ``dws.inr.family``), because autograd would store and read more
tensors than necessary. ``torch.compile`` fuses the elementwise operations if a C++ compiler is
available. On a GPU, one kernel runs many steps of SIRENs (``dws.inr.fused_fit``), and CUDA graphs
run those of other networks (``dws.inr.graph_fit``). Networks are independent: each result is the
same as if the network were fitted alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dws.capture import has_graphs
from dws.errors import UserError
from dws.inr.family import Family, Siren, loss_and_gradient
from dws.inr.fused_fit import FusedFit, fits_fused
from dws.inr.graph_fit import CHECK_EVERY, GraphFit
from dws.runtime import find_device, should_compile
from dws.settings import FitConfig
from dws.weightspace import WeightBatch, WeightSpaceSpec

CPU_CHUNK_SIZE = 32  # number of INRs whose activations fit into the cache of a core
# Larger chunks are hardly faster on a GPU: on an H200, chunks of 512 / 2,048 / 8,192 INRs reach
# 365 / 791 / 846 INRs per second eager and 2,066 / 2,766 / 2,431 with the fused kernel.
GPU_CHUNK_SIZE = 8192
NUM_COPIES = 16  # maximum copies of all hidden activations in a step with its recording
# Minimum of steps times INRs for which compiling saves time, by device type. On a CPU, compiling
# takes about 10 s and saves about 0.04 ms per step and INR; on an H200, 60 s and about 0.3 µs.
COMPILING_PAYS = {"cpu": 200_000, "cuda": 200_000_000}

# Callback with the work since the last call, in networks (the total is the number of networks), and
# the losses of the networks that have finished since, (n,).
OnProgress = Callable[[float, Tensor], None]
# Callback with the number of completed steps and the networks that have not finished.
OnWeights = Callable[[int, WeightBatch], None]


@dataclass(frozen=True, eq=False)
class FitResult:
    """Fitted networks with their losses.

    Attributes:
        weights: B networks.
        loss: Final loss of each network, (B,): the mean squared error over points and outputs for
            INRs, the cross-entropy in nats for classifiers.
        num_steps: Number of steps of each network, (B,).
    """

    weights: WeightBatch
    loss: Float[Tensor, " b"]
    num_steps: Int[Tensor, " b"]


def use_compiler(config: FitConfig, num_inrs: int) -> bool:
    """Return whether to compile the step in a fit of ``num_inrs`` INRs.

    ``auto`` does not compile for a GPU unless ``config.fused`` is ``never``.

    Raises:
        ValueError: If ``config.compile`` is ``"always"`` and no C++ compiler works.
    """
    device = _device_type(config)
    pays = num_inrs * config.num_steps >= COMPILING_PAYS.get(device, 200_000)
    pays = pays and (device != "cuda" or config.fused == "never")
    return should_compile(config.compile, pays=pays, option="fit.compile")


def chunk_size(
    config: FitConfig, spec: WeightSpaceSpec, num_points: int, device: torch.device
) -> int:
    """Return the number of INRs to fit at once.

    This is ``config.chunk_size`` if it is set. Otherwise it is ``CPU_CHUNK_SIZE`` on a CPU, where
    the activations stay in the cache. On a GPU it is the number of INRs that fit into half of the
    free memory, at most ``GPU_CHUNK_SIZE``.

    Args:
        config: The settings of the fit.
        spec: The architecture of the INRs.
        num_points: Number of points, P.
        device: The device of the fit.
    """
    if config.chunk_size is not None:
        return config.chunk_size
    if device.type == "cpu":
        return CPU_CHUNK_SIZE
    if device.type != "cuda":
        return GPU_CHUNK_SIZE
    free, _ = torch.cuda.mem_get_info(device)
    bytes_per_inr = 4 * num_points * (sum(spec.dims[1:])) * NUM_COPIES
    return max(1, min(GPU_CHUNK_SIZE, free // 2 // bytes_per_inr))


def _device_type(config: FitConfig) -> str:
    """Return the type of the fit's device, which may belong to another machine."""
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
    on_progress: OnProgress = lambda work, loss: None,
    on_weights: OnWeights | None = None,
) -> FitResult:
    """Fit one SIREN to each signal, all in one batch.

    Args:
        initial: B initial networks with one channel.
        coordinates: The P points that all signals share, (P, d_0).
        targets: Values of each signal at the points, (B, P, d_M).
        config: Settings of the fit, see ``fit_networks``.
        omega_0: ω0 of the sine layers.
        output_offset: Constant added to the output.
        compiled: Whether to run the compiled step, see ``use_compiler``.
        on_progress: Callback after every ``CHECK_EVERY`` steps, or after every ``STEPS_PER_LAUNCH``
            steps of the fused kernel, see ``OnProgress``.
        on_weights: Callback after every ``CHECK_EVERY`` steps, see ``OnWeights``. An exception that
            it raises ends the fit. If it is given, steps run eagerly.

    Returns:
        The fitted networks in the order of ``initial``.

    Raises:
        ValueError: If shapes do not match, or a fit becomes NaN or infinite.
    """
    family = Siren(omega_0, output_offset)
    return fit_networks(
        family, initial, coordinates, targets,
        config=config, compiled=compiled, on_progress=on_progress, on_weights=on_weights,
    )  # fmt: skip


def fit_networks(
    family: Family,
    initial: WeightBatch,
    inputs: Float[Tensor, "*b p d_0"],
    targets: Float[Tensor, "b p d_m"],
    *,
    config: FitConfig,
    compiled: bool = False,
    on_progress: OnProgress = lambda work, loss: None,
    on_weights: OnWeights | None = None,
) -> FitResult:
    """Fit one network to each set of inputs and targets, all in one batch.

    Args:
        family: Activation and loss of the networks.
        initial: B initial networks with one channel.
        inputs: P inputs shared by all networks, (P, d_0), or inputs of each, (B, P, d_0).
        targets: Targets of each network, (B, P, d_M).
        config: Steps, learning rate, early stopping, and use of the fused kernel and of CUDA
            graphs. ``chunk_size``, ``compile`` and ``device`` are ignored here: callers use them to
            divide a zoo into batches and to create the tensors.
        compiled: Whether to run the compiled step, see ``use_compiler``.
        on_progress: Callback after every ``CHECK_EVERY`` steps, or after every ``STEPS_PER_LAUNCH``
            steps of the fused kernel, see ``OnProgress``.
        on_weights: Callback after every ``CHECK_EVERY`` steps, see ``OnWeights``. An exception that
            it raises ends the fit. If it is given, steps run eagerly.

    Returns:
        The fitted networks in the order of ``initial``.

    Raises:
        ValueError: If shapes do not match, or a fit becomes NaN or infinite.
    """
    spec, size = initial.spec, initial.batch_size
    num_points, d_0 = inputs.shape[-2:]
    is_shared = inputs.ndim == 2
    if (
        targets.shape != (size, num_points, spec.dims[-1])
        or d_0 != spec.dims[0]
        or inputs.shape[:-2] not in ((), (size,))
    ):
        raise UserError(
            f"expected inputs (P, {spec.dims[0]}) or ({size}, P, {spec.dims[0]}) and targets "
            f"({size}, P, {spec.dims[-1]}) for {size} networks of widths {spec.dims}, "
            f"got {tuple(inputs.shape)} and {tuple(targets.shape)}"
        )
    # contiguous() keeps the strides of axes of size 1, and torch.compile recompiles for each.
    points = inputs.mT.clone(memory_format=torch.contiguous_format)
    values = targets.mT.clone(memory_format=torch.contiguous_format)
    if compiled and values.device.type == "cpu":
        gradient = _cpu_gradient_function(spec, family, num_points, is_shared, values.dtype)
    else:
        gradient = _gradient_function(spec, family, compiled)

    reported = 0.0  # reported work, in networks

    def report(step: int, num_active: int, finished: Tensor) -> None:
        nonlocal reported
        work = size - num_active * (1 - step / config.num_steps)
        on_progress(work - reported, finished)
        reported = work

    def finish(fitted: Tensor, num_steps: Tensor, unreported: Tensor) -> FitResult:
        weights = WeightBatch.from_flat(spec, fitted.unsqueeze(-1))
        loss = family.final_loss(weights, inputs, targets)
        _check_finite(bool(loss.isfinite().all()), config.num_steps, config)
        report(config.num_steps, 0, loss[unreported])
        return FitResult(weights, loss, num_steps)

    active = torch.arange(size, device=values.device)  # networks that have not stopped
    params = initial.flatten().squeeze(-1).clone()  # (active, num_params)

    def on_checked(is_finite: bool, step: int, num_active: int) -> None:
        _check_finite(is_finite, step, config)
        report(step, num_active, values.new_empty(0))

    gpu_fit: FusedFit | GraphFit | None = None
    if on_weights is None:
        is_fused = config.fused != "never" and not compiled
        if is_fused and fits_fused(family, spec, params, points, values):
            gpu_fit = FusedFit(family, spec, params, points, values, config)
        elif config.cuda_graph != "never" and has_graphs(values.device):
            gpu_fit = GraphFit(gradient, params, points, values, config)
    if gpu_fit is not None:
        gpu_fit.run(on_checked)
        return finish(gpu_fit.fitted, gpu_fit.num_steps, active)
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
        loss, params.grad = gradient(params, points, values)
        if step % CHECK_EVERY == 0:
            _check_finite(bool(loss.isfinite().all()), step, config)
            stops = loss <= config.stop_mse
            if bool(stops.any()):
                fitted[active[stops]] = params[stops]
                num_steps[active[stops]] = step
                active, values = active[~stops], values[~stops]
                points = points if is_shared else points[~stops]
                _keep(optimizer, params, ~stops)
            report(step, len(active), loss[stops])
            if not len(active):
                break
            if on_weights is not None:
                on_weights(step, WeightBatch.from_flat(spec, params.clone().unsqueeze(-1)))
        optimizer.param_groups[0]["lr"] = config.learning_rate * config.factor(step)
        optimizer.step()
    fitted[active] = params
    return finish(fitted, num_steps, active)


@cache
def _gradient_function(
    spec: WeightSpaceSpec, family: Family, compiled: bool
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    function = partial(loss_and_gradient, spec=spec, family=family)
    return torch.compile(function) if compiled else function


@cache
def _cpu_gradient_function(
    spec: WeightSpaceSpec, family: Family, num_points: int, is_shared: bool, dtype: torch.dtype
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Compile the step for any number of networks, with identical results in every process.

    By default, ``torch.compile`` specialises code for the first number of networks and compiles
    different code for further numbers, so results would depend on the previous fits of a process.
    """
    function = partial(loss_and_gradient, spec=spec, family=family)
    step = torch.compile(function, dynamic=False)

    def run(params: Tensor, points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        if len(params) == 1:  # a size of 1 is never dynamic
            twice = points if is_shared else points.repeat(2, 1, 1)
            loss, gradient = run(params.repeat(2, 1), twice, values.repeat(2, 1, 1))
            return loss[:1], gradient[:1]
        for tensor in (params, values) if is_shared else (params, points, values):
            torch._dynamo.mark_dynamic(tensor, 0)
        compiled: tuple[Tensor, Tensor] = step(params, points, values)
        return compiled

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype)

    size, d_0, d_m = CPU_CHUNK_SIZE, spec.dims[0], spec.dims[-1]
    shared = () if is_shared else (size,)
    run(zeros(size, spec.num_params), zeros(*shared, d_0, num_points), zeros(size, d_m, num_points))
    return run


def _keep(optimizer: torch.optim.Optimizer, params: Tensor, rows: Tensor) -> None:
    """Keep only the given rows of the parameters, their gradient and the optimiser's moments."""
    assert params.grad is not None
    params.data, params.grad = params.data[rows], params.grad[rows]
    state = optimizer.state[params]
    for name in state.keys() & {"exp_avg", "exp_avg_sq"}:
        state[name] = state[name][rows]


def _check_finite(is_finite: bool, step: int, config: FitConfig) -> None:
    if not is_finite:
        raise UserError(
            f"A fit became NaN or infinite by step {step} with fit.learning_rate="
            f"{config.learning_rate}. Lower it, or check the signals for NaN."
        )


def psnr(mse: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio for a peak value of 1, in dB, at most 200."""
    return -10 * mse.clamp(min=1e-20).log10()
