"""Where the fits of a zoo run: in this process, or on the machines of a Ray cluster.

An engine gets jobs, one for each shard, and gives back fitted networks. It writes nothing: only the
process that builds the zoo does.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UnreachableError, UserError
from dws.inr import FitConfig, FitResult, SirenConfig, fit_inrs
from dws.inr.fit import chunk_size
from dws.runtime import compiler_problem, compiler_works, find_device, keep_freed_memory
from dws.weightspace import WeightBatch

PATIENCE = 60  # seconds without a result after which the cluster is looked at again

OnFinished = Callable[[Tensor], None]  # gets the mean squared errors of INRs that finished, (n,)


@dataclass(frozen=True, eq=False)
class FitJob:
    """The fit of one shard, with all that it needs to run on any machine.

    Attributes:
        initial: n networks to start from, with one channel.
        coordinates: The P points that all signals share, (P, d_0).
        targets: Values of each signal at the points, (n, P, d_M).
        config: How they are fitted.
        inr: What the networks are beside their weights.
        compiled: Whether to run the compiled step.
    """

    initial: WeightBatch
    coordinates: Float[Tensor, "p d_0"]
    targets: Float[Tensor, "n p d_m"]
    config: FitConfig
    inr: SirenConfig
    compiled: bool

    def run(self, on_finished: OnFinished = lambda mse: None) -> FitResult:
        """Fit chunk by chunk; the result is on the CPU.

        Raises:
            ValueError: If the device is not there, or a fit became NaN or infinite.
        """
        device = find_device(self.config.device, option="fit.device")
        size = self.initial.batch_size
        at_once = chunk_size(self.config, self.initial.spec, len(self.coordinates), device)
        results = [
            fit_inrs(
                self.initial[start : start + at_once].to(device),
                self.coordinates.to(device),
                self.targets[start : start + at_once].to(device),
                config=self.config,
                omega_0=self.inr.omega_0,
                output_offset=self.inr.output_offset,
                compiled=self.compiled,
                on_finished=on_finished,
            )
            for start in range(0, size, at_once)
        ]
        flat = torch.cat([result.weights.flatten() for result in results]).cpu()
        return FitResult(
            WeightBatch.from_flat(self.initial.spec, flat),
            torch.cat([result.mse for result in results]).cpu(),
            torch.cat([result.num_steps for result in results]).cpu(),
        )


@runtime_checkable
class Engine(Protocol):
    """Something that runs jobs."""

    def run(
        self, jobs: Iterable[FitJob], on_finished: OnFinished
    ) -> Iterator[tuple[int, FitResult]]:
        """Run every job once, in any order.

        Args:
            jobs: Taken one by one, when there is room for another.
            on_finished: Called as INRs finish.

        Yields:
            A job's position and its result.
        """


@dataclass(frozen=True)
class InProcess:
    """One job after the other, in this process."""

    def run(
        self, jobs: Iterable[FitJob], on_finished: OnFinished
    ) -> Iterator[tuple[int, FitResult]]:
        """See ``Engine``."""
        for position, job in enumerate(jobs):
            yield position, job.run(on_finished)


@dataclass(frozen=True)
class Ray:
    """Jobs as tasks of a Ray cluster; a task whose machine goes away is run again elsewhere.

    Every machine needs dws with the extra ``cluster``. Results are the same bytes as in-process
    with as many threads, on processors of the same kind.

    Attributes:
        address: Of the cluster, ``auto`` for the one that this machine belongs to, or None to start
            one of this machine alone.
        num_cpus: Processors and threads for each task.
        num_gpus: GPUs for each task, or None for one if the cluster has any and ``fit.device`` is
            not ``cpu``.
        max_retries: How often a task is begun again after its machine or process went away.

    Raises:
        ValueError: If a number is out of range.
    """

    address: str | None = None
    num_cpus: int = 1
    num_gpus: float | None = None
    max_retries: int = 10

    def __post_init__(self) -> None:
        if self.num_cpus < 1 or (self.num_gpus or 0) < 0 or self.max_retries < 0:
            raise UserError(
                "expected engine.num_cpus >= 1, engine.num_gpus >= 0 and engine.max_retries >= 0, "
                f"got {self.num_cpus}, {self.num_gpus} and {self.max_retries}"
            )

    def run(
        self, jobs: Iterable[FitJob], on_finished: OnFinished
    ) -> Iterator[tuple[int, FitResult]]:
        """See ``Engine``. INRs are reported shard by shard.

        Raises:
            ValueError: If Ray is not installed, or a fit failed.
            ConnectionError: If there is no cluster at ``address``, none of its machines has room
                for a task, or it lost a task for good.
        """
        ray = _connect(self.address)
        try:
            default_gpus = float(ray.cluster_resources().get("GPU", 0) >= 1)
            running: dict[Any, int] = {}
            numbered = enumerate(jobs)
            while True:
                # one more waits on each processor, so that none is idle while results travel
                room = 2 * max(1, int(ray.cluster_resources().get("CPU", 0) // self.num_cpus))
                while len(running) < room and (item := next(numbered, None)):
                    job, num_gpus = self._place(item[1], default_gpus)
                    if not running:
                        self._check_room(ray.nodes(), num_gpus)
                    task = ray.remote(_run_on_worker).options(
                        num_cpus=self.num_cpus,
                        num_gpus=num_gpus,
                        max_retries=self.max_retries,
                        scheduling_strategy="SPREAD",
                    )
                    running[task.remote(job, self.num_cpus)] = item[0]
                if not running:
                    return
                done, _ = ray.wait(list(running), timeout=PATIENCE)
                if not done:
                    self._check_room(ray.nodes(), num_gpus)
                    continue
                position = running.pop(done[0])
                result = self._result(ray, done[0])
                on_finished(result.mse)
                yield position, result
        finally:
            ray.shutdown()

    def _place(self, job: FitJob, default_gpus: float) -> tuple[FitJob, float]:
        """The job for the device that it will find, and how many GPUs to ask for."""
        num_gpus = default_gpus if self.num_gpus is None else self.num_gpus
        if job.config.device == "cpu":
            return job, 0.0
        if job.config.device == "auto" and num_gpus == 0:
            return replace(job, config=replace(job.config, device="cpu")), 0.0
        return job, num_gpus

    def _result(self, ray: Any, reference: Any) -> FitResult:
        """What a task gave, or its error as one of the documented kinds."""
        try:
            return ray.get(reference)  # type: ignore[no-any-return]
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, (UserError, OSError)):
                raise error.cause from error
            reason = str(error.cause).strip().splitlines() or [type(error.cause).__name__]
            raise UserError(
                f"expected dws of this version and what it needs on every machine of the cluster, "
                f"got a fit that failed there: {reason[-1]}"
            ) from error
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UnreachableError(
                f"expected machines that stay for one fit, got a fit that was lost "
                f"{self.max_retries + 1} times ({reason[0]}); rerun the same command to resume"
            ) from error

    def _check_room(self, nodes: list[dict[str, Any]], num_gpus: float) -> None:
        """Raise unless some machine of the cluster can run a task."""
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        if not any(
            have.get("CPU", 0) >= self.num_cpus and have.get("GPU", 0) >= num_gpus for have in alive
        ):
            there = ", ".join(f"{h.get('CPU', 0):.0f} and {h.get('GPU', 0):.0f}" for h in alive)
            raise UnreachableError(
                f"expected a machine with {self.num_cpus} processors and {num_gpus:g} GPUs in the "
                f"cluster, got {there or 'none'}; set engine.num_cpus and engine.num_gpus"
            )


def _connect(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "expected Ray for engine=ray, got none; install it in the project's folder: "
            "pip install -e '.[cluster]'"
        ) from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    in_main_thread = threading.current_thread() is threading.main_thread()
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", **options)
    except RuntimeError as error:  # another version, or connected already
        reason = " ".join(str(error).split())
        raise UnreachableError(f"expected to join a Ray cluster, got: {reason}") from error
    if in_main_thread:
        signal.signal(signal.SIGTERM, on_terminate)  # Ray puts its own there
    return ray


def _run_on_worker(job: FitJob, num_threads: int) -> FitResult:
    if job.compiled and not compiler_works():
        raise UserError(
            f"expected a C++ compiler that works on {socket.gethostname()}, as on the machine that "
            f"began the fit, but {compiler_problem()}, or use fit.compile=never"
        )
    torch.set_num_threads(num_threads)
    keep_freed_memory()
    return job.run()
