"""Adapting classifiers to corrupted images by changing their weights (Navon et al. 2023)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dws.errors import UserError
from dws.inr import classifier_apply
from dws.seeding import derive_seed
from dws.signals import SPLITS, BinaryTasks
from dws.tasks.corruption import corrupt
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, ZooSplit

NUM_AT_ONCE = 64  # networks evaluated together for metrics
CHUNK = 4096  # images corrupted together
NO_ADAPTATION = "No adaptation"  # title of the reference


@dataclass(frozen=True)
class Adaptation:
    """New weights of a classifier of clean images, for corrupted images of its two classes.

    The paper publishes neither the architecture of the classifiers nor the strengths of the
    corruptions. Here every image is flipped from left to right with probability 1/2, rotated by a
    uniform angle of at most ``max_angle`` either way, and gets Gaussian noise of standard deviation
    ``noise``; before that, brightness, contrast and saturation of an image in color change by at
    most ``jitter``. Then it is prepared as clean images are. With the default strengths,
    classifiers of garments are about as good before they are adapted as the paper says of its own.

    All of these images are ones that no classifier was fitted to. In training, the loss is the
    cross-entropy of the new classifier on ``num_images`` images of each of its classes, drawn at
    every step from the training images, each of which is kept in ``num_copies`` corrupted copies.
    Metrics are those on the images of the network's own split, as many of each class, each
    corrupted once and for all.

    Attributes:
        max_angle: In degrees.
        noise: In units of the range of pixels, [0, 1].
        jitter: Relative.
        num_copies: Corrupted copies of each training image.
        num_images: Images of each class that a step draws for each network.
        seed: Of all corruptions.

    Raises:
        ValueError: If a number is out of range.
    """

    max_angle: float = 90.0
    noise: float = 0.2
    jitter: float = 0.3
    num_copies: int = 8
    num_images: int = 32
    seed: int = 0
    _images: _Images | None = field(default=None, init=False, repr=False, compare=False)

    num_views: ClassVar[int] = 1
    monitor: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    def __post_init__(self) -> None:
        numbers = (self.num_copies, self.num_images, self.seed + 1)
        if min(self.max_angle, self.noise) < 0 or not 0 <= self.jitter < 1 or min(numbers) < 1:
            raise UserError(
                "expected task.max_angle >= 0, task.noise >= 0, 0 <= task.jitter < 1, "
                "task.num_copies >= 1, task.num_images >= 1 and task.seed >= 0, got "
                f"{self.max_angle}, {self.noise}, {self.jitter}, {self.num_copies}, "
                f"{self.num_images} and {self.seed}"
            )

    def on(self, zoo: Zoo, *, data: Path, device: torch.device) -> Adaptation:
        """The adaptation of a zoo's classifiers.

        Args:
            zoo: Classifiers.
            data: Folder of data sets, which has the images.
            device: Of the outputs and targets.

        Raises:
            ValueError: If the zoo is one of INRs.
            FileNotFoundError: If the images are not there and cannot be fetched.
        """
        if zoo.manifest.classifier is None:
            raise UserError(
                f"expected a zoo of classifiers to adapt, got one of INRs in {zoo.path}; choose "
                "another zoo.path, such as that of zoo=fashion_classifiers"
            )
        tasks = BinaryTasks.from_description(zoo.manifest.signals.content(), root=data)
        training = [ids.repeat(self.num_copies) for ids in tasks.pool("train", "held_out")]
        pools = [tasks.pool(split, "held_out") for split in SPLITS]
        num_fixed = min(len(ids) for pool in pools for ids in pool)
        fixed = [self._corrupted(tasks, [ids[:num_fixed] for ids in pool], i + 1)
                 for i, pool in enumerate(pools)]  # fmt: skip
        bound = copy.copy(self)
        images = _Images(
            zoo.spec,
            tasks,
            training=self._corrupted(tasks, training, 0).to(device),
            sizes=torch.tensor([len(ids) for ids in training], device=device),
            fixed=torch.stack([part.unflatten(0, (-1, num_fixed)) for part in fixed]).to(device),
        )
        object.__setattr__(bound, "_images", images)
        return bound

    def _corrupted(
        self, tasks: BinaryTasks, of_class: list[Tensor], stream: int
    ) -> Float[Tensor, "n d_0"]:
        """Inputs from corrupted images, given by the ids of each class in a row."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, stream))
        parts = [
            tasks.prepare(
                corrupt(
                    tasks.pictures(ids), generator,
                    max_angle=self.max_angle, noise=self.noise, jitter=self.jitter,
                )
            )
            for ids in torch.cat(of_class).split(CHUNK)
        ]  # fmt: skip
        return torch.cat(parts)

    @property
    def images(self) -> _Images:
        """Corrupted images; only of what ``on`` returned."""
        assert self._images is not None, "call on() first"
        return self._images

    def targets_of(self, split: ZooSplit) -> Int[Tensor, "n 3"]:
        """``class_a``, ``class_b`` and the number of the split in ``SPLITS``, of each network."""
        labels = split.labels
        ids = split.column("signal_id").tolist()
        numbers = [SPLITS.index(self.images.tasks.split_of(signal_id)) for signal_id in ids]
        return torch.stack([labels["class_a"], labels["class_b"], torch.tensor(numbers)], dim=1)

    def loss(
        self, outputs: Float[Tensor, "b num_params"], targets: Int[Tensor, "b 3"]
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy on corrupted training images, in nats.

        They are drawn from PyTorch's own generator of the device, whose state checkpoints keep.
        """
        inputs = self.images.draw(targets, self.num_images)
        return self.images.losses(outputs, inputs).mean()

    @torch.no_grad()
    def scores(
        self, outputs: Float[Tensor, "n num_params"], targets: Int[Tensor, "n 3"]
    ) -> Float[Tensor, " n"]:
        """The accuracy of each new classifier; 0 where a weight is NaN."""
        return torch.cat([_accuracy(part) for part in self._logits(outputs, targets)])

    @torch.no_grad()
    def metrics(
        self, outputs: Float[Tensor, "n num_params"], targets: Int[Tensor, "n 3"]
    ) -> dict[str, float]:
        """``accuracy`` in [0, 1] and ``loss``, the cross-entropy in nats."""
        both = [
            torch.stack([_accuracy(part), _cross_entropy(part)])
            for part in self._logits(outputs, targets)
        ]
        accuracy, loss = torch.cat(both, dim=1).double().mean(dim=1).tolist()
        return {"accuracy": accuracy, "loss": loss}

    def _logits(self, outputs: Tensor, targets: Tensor) -> Iterator[Float[Tensor, "b p"]]:
        """Of the new classifiers on the fixed images, some networks at a time."""
        images = self.images
        for some, of_some in zip(
            outputs.split(NUM_AT_ONCE), targets.split(NUM_AT_ONCE), strict=True
        ):
            yield images.logits(some, images.fixed_inputs(of_some))

    def references(self, split: ZooSplit) -> dict[str, dict[str, float]]:
        """Metrics of the classifiers as they are."""
        device = self.images.training.device
        as_they_are = split.weights().flatten().squeeze(-1).to(device)
        return {NO_ADAPTATION: self.metrics(as_they_are, self.targets_of(split).to(device))}

    def pictures(
        self,
        outputs: Float[Tensor, "k num_params"],
        targets: Int[Tensor, "k 3"],
        split: ZooSplit,
    ) -> dict[str, Tensor]:
        """Nothing: classifiers show no picture."""
        return {}


@dataclass(frozen=True, eq=False)
class _Images:
    """Corrupted images of each class as inputs, and the classifiers that they are for.

    Attributes:
        spec: The architecture of the classifiers.
        tasks: Their tasks.
        training: Copies of training images, class after class.
        sizes: How many of them each class has.
        fixed: The first images of each split and class, (splits, classes, m, d_0).
    """

    spec: WeightSpaceSpec
    tasks: BinaryTasks
    training: Float[Tensor, "n d_0"]
    sizes: Int[Tensor, " classes"]
    fixed: Float[Tensor, "splits classes m d_0"]

    def draw(self, targets: Int[Tensor, "b 3"], num_images: int) -> Float[Tensor, "b p d_0"]:
        """Random training images, so many of ``class_a``, then as many of ``class_b``."""
        classes = targets[:, :2]
        size = self.sizes[classes].unsqueeze(-1)
        starts = (self.sizes.cumsum(0) - self.sizes)[classes].unsqueeze(-1)
        uniform = torch.rand(*classes.shape, num_images, device=classes.device)
        rows = starts + (uniform * size).long().clamp(max=size - 1)
        return self.training[rows].flatten(1, 2)

    def fixed_inputs(self, targets: Int[Tensor, "b 3"]) -> Float[Tensor, "b p d_0"]:
        """Images of the split, those of ``class_a``, then as many of ``class_b``."""
        return self.fixed[targets[:, 2:], targets[:, :2]].flatten(1, 2)

    def logits(
        self, outputs: Float[Tensor, "b num_params"], inputs: Float[Tensor, "b p d_0"]
    ) -> Float[Tensor, "b p"]:
        """Of networks, given flat."""
        networks = WeightBatch.from_flat(self.spec, outputs.unsqueeze(-1))
        return classifier_apply(networks, inputs.to(outputs.dtype)).squeeze(-1)

    def losses(
        self, outputs: Float[Tensor, "b num_params"], inputs: Float[Tensor, "b p d_0"]
    ) -> Float[Tensor, " b"]:
        """Cross-entropies of networks, given flat."""
        return _cross_entropy(self.logits(outputs, inputs))


def _accuracy(logits: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """Of logits for images of ``class_a``, then as many of ``class_b``."""
    return (_signs(logits) * logits > 0).to(logits.dtype).mean(dim=1)


def _cross_entropy(logits: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """Of logits for images of ``class_a``, then as many of ``class_b``."""
    wanted = (_signs(logits) > 0).to(logits.dtype).expand_as(logits)
    return binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean(dim=1)


def _signs(logits: Float[Tensor, "b p"]) -> Float[Tensor, " p"]:
    """-1 for the first half, which is ``class_a``, and 1 for the second."""
    half = logits.shape[1] // 2
    first = torch.arange(2 * half, device=logits.device) < half
    return 1 - 2 * first.to(logits.dtype)
