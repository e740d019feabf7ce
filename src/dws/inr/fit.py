"""Fit many small networks at once, with the forward and backward pass written out.

Each step is a few batched matrix products and activations over (B, width, points). The gradient is
written by hand (see ``dws.inr.family``) because autograd would keep and revisit more than is
needed; ``torch.compile`` fuses the elementwise work when a C++ compiler is there. Networks never
see each other: each ends where it would have ended alone.
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
from dws.inr.graph_fit import CHECK_EVERY, GraphFit
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

# Gets the work since the last call, in networks (together as many as are fitted), and the losses of
# the networks that have finished since, (n,).
OnProgress = Callable[[float, Tensor], None]


@dataclass(frozen=True, eq=False)
class FitResult:
    """Fitted networks and how they fit.

    Attributes:
        weights: B networks.
        loss: Of the final weights, (B,): of INRs the mean squared error over points and outputs, of
            classifiers the cross-entropy in nats.
        num_steps: Steps taken, (B,).
    """

    weights: WeightBatch
    loss: Float[Tensor, " b"]
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
    on_progress: OnProgress = lambda work, loss: None,
) -> FitResult:
    """Fit one SIREN to each signal, all in one batch.

    Args:
        initial: B networks to start from, with one channel.
        coordinates: The P points that all signals share, (P, d_0).
        targets: Values of each signal at the points, (B, P, d_M).
        config: See ``fit_networks``.
        omega_0: ω0 of the sine layers.
        output_offset: Added to the output.
        compiled: Whether to run the compiled step, see ``use_compiler``.
        on_progress: Called every ``CHECK_EVERY`` steps, see ``OnProgress``.

    Returns:
        The networks in the order given.

    Raises:
        ValueError: If the shapes do not fit, or a fit became NaN or infinite.
    """
    family = Siren(omega_0, output_offset)
    return fit_networks(
        family, initial, coordinates, targets,
        config=config, compiled=compiled, on_progress=on_progress,
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
) -> FitResult:
    """Fit one network to each set of inputs and targets, all in one batch.

    Args:
        family: How the networks compute, and the loss.
        initial: B networks to start from, with one channel.
        inputs: The P inputs that all networks share, (P, d_0), or those of each, (B, P, d_0).
        targets: What each network is to compute of them, (B, P, d_M).
        config: Steps, learning rate and stopping, and whether a GPU runs CUDA graphs. Its
            ``chunk_size`` and ``compile`` are for callers that cut a zoo into batches, its
            ``device`` for callers that make the tensors.
        compiled: Whether to run the compiled step, see ``use_compiler``.
        on_progress: Called every ``CHECK_EVERY`` steps, see ``OnProgress``.

    Returns:
        The networks in the order given.

    Raises:
        ValueError: If the shapes do not fit, or a fit became NaN or infinite.
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
    # contiguous() leaves axes of size 1 their strides, for each of which torch.compile makes code
    points = inputs.mT.clone(memory_format=torch.contiguous_format)
    values = targets.mT.clone(memory_format=torch.contiguous_format)
    if compiled and values.device.type == "cpu":
        gradient = _code_for_cpus(spec, family, num_points, is_shared, values.dtype)
    else:
        gradient = _gradient_function(spec, family, compiled)

    reported = 0.0  # work in networks

    def report(step: int, num_active: int, finished: Tensor) -> None:
        nonlocal reported
        done = size - num_active * (1 - step / config.num_steps)
        on_progress(done - reported, finished)
        reported = done

    def finish(fitted: Tensor, num_steps: Tensor, unreported: Tensor) -> FitResult:
        weights = WeightBatch.from_flat(spec, fitted.unsqueeze(-1))
        loss = family.final_loss(weights, inputs, targets)
        _check_finite(bool(loss.isfinite().all()), config.num_steps, config)
        report(config.num_steps, 0, loss[unreported])
        return FitResult(weights, loss, num_steps)

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
        loss, params.grad = gradient(params, points, values)
        if step % CHECK_EVERY == 0:
            _check_finite(bool(loss.isfinite().all()), step, config)
            done = loss <= config.stop_mse
            if bool(done.any()):
                fitted[active[done]] = params[done]
                num_steps[active[done]] = step
                active, values = active[~done], values[~done]
                points = points if is_shared else points[~done]
                _keep(optimizer, params, ~done)
            report(step, len(active), loss[done])
            if not len(active):
                break
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
def _code_for_cpus(
    spec: WeightSpaceSpec, family: Family, num_points: int, is_shared: bool, dtype: torch.dtype
) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The compiled step for any number of networks, the same in every process.

    ``torch.compile`` by itself makes code for the first number of networks that it meets and other
    code for further ones, so that bytes would depend on what a process has fitted before.
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
