"""Fitting of SIRENs on a GPU with one kernel, which runs many steps of each network."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from dws.capture import Delayed, has_graphs
from dws.errors import UserError
from dws.inr.family import Family, Siren
from dws.inr.graph_fit import CHECK_EVERY
from dws.runtime import c_compiler_found
from dws.settings import FitConfig
from dws.weightspace import WeightSpaceSpec

STEPS_PER_LAUNCH = 50  # a multiple of CHECK_EVERY; progress is reported once per launch
WIDTHS = (16, 32)  # of hidden layers
# Maximum number of points. One warp goes through all points of a network, so a launch for few
# networks of many points would take longer than steps that divide the points among all processors.
MAX_POINTS = 4096
# Points in a block. The kernel must have one warp, see ``siren_kernel.adam``. This is also the
# fastest choice on an H200: 4,290 INRs/s of 1,000 steps, compared with 3,892, 3,614 and 1,950 with
# blocks of 32, 64 and 128 points and 2, 4 and 8 warps.
BLOCK = 16


def fits_fused(
    family: Family, spec: WeightSpaceSpec, params: Tensor, points: Tensor, values: Tensor
) -> TypeGuard[Siren]:
    """Return whether ``FusedFit`` can fit these networks; if so, their family is ``Siren``.

    They must be SIRENs of one or two inputs, two hidden layers of the same width in ``WIDTHS``, and
    one output. They must share at most ``MAX_POINTS`` points. All tensors must be float32 on one
    CUDA device of compute capability 8.0 or higher. Triton and a C compiler, which Triton needs to
    launch kernels, must be installed.
    """
    return (
        isinstance(family, Siren)
        and spec.dims in [(d_0, width, width, 1) for d_0 in (1, 2) for width in WIDTHS]
        and points.ndim == 2
        and points.shape[1] <= MAX_POINTS
        and {tensor.dtype for tensor in (params, points, values)} == {torch.float32}
        and len({tensor.device for tensor in (params, points, values)}) == 1
        and has_graphs(values.device)
        and torch.cuda.get_device_capability(values.device) >= (8, 0)
        and importlib.util.find_spec("triton") is not None
        and c_compiler_found()
    )


class FusedFit:
    """State of a batch of SIRENs during fitting, in tensors on one device.

    Args:
        family: ω0 and output offset.
        spec: The architecture of the networks, see ``fits_fused``.
        params: Initial parameters, (B, num_params).
        points: Points shared by all networks, (d_0, P).
        values: Targets, (B, d_M, P).
        config: Steps, learning rate and early stopping.
    """

    def __init__(
        self,
        family: Siren,
        spec: WeightSpaceSpec,
        params: Float[Tensor, "b num_params"],
        points: Float[Tensor, "d_0 p"],
        values: Float[Tensor, "b d_m p"],
        config: FitConfig,
    ) -> None:
        self.config, self.family, self.spec = config, family, spec
        self._points, self._values = points, values
        self.fitted = params.clone()  # parameters of all networks, final for stopped ones
        self._moments = torch.zeros_like(params), torch.zeros_like(params)
        steps = torch.arange(config.num_steps, dtype=torch.float64)
        rates = torch.tensor(
            [config.learning_rate * config.factor(step) for step in range(config.num_steps)],
            dtype=torch.float64,
        )
        beta_1, beta_2 = config.betas
        self._rates = (rates / (1 - beta_1 ** (steps + 1))).to(params)
        self._scales = (1 - beta_2 ** (steps + 1)).rsqrt().to(params)
        self._losses = params.new_zeros(len(params))  # at the last check
        self.num_steps = torch.full((len(params),), config.num_steps, device=params.device)

    def run(self, on_checked: Callable[[bool, int, int], None]) -> None:
        """Run all steps and store the results in ``fitted`` and ``num_steps``.

        Args:
            on_checked: Callback after each launch, with whether all losses are finite, the step of
                the last check, and the number of networks that have not stopped.
        """
        status = Delayed()
        max_steps = self.config.num_steps
        for start in range(0, max_steps, STEPS_PER_LAUNCH):
            self.advance(start, min(start + STEPS_PER_LAUNCH, max_steps))
            is_finite, is_active = self._losses.isfinite().all(), self.num_steps == max_steps
            previous = status.exchange(torch.stack([is_finite.long(), is_active.sum()]))
            if previous is None:
                continue
            num_active = int(previous[1])
            on_checked(bool(previous[0]), start - CHECK_EVERY, num_active)
            if num_active == 0:
                break

    def advance(self, start: int, end: int) -> None:
        """Run the steps from ``start`` to ``end`` of all networks that have not stopped.

        Raises:
            UserError: If the kernel cannot be compiled or launched.
        """
        try:
            self._launch(start, end)
        except Exception as error:  # errors of Triton have no common class
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"The fused kernel failed ({reason}). Set fit.fused=never; rerun the same command "
                "to resume."
            ) from error

    def _launch(self, start: int, end: int) -> None:
        from dws.inr.siren_kernel import fit_sirens  # imports Triton

        spec, config, family = self.spec, self.config, self.family
        beta_1, beta_2 = config.betas
        with torch.cuda.device_of(self.fitted):  # Triton launches kernels on the current device
            fit_sirens[(len(self.fitted),)](
                self.fitted, *self._moments, self._points, self._values, self._rates, self._scales,
                self._losses, self.num_steps, start, end, config.num_steps,
                spec.num_params, self._points.shape[1], family.omega_0, family.output_offset,
                config.stop_mse, 1 - beta_1, 1 - beta_2, config.weight_decay,
                D_0=spec.dims[0], WIDTH=spec.dims[1], BLOCK=BLOCK, CHECK_EVERY=CHECK_EVERY,
                num_warps=1,
            )  # fmt: skip
