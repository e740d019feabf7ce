"""Tensors that have a device and a shape and no values, to find mistakes that only a GPU shows.

On such tensors an operation of two devices fails, and so does whatever makes the host wait for the
device: ``.item()``, ``bool(tensor)``, ``torch.equal``, indexing by a mask. No GPU is needed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

import torch
from torch._subclasses import FakeTensorMode

from dws.weightspace import WeightBatch, WeightSpaceSpec

GPU = "cuda"
DIFFERENTIABLE = "lazy:0"  # backward() on fake CUDA tensors needs a real GPU; on these it does not


@contextmanager
def fake_device(name: str = GPU) -> Iterator[None]:
    """Make every new tensor a fake one of this device.

    A ``torch.Generator`` of a GPU needs a real one; one of the CPU takes its place.
    """
    autocast = torch.autocast if name == GPU else lambda *_, **__: nullcontext()  # "lazy" has none
    with (
        mock.patch.object(torch, "Generator", _Generator),
        mock.patch.object(torch, "autocast", autocast),
        warnings.catch_warnings(),
        _Mode(),
        torch.device(name),
    ):
        warnings.filterwarnings("ignore", "Accessing the data pointer of FakeTensor")  # deepcopy
        yield


class _Mode(FakeTensorMode):
    def __deepcopy__(self, memo: object) -> _Mode:
        return self  # copies of its tensors are its own


class _Generator(torch.Generator):
    def __new__(cls, device: object = None) -> _Generator:
        return super().__new__(cls)


def fake_batch(spec: WeightSpaceSpec, size: int = 4, channels: int = 1) -> WeightBatch:
    """Networks on the default device."""
    return WeightBatch.from_flat(spec, torch.randn(size, spec.num_params, channels))
