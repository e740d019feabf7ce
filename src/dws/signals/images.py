"""Images as functions from pixel coordinates to values (Navon et al. 2023, Section 7.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from dws.errors import UserError
from dws.seeding import balanced_subset, derive_seed
from dws.signals.download import DATASETS, ensure_cifar10, ensure_dataset, read_idx
from dws.signals.source import limit_sizes


@dataclass(frozen=True)
class Images:
    """Images of one size: those for training and validation, then those for testing.

    Attributes:
        images: (n, rows, columns, channels) uint8.
        classes: (n,), from 0.
        num_fit: Number of images for training and validation.
        checksums: Of each file, by algorithm.
    """

    images: UInt8[Tensor, "n rows columns channels"]
    classes: Int[Tensor, " n"]
    num_fit: int
    checksums: dict[str, dict[str, str]]


def _read_grey(name: str, root: Path) -> Images:
    folder = ensure_dataset(name, root)
    checksums = DATASETS[name].sha256
    parts = {file: read_idx(folder / file) for file in checksums}
    images, classes = (
        torch.cat([parts[f"{part}-{kind}-ubyte"] for part in ("train", "t10k")])
        for kind in ("images-idx3", "labels-idx1")
    )
    num_fit = len(parts["train-labels-idx1-ubyte"])
    return Images(images.unsqueeze(-1), classes.long(), num_fit, {"sha256": dict(checksums)})


def _read_cifar10(root: Path) -> Images:
    from torchvision.datasets import CIFAR10  # a second at import, and needed only here

    ensure_cifar10(root)
    parts = [CIFAR10(root, train=train) for train in (True, False)]
    images = torch.cat([torch.from_numpy(part.data) for part in parts])
    classes = torch.cat([torch.tensor(part.targets) for part in parts])
    checksums = {"md5": dict((*CIFAR10.train_list, *CIFAR10.test_list))}
    return Images(images, classes, len(parts[0].data), checksums)


SOURCES: dict[str, Callable[[Path], Images]] = {
    **{name: partial(_read_grey, name) for name in DATASETS},
    "cifar10": _read_cifar10,
}


def images_of(record: Mapping[str, Any], root: str | Path, *, what: str) -> ImageSignals:
    """The images that a manifest records.

    Args:
        record: ``name`` of the signals, and what ``ImageSignals.describe`` said of them.
        root: See ``ImageSignals``.
        what: Whose record it is, for messages.

    Raises:
        ValueError: If it records something else.
        FileNotFoundError: If the images are not there and cannot be fetched.
    """
    name = str(record.get("name"))
    if name not in SOURCES or not {"seed", "num_val"} <= record.keys():
        raise UserError(
            f"{what} does not say which images its networks were fitted to: expected signals of "
            f"{', '.join(SOURCES)} that dws-fit-inrs has fitted, got {name!r}. Use such a zoo."
        )
    source = ImageSignals(name, root=root, seed=record["seed"], num_val=record["num_val"])
    if {"name": name, **source.describe()} != dict(record):
        raise UserError(
            f"{what} records other images of {name} than those in {root}. Bring back the files "
            "that the zoo was fitted to, or fit it again."
        )
    return source


class ImageSignals:
    """MNIST, Fashion-MNIST or CIFAR-10; the label is ``label``, 0 to 9.

    Signals 0, 1, ... are the training images in the order of the files, then come the test images.
    Validation is a class-balanced draw from the training images that depends on ``seed``.

    Args:
        name: ``mnist``, ``fashion_mnist`` or ``cifar10``.
        root: Data folder in torchvision's layout. Files that are missing are fetched.
        seed: The zoo's seed.
        num_val: Training images set aside for validation.

    Raises:
        ValueError: On an unknown name, or if ``num_val`` leaves no image for one of the splits.
        FileNotFoundError: If the data are not there and cannot be fetched.
    """

    def __init__(self, name: str, *, root: str | Path, seed: int = 0, num_val: int = 5000) -> None:
        if name not in SOURCES:
            raise UserError(f"expected images of {', '.join(SOURCES)}, got {name!r}")
        source = SOURCES[name](Path(root))
        if not 1 <= num_val < source.num_fit:
            raise UserError(
                f"expected num_val between 1 and {source.num_fit - 1}, of {source.num_fit} images "
                f"of {name} for training and validation, got {num_val}"
            )
        self.name = name
        self.seed = seed
        self.num_val = num_val
        self.images = source.images
        self.classes = source.classes
        self.num_fit = source.num_fit
        self.checksums = source.checksums
        self.num_outputs = self.images.shape[-1]
        rows, columns = self.images.shape[1:3]
        self.grid = (rows, columns)
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij"
        )
        self.coordinates = torch.stack([x.flatten(), y.flatten()], dim=1)  # x first

    def split(self, limit: int | None) -> dict[str, Int[Tensor, " n"]]:
        """Seeded and class-balanced; a limit takes a part of each split of the whole."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed))
        fit_classes, test_classes = self.classes[: self.num_fit], self.classes[self.num_fit :]
        is_val = torch.zeros(self.num_fit, dtype=torch.bool)
        is_val[balanced_subset(fit_classes, self.num_val, generator)] = True
        pools = {
            "train": (~is_val).nonzero().squeeze(1),
            "val": is_val.nonzero().squeeze(1),
            "test": self.num_fit + torch.arange(len(test_classes)),
        }
        sizes = limit_sizes({name: len(ids) for name, ids in pools.items()}, limit)
        return {
            name: ids[balanced_subset(self.classes[ids], sizes[name], generator)]
            for name, ids in pools.items()
        }

    def values(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n p d_m"]:
        """Grey values or red, green and blue in [0, 1], pixels row by row."""
        return self.images[ids].flatten(1, 2).float() / 255

    def labels(self, ids: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """``label``, the class of each image."""
        return {"label": self.classes[ids]}

    def describe(self) -> dict[str, object]:
        """Checksums of the files and the size of the validation split."""
        return {
            "seed": self.seed,
            **self.checksums,
            "num_val": self.num_val,
        }
