"""A data set of small images that is installed and verified like the real data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from dws.signals import download
from dws.signals.download import Dataset


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def picture_files(num_train: int, num_test: int) -> dict[str, bytes]:
    """Random images of 4 x 4 pixels in ten classes."""
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": idx_bytes(rng.integers(0, 256, (num_train, 4, 4))),
        "train-labels-idx1-ubyte": idx_bytes(np.arange(num_train) % 10),
        "t10k-images-idx3-ubyte": idx_bytes(rng.integers(0, 256, (num_test, 4, 4))),
        "t10k-labels-idx1-ubyte": idx_bytes(np.arange(num_test) % 10),
    }


def offer_pictures(
    monkeypatch: pytest.MonkeyPatch,
    files: Mapping[str, bytes],
    sources: Mapping[str, Callable[[Dataset, Path], None]],
) -> dict[str, Dataset]:
    """Replace ``mnist`` by these files, from these sources."""
    checksums = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    datasets = {"mnist": Dataset("MNIST", checksums, sources)}
    monkeypatch.setattr(download, "DATASETS", datasets)
    monkeypatch.setattr("dws.signals.images.DATASETS", datasets)
    return datasets


def write_pictures(monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """Replace ``mnist`` by 160 and 60 small images, which are written below ``root``."""
    files = picture_files(160, 60)
    offer_pictures(monkeypatch, files, {})
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    return root


SMALL_TASKS = {
    "size": (2, 2), "num_images": 4, "num_val_images": 40, "num_train": 40, "num_val": 8,
    "num_test": 8,
}  # fmt: skip
