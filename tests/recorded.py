"""CUDA graphs without a GPU: operations on CPU tensors are recorded and replayed.

As in a CUDA graph, a replay reads and writes the tensors of the recording and runs no Python code,
so numbers computed by Python keep the values of the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dws import capture

T = TypeVar("T")
ATEN = torch.ops.aten
WAITS = (ATEN._local_scalar_dense.default, ATEN.equal.default, ATEN.nonzero.default)


class _Recording(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []
        self.num_replays = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in WAITS:
            raise RuntimeError("operation not permitted when stream is capturing")
        output = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.calls.append((function, args, kwargs or {}, output))
        return output

    @torch.no_grad()
    def replay(self) -> None:
        self.num_replays += 1
        if self.num_replays == 1:  # unlike on a GPU, recording has executed the operations
            return
        for function, args, kwargs, output in self.calls:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(output), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old is not new:
                    old.copy_(new)


@contextmanager
def recording_on_cpus() -> Iterator[list[_Recording]]:
    """Context in which steps are recorded on a CPU; yields the recordings."""
    recordings: list[_Recording] = []

    def warm_up(function: Callable[[], T], device: torch.device) -> tuple[T, str | None]:
        return function(), None

    def record(
        function: Callable[[], T], device: torch.device, generators: Sequence[torch.Generator]
    ) -> tuple[Callable[[], None], T]:
        recordings.append(_Recording())
        with recordings[-1]:
            output = function()
        return recordings[-1].replay, output

    with (
        mock.patch.object(capture, "has_graphs", return_value=True),
        mock.patch.object(capture, "warm_up", warm_up),
        mock.patch.object(capture, "record", record),
    ):
        yield recordings
