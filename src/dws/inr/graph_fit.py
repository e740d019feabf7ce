"""Asynchronous fitting on a GPU with steps recorded as CUDA graphs.

The steps are the same as in ``dws.inr.fit``. That module removes stopped networks from the batch at
every check, which synchronises the host with the device. In this module stopped networks remain in
the batch, and their weights are saved on the device. The host reads the number of stopped networks
one check later and removes them when they are half of the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dws.capture import Captured, Delayed
from dws.settings import FitConfig

CHECK_EVERY = 10  # steps between two checks of the stopping criterion; recorded as one graph
# Minimum number of stopped networks to remove from the batch, which requires a new recording.
MIN_DROPPED = 64
Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class GraphFit:
    """State of a batch of networks during fitting, in tensors on one device.

    Args:
        gradient: Function from parameters, points and values to losses and gradients, see
            ``dws.inr.family.loss_and_gradient``.
        params: Initial parameters, (B, num_params); changed in place.
        points: Points shared by all networks, (d_0, P), or points of each, (B, d_0, P).
        values: Targets, (B, d_M, P).
        config: Steps, learning rate and early stopping.
    """

    def __init__(
        self,
        gradient: Gradient,
        params: Float[Tensor, "b num_params"],
        points: Float[Tensor, "*b d_0 p"],
        values: Float[Tensor, "b d_m p"],
        config: FitConfig,
    ) -> None:
        self.config, self.device = config, params.device
        self._gradient, self._points, self._values = gradient, points, values
        self._params = params
        self._fitted = params.clone()  # parameters of stopped networks in the batch
        self._stopped = torch.zeros(len(params), dtype=torch.bool, device=self.device)
        self._num_steps = torch.full((len(params),), config.num_steps, device=self.device)
        self._is_finite = torch.ones((), dtype=torch.bool, device=self.device)
        self._step = torch.zeros(1, dtype=torch.long, device=self.device)
        rates = [config.learning_rate * config.factor(step) for step in range(config.num_steps)]
        self._rates = torch.tensor(rates, device=self.device)
        self._rate = self._rates[0].clone()  # read by every replay of a recorded step
        self._optimizer = torch.optim.Adam(
            [params],
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
            capturable=True,
        )
        self._optimizer.param_groups[0]["lr"] = self._rate
        self._rows = torch.arange(len(params), device=self.device)  # networks in the batch
        self.fitted = torch.empty_like(params)  # results of all networks
        self.num_steps = self._num_steps.clone()

    def run(self, on_checked: Callable[[bool, int, int], None]) -> None:
        """Run all steps and store the results in ``fitted`` and ``num_steps``.

        Args:
            on_checked: Callback after each check, with whether all losses are finite, the step of
                the check, and the number of networks that have not stopped.
        """
        status = Delayed()
        block = self._record()
        num_blocks, rest = divmod(self.config.num_steps, CHECK_EVERY)
        for number in range(num_blocks):
            block()
            previous = status.exchange(torch.stack([self._is_finite.long(), self._stopped.sum()]))
            if previous is None:
                continue
            is_finite, num_stopped = previous
            num_active = len(self._params) - int(num_stopped)
            on_checked(bool(is_finite), (number - 1) * CHECK_EVERY, num_active)
            if num_active == 0:
                break
            if num_stopped >= max(MIN_DROPPED, len(self._params) / 2):
                self._drop_stopped()
                status = Delayed()  # for the smaller batch
                block = self._record()
        else:
            self.advance(rest)
        self._keep_results()

    def advance(self, num_steps: int) -> None:
        """Run steps without synchronisation, checking the stopping criterion at the first step."""
        for number in range(num_steps):
            loss, self._params.grad = self._gradient(self._params, self._points, self._values)
            if number == 0:
                self._check(loss)
            self._rate.copy_(self._rates.index_select(0, self._step).squeeze(0))
            self._optimizer.step()
            self._step.add_(1)

    def _check(self, loss: Float[Tensor, " b"]) -> None:
        """Save the parameters of networks that stop at this step."""
        stops: Bool[Tensor, " b"] = (loss <= self.config.stop_mse) & ~self._stopped
        self._fitted.copy_(torch.where(stops.unsqueeze(1), self._params, self._fitted))
        self._num_steps.copy_(torch.where(stops, self._step, self._num_steps))
        self._stopped.logical_or_(stops)
        self._is_finite.logical_and_((loss.isfinite() | self._stopped).all())

    def _record(self) -> Callable[[], None]:
        advance = partial(self.advance, CHECK_EVERY)
        return Captured(advance, self.device, option="fit.cuda_graph")

    def _drop_stopped(self) -> None:
        """Remove stopped networks from the batch."""
        self._keep_results()
        keep = ~self._stopped
        assert self._params.grad is not None
        self._params.data, self._params.grad = self._params.data[keep], self._params.grad[keep]
        state = self._optimizer.state[self._params]
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name][keep]
        separate_points = ["_points"] if self._points.ndim == 3 else []
        for name in ("_rows", "_values", "_fitted", "_num_steps", "_stopped", *separate_points):
            setattr(self, name, getattr(self, name)[keep])

    def _keep_results(self) -> None:
        last = torch.where(self._stopped.unsqueeze(1), self._fitted, self._params)
        self.fitted[self._rows], self.num_steps[self._rows] = last, self._num_steps
