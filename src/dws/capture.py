"""CUDA graphs: a step of many small kernels that is recorded once and then launched as one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from dws.errors import UserError

NUM_WARM_UP = 3  # calls before the one that is recorded, in which libraries and optimisers allocate
T = TypeVar("T")


class Captured(Generic[T]):
    """A function of tensors that runs as a CUDA graph after its first calls.

    The first ``NUM_WARM_UP`` calls run the function itself. Then its kernels are recorded and from
    there on launched together, without any Python. A function that makes the host wait for the GPU
    cannot be recorded; this is found in the last of the first calls, printed, and all calls run the
    function itself.

    The function may change tensors in place. All that differs between its calls has to be in
    tensors: numbers of Python are recorded as they are in that one call.

    Args:
        function: Takes tensors of the same shapes at every call.
        device: Where it runs.
        generators: Those that the function draws from, besides PyTorch's own.
        option: Name of the setting that turns recording off, for messages.
    """

    def __init__(
        self,
        function: Callable[..., T],
        device: torch.device,
        *,
        generators: Sequence[torch.Generator] = (),
        option: str,
    ) -> None:
        self._function = function
        self._device = device
        self._generators = generators
        self._option = option
        self._num_calls = 0
        self._waits = False  # whether the host waits for the GPU in a call
        self._replay: Callable[[], None] | None = None
        self._inputs: list[Tensor] = []
        self._output: T

    def __call__(self, *inputs: Tensor) -> T:
        """Call the function.

        Returns:
            What the function returns. The next call overwrites its tensors.

        Raises:
            UserError: If recording fails for another reason than a wait of the host.
        """
        if self._waits:
            return self._function(*inputs)
        if self._num_calls < NUM_WARM_UP:
            self._num_calls += 1
            output, complaint = warm_up(lambda: self._function(*inputs), self._device)
            self._waits = self._num_calls == NUM_WARM_UP and complaint is not None
            if self._waits:
                print(
                    f"dws: this step makes the host wait for the GPU, so it is not run as a CUDA "
                    f"graph ({complaint}); {self._option}=never ends this message"
                )
            return output
        if self._replay is None:
            self._inputs = [tensor.clone() for tensor in inputs]
            try:
                self._replay, self._output = record(
                    lambda: self._function(*self._inputs), self._device, self._generators
                )
            except RuntimeError as error:
                raise UserError(
                    f"This step cannot be recorded as a CUDA graph ({str(error).splitlines()[0]}). "
                    f"Set {self._option}=never; rerun the same command to resume."
                ) from error
        for mine, given in zip(self._inputs, inputs, strict=True):
            mine.copy_(given)
        self._replay()
        return self._output


class Delayed:
    """Numbers on a device that the host reads one call late, so that it waits for none."""

    def __init__(self) -> None:
        self._copy: Tensor | None = None
        self._is_copied: torch.cuda.Event | None = None

    def exchange(self, numbers: Tensor) -> list[float] | None:
        """Begin to copy numbers to the host.

        Returns:
            Those of the previous call, or None in the first one.
        """
        copy, is_copied = self._copy, self._is_copied
        on_gpu = numbers.device.type == "cuda"
        self._copy = torch.empty(numbers.shape, dtype=numbers.dtype, pin_memory=on_gpu)
        self._copy.copy_(numbers, non_blocking=True)
        if on_gpu:
            self._is_copied = torch.cuda.Event()
            self._is_copied.record(torch.cuda.current_stream(numbers.device))
        if is_copied is not None:
            is_copied.synchronize()
        return None if copy is None else copy.tolist()


def has_graphs(device: torch.device) -> bool:
    """Whether steps on this device can be recorded."""
    return device.type == "cuda" and torch.version.cuda is not None


def warm_up(function: Callable[[], T], device: torch.device) -> tuple[T, str | None]:
    """Call a function as it is going to be recorded, on a stream of its own.

    Returns:
        What it returned, and where it made the host wait for the GPU, or None.
    """
    current, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    mode = torch.cuda.get_sync_debug_mode()
    stream.wait_stream(current)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with torch.cuda.stream(stream):
                output = function()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    current.wait_stream(stream)
    complaint = None
    for warning in caught:
        if "called a synchronizing CUDA operation" in str(warning.message):
            complaint = f"{warning.filename}:{warning.lineno}"
        elif "Synchronization debug mode is a prototype" not in str(warning.message):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return output, complaint


def record(
    function: Callable[[], T], device: torch.device, generators: Sequence[torch.Generator]
) -> tuple[Callable[[], None], T]:
    """Record what a function launches, without running it.

    Returns:
        What runs it, and the function's output, whose tensors it fills each time.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.device(device), torch.cuda.graph(graph):
        output = function()
    return graph.replay, output
