"""CUDA graphs: record a step of many small kernels once and launch them together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

from dws.errors import UserError

NUM_WARM_UP = 3  # calls before the recorded one, in which libraries and optimisers allocate memory
T = TypeVar("T")


class Captured(Generic[T]):
    """A function of tensors that is replayed as a CUDA graph after its first calls.

    The first ``NUM_WARM_UP`` calls run the function itself. The next call records its kernels, and
    that call and all later ones launch them together without running Python. A function that
    synchronises the host with the GPU cannot be recorded. The last warm-up call detects this and
    prints a message, and all later calls run the function itself.

    The function may change tensors in place. Everything that differs between calls has to be in
    tensors, because Python numbers keep the values that they have during recording.

    Args:
        function: A function of tensors whose shapes are the same in every call.
        device: The CUDA device that the function runs on.
        generators: Random generators that the function uses, besides PyTorch's default ones.
        option: Name of the setting that disables recording, for messages.
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
        self._synchronizes = False  # whether the function makes the host wait for the GPU
        self._replay: Callable[[], None] | None = None
        self._inputs: list[Tensor] = []
        self._output: T

    def __call__(self, *inputs: Tensor) -> T:
        """Call the function.

        Returns:
            The output of the function. The next call overwrites its tensors.

        Raises:
            UserError: If recording fails for another reason than a synchronisation.
        """
        if self._synchronizes:
            return self._function(*inputs)
        if self._num_calls < NUM_WARM_UP:
            self._num_calls += 1
            output, location = warm_up(lambda: self._function(*inputs), self._device)
            self._synchronizes = self._num_calls == NUM_WARM_UP and location is not None
            if self._synchronizes:
                print(
                    f"dws: this step makes the host wait for the GPU ({location}), so it does not "
                    f"run as a CUDA graph; set {self._option}=never to silence this message"
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
        for static, new in zip(self._inputs, inputs, strict=True):
            static.copy_(new)
        self._replay()
        return self._output


class Delayed:
    """Asynchronous transfer of numbers to the host, which reads them one call later."""

    def __init__(self) -> None:
        self._copy: Tensor | None = None
        self._is_copied: torch.cuda.Event | None = None

    def exchange(self, numbers: Tensor) -> list[float] | None:
        """Start copying numbers to the host.

        Returns:
            The numbers of the previous call, or None in the first call.
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
    """Return whether the device supports CUDA graphs."""
    return device.type == "cuda" and torch.version.cuda is not None


def warm_up(function: Callable[[], T], device: torch.device) -> tuple[T, str | None]:
    """Call a function on a separate stream, as recording does.

    Returns:
        The output of the function, and the file and line at which it synchronised the host with the
        GPU, or None.
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
    location = None
    for warning in caught:
        if "called a synchronizing CUDA operation" in str(warning.message):
            location = f"{warning.filename}:{warning.lineno}"
        elif "Synchronization debug mode is a prototype" not in str(warning.message):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return output, location


def record(
    function: Callable[[], T], device: torch.device, generators: Sequence[torch.Generator]
) -> tuple[Callable[[], None], T]:
    """Record the kernels that a function launches, without running them.

    Returns:
        A function that runs the kernels, and the output, whose tensors every run overwrites.
    """
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)
    with torch.cuda.device(device), torch.cuda.graph(graph):
        output = function()
    return graph.replay, output
