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
    """Images of one size: first the images for training and validation, then the test images.

    Attributes:
        images: Pixel values, (n, rows, columns, channels), uint8.
        classes: Class of each image, (n,), starting at 0.
        num_fit: Number of images for training and validation.
        checksums: Checksum of each file, by algorithm and file name.
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
    from torchvision.datasets import CIFAR10  # imported here because the import takes a second

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
    """Construct the images that a manifest records.

    Args:
        record: ``name`` of the signals and the result of ``ImageSignals.describe``.
        root: Data folder, see ``ImageSignals``.
        what: Origin of the record, for error messages.

    Raises:
        ValueError: If the record does not describe images, or the images in ``root`` differ.
        FileNotFoundError: If the images do not exist and cannot be downloaded.
    """
    name = str(record.get("name"))
    if name not in SOURCES or not {"seed", "num_val"} <= record.keys():
        raise UserError(
            f"{what} does not record the images that its networks were fitted to: its signals are "
            f"{name!r}. Use a zoo of {', '.join(SOURCES)} that was fitted by dws-fit-inrs."
        )
    source = ImageSignals(name, root=root, seed=record["seed"], num_val=record["num_val"])
    if {"name": name, **source.describe()} != dict(record):
        raise UserError(
            f"{what} records other images of {name} than those in {root}. Restore the files that "
            "the zoo was fitted to, or fit the zoo again."
        )
    return source


class ImageSignals:
    """Images of MNIST, Fashion-MNIST or CIFAR-10, with the label ``label`` from 0 to 9.

    Signals are numbered from 0: first the training images, then the test images, in the order of
    the files. The validation split is a random class-balanced subset of the training images that
    depends on ``seed``.

    Args:
        name: ``mnist``, ``fashion_mnist`` or ``cifar10``.
        root: Data folder in torchvision's layout. Missing files are downloaded.
        seed: Seed of the zoo.
        num_val: Number of training images set aside for validation.

    Raises:
        ValueError: If the name is unknown, or ``num_val`` leaves a split empty.
        FileNotFoundError: If the data do not exist and cannot be downloaded.
    """

    def __init__(self, name: str, *, root: str | Path, seed: int = 0, num_val: int = 5000) -> None:
        if name not in SOURCES:
            raise UserError(f"expected images of {', '.join(SOURCES)}, got {name!r}")
        source = SOURCES[name](Path(root))
        if not 1 <= num_val < source.num_fit:
            raise UserError(
                f"expected num_val between 1 and {source.num_fit - 1}, because {name} has "
                f"{source.num_fit} images for training and validation, got {num_val}"
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
        """Return seeded, class-balanced splits; a limit selects a subset of each full split."""
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
        """Return grey values or RGB values in [0, 1], pixels row by row."""
        return self.images[ids].flatten(1, 2).float() / 255

    def labels(self, ids: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """Return ``label``, the class of each image, (n,)."""
        return {"label": self.classes[ids]}

    def describe(self) -> dict[str, object]:
        """Return the seed, the checksums of the files and the size of the validation split."""
        return {
            "seed": self.seed,
            **self.checksums,
            "num_val": self.num_val,
        }
