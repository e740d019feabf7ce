"""Images as functions from pixel coordinates to grey values (Navon et al. 2023, Section 7.1)."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dws.signals.download import DATASETS, ensure_dataset, read_idx
from dws.signals.source import balanced_subset, derive_seed, limit_sizes


class ImageSignals:
    """MNIST or Fashion-MNIST; the label is ``label``, 0 to 9.

    Signals 0..59,999 are the training images, 60,000..69,999 the test images, in the order of the
    files. Validation is a class-balanced draw from the training images that depends on ``seed``.

    Args:
        name: A key of ``DATASETS``: ``mnist`` or ``fashion_mnist``.
        root: Data folder in torchvision's layout; files that are missing are fetched.
        seed: The zoo's seed.
        num_val: Training images set aside for validation.

    Raises:
        ValueError: On an unknown name.
        FileNotFoundError: If the data are not there and cannot be fetched.
    """

    num_outputs = 1

    def __init__(self, name: str, *, root: str | Path, seed: int = 0, num_val: int = 5000) -> None:
        folder = ensure_dataset(name, Path(root))
        self.name = name
        self.seed = seed
        self.num_val = num_val
        parts = [read_idx(folder / file) for file in DATASETS[name].sha256]
        by_name = dict(zip(DATASETS[name].sha256, parts, strict=True))
        self.images = torch.cat([by_name[f"{p}-images-idx3-ubyte"] for p in ("train", "t10k")])
        self.classes = torch.cat(
            [by_name[f"{p}-labels-idx1-ubyte"] for p in ("train", "t10k")]
        ).long()
        self.num_fit = len(by_name["train-labels-idx1-ubyte"])  # train and val together
        rows, columns = self.images.shape[1:]
        self.grid = (rows, columns)
        y, x = torch.meshgrid(
            torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij"
        )
        self.coordinates = torch.stack([x.flatten(), y.flatten()], dim=1)  # x first

    def split(self, limit: int | None) -> dict[str, Int[Tensor, " n"]]:
        """Seeded and class-balanced; a smaller limit takes a part of a larger one."""
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

    def values(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n p 1"]:
        """Grey values in [0, 1], pixels row by row."""
        return self.images[ids].flatten(1).unsqueeze(-1).float() / 255

    def labels(self, ids: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """``label``, the class of each image."""
        return {"label": self.classes[ids]}

    def describe(self) -> dict[str, object]:
        """Checksums of the files and the size of the validation split."""
        return {
            "seed": self.seed,
            "sha256": dict(DATASETS[self.name].sha256),
            "num_val": self.num_val,
        }
