"""Fake tensors with device and shape but no values, to find errors that occur only on a GPU.

Operations on two devices fail, and so do all operations that make the host wait for the
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
DIFFERENTIABLE = "lazy:0"  # backward() on fake CUDA tensors needs a real GPU, unlike here


@contextmanager
def fake_device(name: str = GPU) -> Iterator[None]:
    """Context in which every new tensor is a fake tensor of this device.

    CPU generators replace generators of a GPU, which need a real GPU.
    """
    # "lazy" has no autocast
    autocast = torch.autocast if name == GPU else lambda *_, **__: nullcontext()
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
        return self  # deep copies of tensors share the mode


class _Generator(torch.Generator):
    def __new__(cls, device: object = None) -> _Generator:
        return super().__new__(cls)


def fake_batch(spec: WeightSpaceSpec, size: int = 4, channels: int = 1) -> WeightBatch:
    """Networks on the default device."""
    return WeightBatch.from_flat(spec, torch.randn(size, spec.num_params, channels))
