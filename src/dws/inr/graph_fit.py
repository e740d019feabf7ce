"""Fits on a GPU: steps that the host never waits for, recorded as CUDA graphs.

The steps are those of ``dws.inr.fit``. There, networks leave the batch when they stop, which the
host has to read at every look. Here they stay, their weights are kept aside on the device, and the
host reads one look late how many there are; once they are half of the batch they leave it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dws.capture import Captured, Delayed
from dws.settings import FitConfig

CHECK_EVERY = 10  # steps between two looks at the stopping criterion, which are one graph
# fewer stopped networks stay in the batch, since leaving it means another recording
MIN_DROPPED = 64
Gradient = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class GraphFit:
    """Networks that are being fitted together, all of it in tensors on one device.

    Args:
        gradient: Losses and their gradient from parameters, points and values; see
            ``dws.inr.family.loss_and_gradient``.
        params: Where they start, (B, num_params); changed in place.
        points: (d_0, P) of all, or (B, d_0, P) of each.
        values: (B, d_M, P).
        config: Steps, learning rate and stopping.
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
        self._fitted = params.clone()  # of those in the batch that have stopped
        self._stopped = torch.zeros(len(params), dtype=torch.bool, device=self.device)
        self._num_steps = torch.full((len(params),), config.num_steps, device=self.device)
        self._is_finite = torch.ones((), dtype=torch.bool, device=self.device)
        self._step = torch.zeros(1, dtype=torch.long, device=self.device)
        rates = [config.learning_rate * config.factor(step) for step in range(config.num_steps)]
        self._rates = torch.tensor(rates, device=self.device)
        self._rate = self._rates[0].clone()  # of the next step; a recorded step reads it anew
        self._optimizer = torch.optim.Adam(
            [params],
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
            capturable=True,
        )
        self._optimizer.param_groups[0]["lr"] = self._rate
        self._rows = torch.arange(len(params), device=self.device)  # of those in the batch
        self.fitted = torch.empty_like(params)  # of all
        self.num_steps = self._num_steps.clone()

    def run(self, on_checked: Callable[[bool, int, int], None]) -> None:
        """Take all steps; then ``fitted`` and ``num_steps`` hold the result.

        Args:
            on_checked: Called with whether all errors were finite, the step that was looked at, and
                how many networks had not stopped.
        """
        status = Delayed()
        block = self._record()
        num_blocks, rest = divmod(self.config.num_steps, CHECK_EVERY)
        for number in range(num_blocks):
            block()
            read = status.exchange(torch.stack([self._is_finite.long(), self._stopped.sum()]))
            if read is None:
                continue
            num_active = len(self._params) - int(read[1])
            on_checked(bool(read[0]), (number - 1) * CHECK_EVERY, num_active)
            if num_active == 0:
                break
            if read[1] >= max(MIN_DROPPED, len(self._params) / 2):
                self._drop_stopped()
                status = Delayed()  # of this batch
                block = self._record()
        else:
            self.advance(rest)
        self._keep_results()

    def advance(self, num_steps: int) -> None:
        """Take steps, the first with a look at the stopping criterion; the host reads nothing."""
        for number in range(num_steps):
            loss, self._params.grad = self._gradient(self._params, self._points, self._values)
            if number == 0:
                self._look(loss)
            self._rate.copy_(self._rates.index_select(0, self._step).squeeze(0))
            self._optimizer.step()
            self._step.add_(1)

    def _look(self, loss: Float[Tensor, " b"]) -> None:
        """Keep the parameters of networks that stop now."""
        stops: Bool[Tensor, " b"] = (loss <= self.config.stop_mse) & ~self._stopped
        self._fitted.copy_(torch.where(stops.unsqueeze(1), self._params, self._fitted))
        self._num_steps.copy_(torch.where(stops, self._step, self._num_steps))
        self._stopped.logical_or_(stops)
        self._is_finite.logical_and_((loss.isfinite() | self._stopped).all())

    def _record(self) -> Callable[[], None]:
        advance = partial(self.advance, CHECK_EVERY)
        return Captured(advance, self.device, option="fit.cuda_graph")

    def _drop_stopped(self) -> None:
        """Go on with those that have not stopped."""
        self._keep_results()
        keep = ~self._stopped
        assert self._params.grad is not None
        self._params.data, self._params.grad = self._params.data[keep], self._params.grad[keep]
        state = self._optimizer.state[self._params]
        for name in ("exp_avg", "exp_avg_sq"):
            state[name] = state[name][keep]
        own_points = ["_points"] if self._points.ndim == 3 else []
        for name in ("_rows", "_values", "_fitted", "_num_steps", "_stopped", *own_points):
            setattr(self, name, getattr(self, name)[keep])

    def _keep_results(self) -> None:
        last = torch.where(self._stopped.unsqueeze(1), self._fitted, self._params)
        self.fitted[self._rows], self.num_steps[self._rows] = last, self._num_steps
