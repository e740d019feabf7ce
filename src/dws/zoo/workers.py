"""Single-threaded worker processes that fit chunks.

A source process imports PyTorch and forks the workers, which therefore start immediately and share
its memory. It computes nothing itself. Source and workers form a separate process group, which
Ctrl-C does not reach; the main process ends the group. If the main process is killed, the workers
detect that their connections are closed and end the group.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from dws.errors import UserError
from dws.inr import FitResult
from dws.inr.fit import OnProgress
from dws.runtime import keep_freed_memory

if TYPE_CHECKING:
    from dws.zoo.engine import ChunkKey, FitJob

REPORT_SECONDS = 0.2  # minimum time between two reports of a worker
SIGNALLED = 128  # exit status of a process that signal n ended: 128 + n, as in shells


class WorkerPool:
    """Pool of worker processes, which exist while the context is open.

    Implements the protocol ``Pool`` of the engines.

    Args:
        num_workers: Number of workers.
        compiled: Whether chunks run the compiled training step.
        on_progress: Called with the reports of workers.
    """

    def __init__(self, num_workers: int, *, compiled: bool, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._compiled = compiled
        self._num_workers = num_workers
        self._has_reported = False

    def __enter__(self) -> WorkerPool:
        pairs = [Pipe() for _ in range(self._num_workers)]
        self._running: dict[Connection, deque[ChunkKey]] = {ours: deque() for ours, _ in pairs}
        descriptors = [theirs.fileno() for _, theirs in pairs]
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from dws.zoo.workers import fork_workers; "
            f"fork_workers({descriptors}, compiled={self._compiled})"
        )
        self._source = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            pass_fds=descriptors,
            process_group=0,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"},
        )
        for _, theirs in pairs:
            theirs.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._source.pid, signal.SIGKILL)
        self._source.wait()
        for connection in self._running:
            connection.close()

    def has_room(self, num_waiting: int) -> bool:
        """Whether to submit another of the waiting chunks.

        The first chunk runs alone until it is compiled, so that the others load its code from disk.
        A worker gets a second chunk only while more chunks wait than there are workers, so that the
        last chunks are not queued behind others.
        """
        num_chunks = [len(keys) for keys in self._running.values()]
        if not self._has_reported:
            return not any(num_chunks)
        return min(num_chunks) == 0 or (min(num_chunks) == 1 and num_waiting > len(num_chunks))

    def submit(self, key: ChunkKey, job: FitJob) -> None:
        """Send a chunk to the worker with the fewest chunks."""
        connection = min(self._running, key=lambda each: len(self._running[each]))
        self._running[connection].append(key)
        try:
            connection.send_bytes(pickle.dumps(job))
        except OSError:
            self._raise_worker_ended()

    def collect(self) -> list[tuple[ChunkKey, FitResult]]:
        """Wait for messages of workers and return the chunks that are finished, possibly none.

        Raises:
            ValueError: If a fit failed, or a worker ended.
        """
        finished = []
        for connection in wait(list(self._running)):
            assert isinstance(connection, Connection)
            try:
                message: Any = pickle.loads(connection.recv_bytes())
            except (EOFError, OSError):
                self._raise_worker_ended()
            self._has_reported = True
            if isinstance(message, Exception):
                raise message
            work, loss, result = message
            self._on_progress(work, loss)
            if result is not None:
                finished.append((self._running[connection].popleft(), result))
        return finished

    def _raise_worker_ended(self) -> NoReturn:
        status = self._source.wait()
        number = status - SIGNALLED if status > SIGNALLED else -status
        cause = signal.Signals(number).name if number > 0 else f"status {status}"
        raise UserError(
            f"A worker process ended with {cause}. If memory ran out, decrease engine.num_workers. "
            "Rerun the same command to resume."
        )


def fork_workers(descriptors: Sequence[int], *, compiled: bool) -> NoReturn:
    """Fork a worker for each connection; exits when one of them ends, with its exit status.

    Args:
        descriptors: File descriptors of the connections.
        compiled: Whether chunks run the compiled training step.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # batch systems send it to all processes
    torch.set_num_threads(1)
    keep_freed_memory()
    # imports the modules for compilation and for optimizers once for all workers
    import_module("torch._inductor.compile_fx" if compiled else "torch._dynamo")
    gc.freeze()  # the garbage collector would write to shared pages
    connections = [Connection(descriptor) for descriptor in descriptors]
    for own in connections:
        if os.fork() == 0:
            try:
                for other in connections:
                    if other is not own:
                        other.close()
                _serve(own)
            except BrokenPipeError:  # the main process has ended
                os.killpg(0, signal.SIGKILL)
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(1)
    for connection in connections:
        connection.close()
    status = os.waitstatus_to_exitcode(os.wait()[1])
    os._exit(SIGNALLED - status if status < 0 else status)


def _serve(connection: Connection) -> NoReturn:
    """Fit chunks in the order in which they arrive."""
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                inbox.put(connection.recv_bytes())
        finally:  # the main process has ended
            os.killpg(0, signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        job: FitJob = pickle.loads(inbox.get())
        report = _Report(connection)
        try:
            report.send(job.run(report.add))
        except BrokenPipeError:
            raise
        except Exception as error:
            connection.send_bytes(pickle.dumps(_portable(error)))


class _Report:
    """Collects progress reports of a fit and sends them at most every ``REPORT_SECONDS``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._last = -REPORT_SECONDS
        self._work = 0.0
        self._loss: list[Tensor] = []

    def add(self, work: float, loss: Tensor) -> None:
        """Add a report, see ``OnProgress``."""
        self._work += work
        self._loss.append(loss)
        if time.monotonic() - self._last >= REPORT_SECONDS:
            self.send(None)

    def send(self, result: FitResult | None) -> None:
        """Send the collected reports, with the result if the fit is finished."""
        message = self._work, torch.cat(self._loss), result
        self._connection.send_bytes(pickle.dumps(message))
        self._work, self._loss, self._last = 0.0, [torch.empty(0)], time.monotonic()


def _portable(error: Exception) -> Exception:
    """Convert an error to a type that every process can unpickle, with its traceback as a note."""
    if not isinstance(error, UserError | OSError | MemoryError):
        error = RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
    error.add_note("".join(traceback.format_exception(error)))
    return error
