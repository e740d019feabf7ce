"""Binary image classification tasks for zoos of classifiers (after Navon et al. 2023, Sec. 7.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from dws.errors import UserError
from dws.seeding import derive_seed
from dws.signals.images import ImageSignals
from dws.signals.source import SPLITS, limit_sizes

MAX_INPUTS = 64  # of a classifier; with more, nearly all parameters would be in its first layer
CHUNK = 4096  # number of images preprocessed at once
PAIR_STREAM = 2  # separates the random numbers of pairs from those of tasks
SUFFIX = "_pairs"  # appended to the name of the images

Split = Literal["train", "val", "test"]
Half = Literal["fitted", "held_out"]


class BinaryTasks:
    """Binary classification tasks, each between two classes of images.

    The splits have disjoint pairs of classes and disjoint images. In each split, the images of a
    class are divided into two halves: classifiers are fitted to random images of the first half,
    ``"fitted"``; no classifier is fitted to the second half, ``"held_out"``.

    Task i depends only on ``seed`` and i. It consists of a random pair of its split in random order
    and of ``num_images`` random images, half of each class. The labels are ``class_a``, the class
    with target 0, and ``class_b``, the class with target 1.

    Preprocessing of images: they are average-pooled to ``size`` and standardised with the mean and
    standard deviation over all pixels and channels of all pooled training images, both rounded to
    four digits.

    Args:
        name: Images: ``mnist``, ``fashion_mnist`` or ``cifar10``.
        root: Data folder in torchvision's layout. Missing files are downloaded.
        seed: Seed of the zoo.
        size: Number of rows and columns of the pooled images.
        num_images: Number of images that a classifier is fitted to.
        num_val_images: Number of images set aside for validation tasks, see ``num_val`` of
            ``ImageSignals``. The test tasks use the test images.
        num_val_pairs: Number of pairs of classes for validation.
        num_test_pairs: Number of pairs of classes for testing; all others are for training.
        num_train: Number of training tasks.
        num_val: Number of validation tasks.
        num_test: Number of test tasks.

    Raises:
        ValueError: If the name is unknown or a size is out of range.
        FileNotFoundError: If the data do not exist and cannot be downloaded.
    """

    num_outputs = 1

    def __init__(
        self,
        name: str,
        *,
        root: str | Path,
        seed: int = 0,
        size: Sequence[int] = (7, 7),
        num_images: int = 256,
        num_val_images: int = 10_000,
        num_val_pairs: int = 5,
        num_test_pairs: int = 7,
        num_train: int = 40_000,
        num_val: int = 4_000,
        num_test: int = 4_000,
    ) -> None:
        counts = {
            "num_val_pairs": num_val_pairs, "num_test_pairs": num_test_pairs,
            "num_train": num_train, "num_val": num_val, "num_test": num_test,
        }  # fmt: skip
        for key, count in counts.items():
            if count < 1:
                raise UserError(f"expected {key} >= 1, got {count}")
        if num_images < 2 or num_images % 2:
            raise UserError(f"expected an even number num_images >= 2, got {num_images}")
        self._images = ImageSignals(name, root=root, seed=seed, num_val=num_val_images)
        rows, columns, channels = self._images.images.shape[1:]
        if len(size) != 2 or not 1 <= size[0] <= rows or not 1 <= size[1] <= columns:
            raise UserError(
                f"expected size=(rows, columns) of at most {rows} and {columns}, the size of the "
                f"images of {name}, got {tuple(size)}"
            )
        self.num_inputs = size[0] * size[1] * channels
        if self.num_inputs > MAX_INPUTS:
            raise UserError(
                f"A classifier has at most {MAX_INPUTS} inputs, but images have {size[0]} x "
                f"{size[1]} pixels with {channels} channels. Reduce size."
            )
        self.name = f"{name}{SUFFIX}"
        self.seed, self.size, self.num_images = seed, (size[0], size[1]), num_images
        self.num_val_images = num_val_images
        self.num_pairs = {"val": num_val_pairs, "test": num_test_pairs}
        self.sizes: dict[str, int] = dict(zip(SPLITS, (num_train, num_val, num_test), strict=True))
        self.pairs = self._draw_pairs()
        self._pools = {split: self._halves(ids) for split, ids in self._images.split(None).items()}
        smallest = min(len(ids) for pool in self._pools.values() for ids in pool["held_out"])
        if not smallest:
            raise UserError(
                f"num_val_images={num_val_images} leaves fewer than two images of a class of "
                f"{name} for the tasks of a split. Every split needs two of each class."
            )
        if num_images // 2 > smallest:
            raise UserError(
                f"expected num_images of at most {2 * smallest}, because a split has {smallest} "
                f"images of a class for its classifiers, got {num_images}"
            )

    def _draw_pairs(self) -> dict[str, Int[Tensor, "n 2"]]:
        """Draw the pairs of classes of each split."""
        num_classes = int(self._images.classes.max()) + 1
        pairs = torch.tensor(list(combinations(range(num_classes), 2)))
        num_held_out = sum(self.num_pairs.values())
        if num_held_out >= len(pairs):
            raise UserError(
                f"expected num_val_pairs + num_test_pairs < {len(pairs)}, the pairs of "
                f"{num_classes} classes, got {num_held_out}"
            )
        generator = torch.Generator().manual_seed(derive_seed(self.seed, PAIR_STREAM))
        order = torch.randperm(len(pairs), generator=generator)
        sizes = {"train": len(pairs) - num_held_out, **self.num_pairs}
        parts = pairs[order].split([sizes[name] for name in SPLITS])
        return dict(zip(SPLITS, parts, strict=True))

    def _halves(self, ids: Int[Tensor, " n"]) -> dict[str, list[Tensor]]:
        """Divide the image ids of a split into halves, each a list with the ids of each class."""
        classes = self._images.classes[ids]
        ids_by_class = [ids[classes == label] for label in range(int(classes.max()) + 1)]
        halves = [class_ids.tensor_split(2) for class_ids in ids_by_class]
        return {"fitted": [a for a, _ in halves], "held_out": [b for _, b in halves]}

    def split(self, limit: int | None) -> dict[str, Int[Tensor, " n"]]:
        """Return consecutive task ids of each split; a limit selects the first tasks of each."""
        starts = self._starts()
        limited = limit_sizes(self.sizes, limit)
        return {name: starts[name] + torch.arange(size) for name, size in limited.items()}

    def _starts(self) -> dict[str, int]:
        first_test = self.sizes["train"] + self.sizes["val"]
        return dict(zip(SPLITS, (0, self.sizes["train"], first_test), strict=True))

    def split_of(self, task: int) -> Split:
        """Return the split of a task."""
        return next(name for name in reversed(SPLITS) if task >= self._starts()[name])

    def _draw(self, task: int) -> tuple[Split, Int[Tensor, " 2"], torch.Generator]:
        """Draw a task: its split, its classes, and a generator for its images."""
        split = self.split_of(task)
        generator = torch.Generator().manual_seed(derive_seed(self.seed, task))
        pairs = self.pairs[split]
        pair = pairs[int(torch.randint(len(pairs), (), generator=generator))]
        return split, pair[torch.randperm(2, generator=generator)], generator

    def labels(self, ids: Int[Tensor, " n"]) -> dict[str, Tensor]:
        """Return ``class_a`` and ``class_b``, each (n,)."""
        pairs = torch.stack([self._draw(task)[1] for task in ids.tolist()])
        return {"class_a": pairs[:, 0].clone(), "class_b": pairs[:, 1].clone()}

    def image_ids(self, task: int) -> Int[Tensor, " num_images"]:
        """Return the images of a task: first those of ``class_a``, then those of ``class_b``."""
        split, pair, generator = self._draw(task)
        pools = [self._pools[split]["fitted"][label] for label in pair.tolist()]
        half = self.num_images // 2
        return torch.cat([p[torch.randperm(len(p), generator=generator)[:half]] for p in pools])

    def examples(
        self, ids: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n p d_0"], Float[Tensor, "n p 1"]]:
        """Return the inputs of each task and the targets 0 and 1; P is ``num_images``."""
        return self._examples([self.image_ids(task) for task in ids.tolist()])

    def held_out_examples(
        self, ids: Int[Tensor, " n"], num_images: int
    ) -> tuple[Float[Tensor, "n p d_0"], Float[Tensor, "n p 1"]]:
        """Return inputs that no classifier was fitted to, the first ones of each class.

        Args:
            ids: Ids of the tasks.
            num_images: Number of images P, half of each class, at most all held-out images.

        Returns:
            Inputs (n, P, d_0) and targets (n, P, 1), which are 0 and 1.
        """
        images = []
        for task in ids.tolist():
            split, pair, _ = self._draw(task)
            pools = [self._pools[split]["held_out"][label] for label in pair.tolist()]
            images.append(torch.cat([pool[: num_images // 2] for pool in pools]))
        return self._examples(images)

    def _examples(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        inputs = self._inputs[torch.stack(list(images))]  # (n, P, d_0)
        half = inputs.shape[1] // 2
        targets = torch.cat([torch.zeros(half), torch.ones(half)])
        return inputs, targets.view(1, -1, 1).repeat(len(inputs), 1, 1)

    def pool(self, split: Split, half: Half) -> list[Int[Tensor, " _"]]:
        """Return the image ids of a half of a split, for each class."""
        return self._pools[split][half]

    def pictures(self, image_ids: Int[Tensor, " n"]) -> Float[Tensor, "n channels rows columns"]:
        """Return images in [0, 1] before preprocessing."""
        return self._images.images[image_ids].movedim(-1, 1).float() / 255

    def prepare(self, pictures: Float[Tensor, "n channels rows columns"]) -> Float[Tensor, "n d_0"]:
        """Convert images in [0, 1] to inputs of a classifier: row by row, channels last."""
        mean, std = self.mean_and_std
        return (self._pooled(pictures) - mean) / std

    def _pooled(self, pictures: Tensor) -> Tensor:
        return adaptive_avg_pool2d(pictures, self.size).movedim(1, -1).flatten(1)

    @cached_property
    def mean_and_std(self) -> tuple[float, float]:
        """Mean and standard deviation of the pooled training images."""
        parts = self._images.split(None)["train"].split(CHUNK)
        pooled = torch.cat([self._pooled(self.pictures(part)) for part in parts]).double()
        return round(float(pooled.mean()), 4), round(float(pooled.std()), 4)

    @cached_property
    def _inputs(self) -> Float[Tensor, "n d_0"]:
        """All images as inputs of classifiers."""
        parts = torch.arange(len(self._images.images)).split(CHUNK)
        return torch.cat([self.prepare(self.pictures(part)) for part in parts])

    def describe(self) -> dict[str, object]:
        """Return everything that tasks and inputs depend on, see ``from_description``."""
        mean, std = self.mean_and_std
        return {
            "images": self._images.name,
            "seed": self.seed,
            **self._images.checksums,
            "size": list(self.size),
            "mean": mean,
            "std": std,
            "num_images": self.num_images,
            "num_val_images": self.num_val_images,
            "num_pairs": {name: len(pairs) for name, pairs in self.pairs.items()},
            "sizes": self.sizes,
        }

    @classmethod
    def from_description(cls, content: object, *, root: str | Path) -> BinaryTasks:
        """Construct the tasks that a manifest describes.

        Args:
            content: The result of ``describe``, possibly with additional keys.
            root: Data folder.

        Raises:
            ValueError: If the content does not describe binary tasks, or the images in ``root``
                differ from the described ones.
            FileNotFoundError: If the data do not exist and cannot be downloaded.
        """
        recorded = dict(content) if isinstance(content, dict) else {}
        try:
            tasks = cls(
                recorded["images"], root=root, seed=recorded["seed"], size=recorded["size"],
                num_images=recorded["num_images"], num_val_images=recorded["num_val_images"],
                num_val_pairs=recorded["num_pairs"]["val"],
                num_test_pairs=recorded["num_pairs"]["test"],
                **{f"num_{name}": recorded["sizes"][name] for name in SPLITS},
            )  # fmt: skip
        except (LookupError, TypeError) as error:
            raise UserError(
                f"expected the description of binary tasks, got {recorded or content} "
                f"({type(error).__name__}: {error})"
            ) from error
        actual = tasks.describe()
        if different := sorted(key for key in actual if actual[key] != recorded.get(key)):
            raise UserError(
                f"The images in {root} differ from those that the classifiers were fitted to "
                f"({', '.join(different)}). Restore the original files."
            )
        return tasks
