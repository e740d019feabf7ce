"""Where the fits of a zoo run: in processes of this machine, or on the machines of a Ray cluster.

An engine gets jobs, one for each shard, and gives back fitted networks. It writes nothing: only the
process that builds the zoo does.

Both engines cut a shard into the same chunks, and fit each with one thread, so that they give the
same bytes wherever and beside how many others a chunk runs.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate, chain, pairwise
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from dws.errors import UnreachableError, UserError
from dws.inr import Family, FitConfig, FitResult, fit_networks
from dws.inr.fit import CPU_CHUNK_SIZE, OnProgress, chunk_size
from dws.runtime import (
    compiler_problem,
    compiler_works,
    find_device,
    keep_freed_memory,
    num_usable_cores,
    one_thread,
)
from dws.weightspace import WeightBatch
from dws.zoo.workers import WorkerPool

PATIENCE = 60  # seconds without a result after which the cluster is looked at again

# Steps of networks, times points, from which on other processes pay: some 15 s of one core.
WORK_FOR_WORKERS = 1e8
MAX_SMALL_CHUNKS = 64  # that are looked at to see whether there is as much

Results = Generator[tuple[int, FitResult], None, None]
ChunkKey = tuple[int, int]  # position of a job, and of a chunk in it


@dataclass(frozen=True, eq=False)
class FitJob:
    """The fit of one shard or a chunk of it, with all that it needs to run on any machine.

    Attributes:
        family: How the networks compute, and their loss.
        initial: n networks to start from, with one channel.
        inputs: The P inputs that all networks share, (P, d_0), or those of each, (n, P, d_0).
        targets: What each network is to compute of them, (n, P, d_M).
        config: How they are fitted.
        compiled: Whether to run the compiled step.
    """

    family: Family
    initial: WeightBatch
    inputs: Float[Tensor, "*n p d_0"]
    targets: Float[Tensor, "n p d_m"]
    config: FitConfig
    compiled: bool

    @property
    def work(self) -> int:
        """Steps of networks, times points, at most."""
        return self.initial.batch_size * self.config.num_steps * self.num_points

    @property
    def num_points(self) -> int:
        """P."""
        return self.targets.shape[1]

    def chunks(self, size: int) -> list[FitJob]:
        """This job in parts of so many networks, which are fitted at once."""
        is_shared = self.inputs.ndim == 2
        return [
            replace(
                self,
                initial=self.initial[start : start + size],
                inputs=self.inputs if is_shared else self.inputs[start : start + size].clone(),
                targets=self.targets[start : start + size].clone(),
            )
            for start in range(0, self.initial.batch_size, size)
        ]

    def run(self, on_progress: OnProgress = lambda work, loss: None) -> FitResult:
        """Fit all at once; the result is on the CPU.

        Raises:
            ValueError: If the device is not there, or a fit became NaN or infinite.
        """
        device = find_device(self.config.device, option="fit.device")
        result = fit_networks(
            self.family,
            self.initial.to(device),
            self.inputs.to(device),
            self.targets.to(device),
            config=self.config,
            compiled=self.compiled,
            on_progress=lambda work, loss: on_progress(work, loss.cpu()),
        )
        return FitResult(result.weights.to("cpu"), result.loss.cpu(), result.num_steps.cpu())


@runtime_checkable
class Engine(Protocol):
    """Something that runs jobs."""

    def run(self, jobs: Iterable[FitJob], on_progress: OnProgress) -> Results:
        """Run every job once.

        Args:
            jobs: Taken one by one, when there is room for another.
            on_progress: Called as the fits progress, see ``OnProgress``.

        Yields:
            A job's position and its result.
        """


@runtime_checkable
class Pool(Protocol):
    """Where chunks run."""

    def has_room(self, num_waiting: int) -> bool:
        """Whether to submit one of the chunks that wait."""

    def submit(self, key: ChunkKey, job: FitJob) -> None:
        """Start a chunk, or have it wait for its turn."""

    def collect(self) -> list[tuple[ChunkKey, FitResult]]:
        """Wait until something happens; the chunks that are finished."""


def run_in_chunks(jobs: Iterable[tuple[int, list[FitJob]]], pool: Pool, *, ahead: int) -> Results:
    """Run jobs, given as chunks, so that chunks of several are under way at a time.

    Args:
        jobs: Position and chunks of each.
        pool: Where they run.
        ahead: How many chunks to have at hand for the pool.

    Yields:
        Position and result of each job, in the order given.
    """
    numbered = iter(jobs)
    waiting: deque[tuple[ChunkKey, FitJob]] = deque()
    parts: dict[int, list[FitResult | None]] = {}  # of jobs that are not finished
    while True:
        while len(waiting) < ahead and (job := next(numbered, None)):
            position, chunks = job
            parts[position] = [None] * len(chunks)
            waiting.extend(((position, index), chunk) for index, chunk in enumerate(chunks))
        while waiting and pool.has_room(len(waiting)):
            pool.submit(*waiting.popleft())
        if not parts:
            return
        for (position, index), result in pool.collect():
            parts[position][index] = result
        for position in list(parts):
            results = [result for result in parts[position] if result is not None]
            if len(results) < len(parts[position]):
                break
            del parts[position]
            yield position, _join(results)


def _join(results: list[FitResult]) -> FitResult:
    return FitResult(
        WeightBatch.cat([result.weights for result in results]),
        torch.cat([result.loss for result in results]),
        torch.cat([result.num_steps for result in results]),
    )


@dataclass(frozen=True)
class Workers:
    """Processes of this machine, one a core; on a GPU, this process alone.

    On two cores, two processes fit 1.06 times as many INRs as one with two threads that wait for
    each other at every step, and 17 times as many beside a busy process of another session
    (``scripts/bench/fit.json``). They load PyTorch once for all, in 6 s of one core, and take 35 MB
    each beside 440 MB in common.

    Attributes:
        num_workers: How many fit at a time, with one thread each; null for one on each core that
            this process may use (see ``OMP_NUM_THREADS``, CPU affinity and cgroups), and for this
            process alone in short fits. Results do not depend on it.

    Raises:
        ValueError: If the number is out of range.
    """

    num_workers: int | None = None

    def __post_init__(self) -> None:
        if self.num_workers is not None and self.num_workers < 1:
            raise UserError(
                f"expected engine.num_workers >= 1 or null, got {self.num_workers}; null takes "
                "one a core"
            )

    def run(self, jobs: Iterable[FitJob], on_progress: OnProgress) -> Results:
        """See ``Engine``. Results come in the order of the jobs.

        Raises:
            ValueError: If a fit failed, or a worker process was ended from outside.
        """
        most = (self.num_workers or num_usable_cores()) if hasattr(os, "fork") else 1
        jobs_in_chunks = ((n, job.chunks(_chunk_size_here(job))) for n, job in enumerate(jobs))
        begun: list[tuple[int, list[FitJob]]] = []
        chunks: list[FitJob] = []  # of these jobs, as many as it takes to decide
        work = 0
        while len(chunks) < most or (work < WORK_FOR_WORKERS and len(chunks) < MAX_SMALL_CHUNKS):
            if (item := next(jobs_in_chunks, None)) is None:
                break
            begun.append(item)
            chunks += item[1]
            work += sum(chunk.work for chunk in item[1])
        everything = chain(begun, jobs_in_chunks)
        num_workers = min(most, len(chunks))
        pays = self.num_workers or work >= WORK_FOR_WORKERS
        on_cpu = all(map(_is_on_cpu, chunks))
        if on_cpu and num_workers > 1 and pays:
            compiled = chunks[0].compiled
            with WorkerPool(num_workers, compiled=compiled, on_progress=on_progress) as pool:
                yield from run_in_chunks(everything, pool, ahead=2 * num_workers)
        else:
            num_together = 1 if on_cpu else _shards_at_once(chunks)
            with one_thread() if on_cpu else nullcontext():
                here = _ThisProcess(on_progress, num_together)
                yield from run_in_chunks(everything, here, ahead=num_together)


def _chunk_size_here(job: FitJob) -> int:
    device = find_device(job.config.device, option="fit.device")
    return chunk_size(job.config, job.initial.spec, job.num_points, device)


def _shards_at_once(chunks: Sequence[FitJob]) -> int:
    """How many shards of the size of the first the device takes at once."""
    return max(1, _chunk_size_here(chunks[0]) // chunks[0].initial.batch_size) if chunks else 1


def _is_on_cpu(job: FitJob) -> bool:
    return find_device(job.config.device, option="fit.device").type == "cpu"


class _ThisProcess:
    """A ``Pool`` that fits chunks by itself, so many at once as one.

    Args:
        on_progress: See ``OnProgress``.
        num_together: Chunks of shards that are smaller than what the device takes at once.
    """

    def __init__(self, on_progress: OnProgress, num_together: int = 1) -> None:
        self._on_progress, self._num_together = on_progress, num_together
        self._next: list[tuple[ChunkKey, FitJob]] = []

    def has_room(self, num_waiting: int) -> bool:
        return len(self._next) < self._num_together

    def submit(self, key: ChunkKey, job: FitJob) -> None:
        self._next.append((key, job))

    def collect(self) -> list[tuple[ChunkKey, FitResult]]:
        keys, jobs = zip(*self._next, strict=True)
        self._next = []
        result = _together(jobs).run(self._on_progress)
        sizes = [job.initial.batch_size for job in jobs]
        return list(zip(keys, _split(result, sizes), strict=True))


def _together(jobs: Sequence[FitJob]) -> FitJob:
    """One job for all, which differ in their networks and what these are fitted to only."""
    first, *others = jobs
    if not others:
        return first
    is_shared = first.inputs.ndim == 2
    return replace(
        first,
        initial=WeightBatch.cat([job.initial for job in jobs]),
        inputs=first.inputs if is_shared else torch.cat([job.inputs for job in jobs]),
        targets=torch.cat([job.targets for job in jobs]),
    )


def _split(result: FitResult, sizes: Sequence[int]) -> list[FitResult]:
    ends = list(accumulate(sizes))
    return [
        FitResult(result.weights[a:b], result.loss[a:b], result.num_steps[a:b])
        for a, b in pairwise([0, *ends])
    ]


@dataclass(frozen=True)
class Ray:
    """Chunks as tasks of a Ray cluster; a task whose machine goes away is run again elsewhere.

    Every machine needs dws with the extra ``cluster``. Each task takes one processor. Results are
    the same bytes as those of this machine's workers, on processors of the same kind.

    Attributes:
        address: Of the cluster, ``auto`` for the one that this machine belongs to, or None to start
            one of this machine alone.
        num_gpus: GPUs for each task, which then fits a whole shard; None for one if the cluster has
            any and ``fit.device`` is not ``cpu``.
        max_retries: How often a task is begun again after its machine or process went away.

    Raises:
        ValueError: If a number is out of range.
    """

    address: str | None = None
    num_gpus: float | None = None
    max_retries: int = 10

    def __post_init__(self) -> None:
        if (self.num_gpus or 0) < 0 or self.max_retries < 0:
            raise UserError(
                "expected engine.num_gpus >= 0 and engine.max_retries >= 0, "
                f"got {self.num_gpus} and {self.max_retries}"
            )

    def run(self, jobs: Iterable[FitJob], on_progress: OnProgress) -> Results:
        """See ``Engine``. Results come in the order of the jobs; networks are reported by chunk.

        Raises:
            ValueError: If Ray is not installed, or a fit failed.
            ConnectionError: If there is no cluster at ``address``, none of its machines has room
                for a task, or it lost a task for good.
        """
        ray = _connect(self.address)
        try:
            has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
            num_gpus = float(has_gpus) if self.num_gpus is None else self.num_gpus
            placed = (_place(job, num_gpus) for job in jobs)
            chunks = (job.chunks(_chunk_size_there(job)) for job in placed)
            pool = _RayTasks(ray, num_gpus, self.max_retries, on_progress)
            yield from run_in_chunks(enumerate(chunks), pool, ahead=pool.size())
        finally:
            ray.shutdown()


def _place(job: FitJob, num_gpus: float) -> FitJob:
    """The job for the device that it will find on a machine that gives it so many GPUs."""
    if job.config.device == "auto" and num_gpus == 0:
        return replace(job, config=replace(job.config, device="cpu"))
    return job


def _chunk_size_there(job: FitJob) -> int:
    """A GPU of a machine that is not known takes a whole shard."""
    on_gpu = job.config.device != "cpu"
    return job.config.chunk_size or (job.initial.batch_size if on_gpu else CPU_CHUNK_SIZE)


class _RayTasks:
    """A ``Pool`` of tasks."""

    def __init__(
        self, ray: Any, num_gpus: float, max_retries: int, on_progress: OnProgress
    ) -> None:
        self._ray, self._num_gpus, self._max_retries = ray, num_gpus, max_retries
        self._on_progress = on_progress
        self._running: dict[Any, tuple[ChunkKey, float]] = {}

    def size(self) -> int:
        """How many tasks to have: one more waits on each processor, while results travel."""
        return 2 * max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def has_room(self, num_waiting: int) -> bool:
        return len(self._running) < self.size()

    def submit(self, key: ChunkKey, job: FitJob) -> None:
        num_gpus = 0.0 if job.config.device == "cpu" else self._num_gpus
        if not self._running:
            self._check_room(num_gpus)
        task = self._ray.remote(_run_on_worker).options(
            num_cpus=1,
            num_gpus=num_gpus,
            max_retries=self._max_retries,
            scheduling_strategy="SPREAD",
        )
        self._running[task.remote(job)] = key, num_gpus

    def collect(self) -> list[tuple[ChunkKey, FitResult]]:
        done, _ = self._ray.wait(list(self._running), timeout=PATIENCE)
        if not done:
            self._check_room(max(num_gpus for _, num_gpus in self._running.values()))
            return []
        key, _ = self._running.pop(done[0])
        result = self._result(done[0])
        self._on_progress(float(len(result.loss)), result.loss)
        return [(key, result)]

    def _result(self, reference: Any) -> FitResult:
        """What a task gave, or its error as one of the documented kinds."""
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)  # type: ignore[no-any-return]
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, (UserError, OSError)):
                raise error.cause from error
            reason = str(error.cause).strip().splitlines() or [type(error.cause).__name__]
            raise UserError(
                f"expected dws of this version and what it needs on every machine of the cluster, "
                f"got a fit that failed there: {reason[-1]}"
            ) from error
        except exceptions.RayError as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UnreachableError(
                f"expected machines that stay for one fit, got a fit that was lost "
                f"{self._max_retries + 1} times ({reason[0]}); rerun the same command to "
                "resume"
            ) from error

    def _check_room(self, num_gpus: float) -> None:
        """Raise unless some machine of the cluster can run a task."""
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(have.get("CPU", 0) >= 1 and have.get("GPU", 0) >= num_gpus for have in alive):
            there = ", ".join(f"{h.get('CPU', 0):.0f} and {h.get('GPU', 0):.0f}" for h in alive)
            raise UnreachableError(
                f"expected a machine with 1 processor and {num_gpus:g} GPUs in the "
                f"cluster, got {there or 'none'}; set engine.num_gpus"
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


def _run_on_worker(job: FitJob) -> FitResult:
    if job.compiled and not compiler_works():
        raise UserError(
            f"expected a C++ compiler that works on {socket.gethostname()}, as on the machine that "
            f"began the fit, but {compiler_problem()}, or use fit.compile=never"
        )
    keep_freed_memory()
    with one_thread():
        return job.run()
