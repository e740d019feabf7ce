"""A data set of 60 small pictures that is found, verified and refused as the real ones are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dws.signals import download
from dws.signals.download import Dataset


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def files() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": idx_bytes(rng.integers(0, 256, (40, 4, 4))),
        "train-labels-idx1-ubyte": idx_bytes(np.arange(40) % 10),
        "t10k-images-idx3-ubyte": idx_bytes(rng.integers(0, 256, (20, 4, 4))),
        "t10k-labels-idx1-ubyte": idx_bytes(np.arange(20) % 10),
    }


@pytest.fixture
def offer(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Dataset]]:
    """Make ``mnist`` mean the small pictures, from the sources given."""

    def install(**sources: Callable[[Dataset, Path], None]) -> dict[str, Dataset]:
        checksums = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
        datasets = {"mnist": Dataset("MNIST", checksums, sources)}
        monkeypatch.setattr(download, "DATASETS", datasets)
        monkeypatch.setattr("dws.signals.images.DATASETS", datasets)
        return datasets

    return install
