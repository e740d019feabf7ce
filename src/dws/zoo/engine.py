"""Engines that run the fits of a zoo: worker processes of this machine, or a Ray cluster.

An engine takes jobs, one per shard, and returns fitted networks. It writes no files; only the
process that builds the zoo writes.

Both engines split a shard into the same chunks and fit each chunk with one thread. The result
therefore does not depend on the machine or on the number of concurrent chunks.
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

PATIENCE = 60  # seconds without a result after which the cluster's resources are checked again

# Steps x networks x points from which worker processes pay off: about 15 s of one core.
WORK_FOR_WORKERS = 1e8
MAX_SMALL_CHUNKS = 64  # number of chunks that are examined for this decision

Results = Generator[tuple[int, FitResult], None, None]
ChunkKey = tuple[int, int]  # index of a job, and of a chunk within it


@dataclass(frozen=True, eq=False)
class FitJob:
    """The fit of one shard, or of a chunk of it; contains all data to run on any machine.

    Attributes:
        family: Forward pass and loss of the networks.
        initial: The n initial networks, with one channel.
        inputs: P inputs that all networks share, (P, d_0), or separate ones, (n, P, d_0).
        targets: Target values, (n, P, d_M).
        config: Settings of the fit.
        compiled: Whether to run the compiled training step.
    """

    family: Family
    initial: WeightBatch
    inputs: Float[Tensor, "*n p d_0"]
    targets: Float[Tensor, "n p d_m"]
    config: FitConfig
    compiled: bool

    @property
    def work(self) -> int:
        """Upper bound of steps x networks x points."""
        return self.initial.batch_size * self.config.num_steps * self.num_points

    @property
    def num_points(self) -> int:
        """Number of points P."""
        return self.targets.shape[1]

    def chunks(self, size: int) -> list[FitJob]:
        """Split the job into jobs of at most ``size`` networks, which are fitted as one batch."""
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
        """Fit all networks as one batch; the result is on the CPU.

        Raises:
            ValueError: If the device is not available, or a fit diverges to NaN or infinity.
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
    """Protocol of engines, which run jobs."""

    def run(self, jobs: Iterable[FitJob], on_progress: OnProgress) -> Results:
        """Run every job once.

        Args:
            jobs: The jobs. They are consumed one by one, when there is room for another.
            on_progress: Called as the fits progress, see ``OnProgress``.

        Yields:
            Index and result of a job.
        """


@runtime_checkable
class Pool(Protocol):
    """Protocol of pools, which execute chunks."""

    def has_room(self, num_waiting: int) -> bool:
        """Whether to submit another of the waiting chunks."""

    def submit(self, key: ChunkKey, job: FitJob) -> None:
        """Start or queue a chunk."""

    def collect(self) -> list[tuple[ChunkKey, FitResult]]:
        """Wait for an event and return the chunks that are finished, possibly none."""


def run_in_chunks(jobs: Iterable[tuple[int, list[FitJob]]], pool: Pool, *, ahead: int) -> Results:
    """Run jobs in chunks; chunks of several jobs run concurrently.

    Args:
        jobs: Index and chunks of each job.
        pool: Executes the chunks.
        ahead: Number of chunks to prepare in advance.

    Yields:
        Index and result of each job, in the given order.
    """
    numbered = iter(jobs)
    waiting: deque[tuple[ChunkKey, FitJob]] = deque()
    parts: dict[int, list[FitResult | None]] = {}  # results of unfinished jobs, by chunk
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
    """Engine that runs worker processes on this machine, or only this process if it uses a GPU.

    On two cores, two single-threaded processes fit 1.06 times as many INRs as one process with two
    threads, which synchronise at every step. Beside a busy process of another session, they fit 17
    times as many (``scripts/bench/fit.json``). PyTorch is imported once for all workers, which
    takes 6 s of one core. The workers share 440 MB of memory and use 35 MB each.

    Attributes:
        num_workers: Number of concurrent single-threaded workers. null for one per core that this
            process may use (see ``OMP_NUM_THREADS``, CPU affinity and cgroups), and for no workers
            in short fits. Results do not depend on it.

    Raises:
        ValueError: If ``num_workers`` is out of range.
    """

    num_workers: int | None = None

    def __post_init__(self) -> None:
        if self.num_workers is not None and self.num_workers < 1:
            raise UserError(
                f"engine.num_workers must be at least 1 or null (one per core), got "
                f"{self.num_workers}"
            )

    def run(self, jobs: Iterable[FitJob], on_progress: OnProgress) -> Results:
        """Run every job once, see ``Engine``. Results come in the order of the jobs.

        Raises:
            ValueError: If a fit failed, or a worker process was terminated.
        """
        max_workers = (self.num_workers or num_usable_cores()) if hasattr(os, "fork") else 1
        jobs_in_chunks = ((n, job.chunks(_local_chunk_size(job))) for n, job in enumerate(jobs))
        first_jobs: list[tuple[int, list[FitJob]]] = []
        chunks: list[FitJob] = []  # of the first jobs, to decide whether workers pay off
        work = 0
        while len(chunks) < max_workers or (
            work < WORK_FOR_WORKERS and len(chunks) < MAX_SMALL_CHUNKS
        ):
            if (item := next(jobs_in_chunks, None)) is None:
                break
            first_jobs.append(item)
            chunks += item[1]
            work += sum(chunk.work for chunk in item[1])
        all_jobs = chain(first_jobs, jobs_in_chunks)
        num_workers = min(max_workers, len(chunks))
        pays_off = self.num_workers or work >= WORK_FOR_WORKERS
        on_cpu = all(map(_is_on_cpu, chunks))
        if on_cpu and num_workers > 1 and pays_off:
            compiled = chunks[0].compiled
            with WorkerPool(num_workers, compiled=compiled, on_progress=on_progress) as pool:
                yield from run_in_chunks(all_jobs, pool, ahead=2 * num_workers)
        else:
            batch_chunks = 1 if on_cpu else _num_shards_in_a_batch(chunks)
            with one_thread() if on_cpu else nullcontext():
                local = _LocalPool(on_progress, batch_chunks)
                yield from run_in_chunks(all_jobs, local, ahead=batch_chunks)


def _local_chunk_size(job: FitJob) -> int:
    device = find_device(job.config.device, option="fit.device")
    return chunk_size(job.config, job.initial.spec, job.num_points, device)


def _num_shards_in_a_batch(chunks: Sequence[FitJob]) -> int:
    """Number of shards, of the size of the first, that the device fits as one batch."""
    return max(1, _local_chunk_size(chunks[0]) // chunks[0].initial.batch_size) if chunks else 1


def _is_on_cpu(job: FitJob) -> bool:
    return find_device(job.config.device, option="fit.device").type == "cpu"


class _LocalPool:
    """A ``Pool`` that fits chunks in this process.

    Args:
        on_progress: See ``OnProgress``.
        batch_chunks: Number of chunks that are fitted as one batch, for shards that are smaller
            than the chunk size of the device.
    """

    def __init__(self, on_progress: OnProgress, batch_chunks: int = 1) -> None:
        self._on_progress, self._batch_chunks = on_progress, batch_chunks
        self._queue: list[tuple[ChunkKey, FitJob]] = []

    def has_room(self, num_waiting: int) -> bool:
        return len(self._queue) < self._batch_chunks

    def submit(self, key: ChunkKey, job: FitJob) -> None:
        self._queue.append((key, job))

    def collect(self) -> list[tuple[ChunkKey, FitResult]]:
        keys, jobs = zip(*self._queue, strict=True)
        self._queue = []
        result = _concatenate(jobs).run(self._on_progress)
        sizes = [job.initial.batch_size for job in jobs]
        return list(zip(keys, _split(result, sizes), strict=True))


def _concatenate(jobs: Sequence[FitJob]) -> FitJob:
    """Concatenate jobs that differ only in their networks, inputs and targets."""
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
    """Engine that runs chunks as tasks of a Ray cluster.

    A task is restarted on another machine if its machine fails. Every machine needs dws with the
    extra ``cluster``. Each task uses one processor. On processors of the same kind, the results are
    identical to those of ``Workers``.

    Attributes:
        address: Address of the cluster. ``auto`` for the cluster that this machine belongs to; None
            to start a cluster on this machine alone.
        num_gpus: GPUs per task; a task on a GPU fits a whole shard. None for one GPU if the cluster
            has any and ``fit.device`` is not ``cpu``.
        max_retries: How often a task is restarted after its machine or process failed.

    Raises:
        ValueError: If a number is out of range.
    """

    address: str | None = None
    num_gpus: float | None = None
    max_retries: int = 10

    def __post_init__(self) -> None:
        if (self.num_gpus or 0) < 0 or self.max_retries < 0:
            raise UserError(
                "engine.num_gpus and engine.max_retries must be at least 0, "
                f"got {self.num_gpus} and {self.max_retries}"
            )

    def run(self, jobs: Iterable[FitJob], on_progress: OnProgress) -> Results:
        """Run every job once, see ``Engine``. Results come in the order of the jobs.

        Progress is reported once per chunk.

        Raises:
            ValueError: If Ray is not installed, or a fit failed.
            ConnectionError: If no cluster is found at ``address``, no machine has the resources
                for a task, or a task failed more than ``max_retries`` times.
        """
        ray = _connect(self.address)
        try:
            has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
            num_gpus = float(has_gpus) if self.num_gpus is None else self.num_gpus
            placed = (_with_device(job, num_gpus) for job in jobs)
            chunks = (job.chunks(_remote_chunk_size(job)) for job in placed)
            pool = _RayPool(ray, num_gpus, self.max_retries, on_progress)
            yield from run_in_chunks(enumerate(chunks), pool, ahead=pool.size())
        finally:
            ray.shutdown()


def _with_device(job: FitJob, num_gpus: float) -> FitJob:
    """Set the device of a job to the CPU if it is chosen automatically and tasks have no GPU."""
    if job.config.device == "auto" and num_gpus == 0:
        return replace(job, config=replace(job.config, device="cpu"))
    return job


def _remote_chunk_size(job: FitJob) -> int:
    """Chunk size on another machine; a GPU, whose memory is unknown here, fits a whole shard."""
    on_gpu = job.config.device != "cpu"
    return job.config.chunk_size or (job.initial.batch_size if on_gpu else CPU_CHUNK_SIZE)


class _RayPool:
    """A ``Pool`` that runs chunks as Ray tasks."""

    def __init__(
        self, ray: Any, num_gpus: float, max_retries: int, on_progress: OnProgress
    ) -> None:
        self._ray, self._num_gpus, self._max_retries = ray, num_gpus, max_retries
        self._on_progress = on_progress
        self._running: dict[Any, tuple[ChunkKey, float]] = {}

    def size(self) -> int:
        """Maximum number of tasks: two per processor, so that none is idle during transfers."""
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
        """Result of a task; errors are converted to those that ``Ray.run`` documents."""
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)  # type: ignore[no-any-return]
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, (UserError, OSError)):
                raise error.cause from error
            reason = str(error.cause).strip().splitlines() or [type(error.cause).__name__]
            raise UserError(
                f"A fit failed on a machine of the cluster: {reason[-1]}. Check that every machine "
                "has this version of dws and its dependencies."
            ) from error
        except exceptions.RayError as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UnreachableError(
                f"A fit was lost {self._max_retries + 1} times because its machine or process "
                f"failed ({reason[0]}). Rerun the same command to resume."
            ) from error

    def _check_room(self, num_gpus: float) -> None:
        """Raise an error unless a machine of the cluster has the resources for a task."""
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        pairs = [(resources.get("CPU", 0), resources.get("GPU", 0)) for resources in machines]
        if not any(num_cpus >= 1 and gpus >= num_gpus for num_cpus, gpus in pairs):
            found = ", ".join(
                f"{num_cpus:.0f} processors and {gpus:.0f} GPUs" for num_cpus, gpus in pairs
            )
            raise UnreachableError(
                f"No machine of the cluster has 1 processor and {num_gpus:g} GPUs, found: "
                f"{found or 'no machine'}. Set engine.num_gpus."
            )


def _connect(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "engine=ray needs Ray, which is not installed. Install it with: "
            "pip install 'dwsnets[cluster]'"
        ) from error
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    in_main_thread = threading.current_thread() is threading.main_thread()
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", **options)
    except RuntimeError as error:  # other version, or already connected
        reason = " ".join(str(error).split())
        raise UnreachableError(f"Cannot connect to the Ray cluster: {reason}") from error
    if in_main_thread:
        signal.signal(signal.SIGTERM, on_terminate)  # ray.init replaces the handler
    return ray


def _run_on_worker(job: FitJob) -> FitResult:
    if job.compiled and not compiler_works():
        raise UserError(
            f"The fit is compiled, but no working C++ compiler was found on {socket.gethostname()}:"
            f" {compiler_problem()}, or use fit.compile=never."
        )
    keep_freed_memory()
    with one_thread():
        return job.run()
