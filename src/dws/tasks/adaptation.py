"""Domain adaptation of classifiers to corrupted images by new weights (Navon et al. 2023)."""

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

NUM_AT_ONCE = 64  # number of networks in a batch for metrics
CHUNK = 4096  # number of images in a batch of corruptions
NO_ADAPTATION = "No adaptation"  # title of the reference metrics


@dataclass(frozen=True)
class Adaptation:
    """Adaptation of a classifier of clean images to corrupted images of its two classes.

    The paper publishes neither the architecture of the classifiers nor the strengths of the
    corruptions. Here the brightness, contrast and saturation of colour images change by at most
    ``jitter``. Every image is then flipped from left to right with probability 1/2, rotated by a
    uniform angle of at most ``max_angle`` in either direction, and Gaussian noise of standard
    deviation ``noise`` is added. Then it is preprocessed in the same way as clean images. With the
    default strengths, the accuracy of Fashion-MNIST classifiers before adaptation is about the one
    that the paper reports.

    No classifier was fitted to any of these images. The training loss is the cross-entropy of the
    new classifier on ``num_images`` images of each of its classes. Each step draws them from the
    training images, each of which has ``num_copies`` corrupted copies. Metrics are computed on
    images of the network's own split, with equal numbers of each class, which are corrupted once.

    Attributes:
        max_angle: Maximum rotation in either direction, in degrees.
        noise: Standard deviation of the noise, for pixels in [0, 1].
        jitter: Maximum relative change of brightness, contrast and saturation.
        num_copies: Number of corrupted copies of each training image.
        num_images: Number of images of each class that a step draws for each network.
        seed: Seed of all corruptions.

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
        """Bind the task to the classifiers of a zoo.

        Args:
            zoo: A zoo of classifiers.
            data: Folder of data sets, with the images.
            device: Device of the outputs and targets.

        Raises:
            ValueError: If the zoo does not contain classifiers.
            FileNotFoundError: If the images do not exist and cannot be downloaded.
        """
        if zoo.manifest.classifier is None:
            raise UserError(
                f"Adaptation needs a zoo of classifiers, but {zoo.path} contains "
                f"{zoo.manifest.noun}. Choose another zoo.path, such as that of "
                "zoo=fashion_classifiers."
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
        self, tasks: BinaryTasks, ids_by_class: list[Tensor], stream: int
    ) -> Float[Tensor, "n d_0"]:
        """Corrupt and preprocess images, given by the ids of each class, ordered by class."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, stream))
        parts = [
            tasks.prepare(
                corrupt(
                    tasks.pictures(ids), generator,
                    max_angle=self.max_angle, noise=self.noise, jitter=self.jitter,
                )
            )
            for ids in torch.cat(ids_by_class).split(CHUNK)
        ]  # fmt: skip
        return torch.cat(parts)

    @property
    def images(self) -> _Images:
        """Corrupted images, available after ``on``."""
        assert self._images is not None, "call on() first"
        return self._images

    def targets_of(self, split: ZooSplit) -> Int[Tensor, "n 3"]:
        """Return ``class_a``, ``class_b`` and the split's index in ``SPLITS`` of each network."""
        labels = split.labels
        ids = split.column("signal_id").tolist()
        numbers = [SPLITS.index(self.images.tasks.split_of(signal_id)) for signal_id in ids]
        return torch.stack([labels["class_a"], labels["class_b"], torch.tensor(numbers)], dim=1)

    def loss(
        self, outputs: Float[Tensor, "b num_params"], targets: Int[Tensor, "b 3"]
    ) -> Float[Tensor, ""]:
        """Compute the mean cross-entropy on corrupted training images, in nats.

        The images are drawn with PyTorch's default generator of the device, whose state is part of
        checkpoints.
        """
        inputs = self.images.draw(targets, self.num_images)
        return self.images.losses(outputs, inputs).mean()

    @torch.no_grad()
    def scores(
        self, outputs: Float[Tensor, "n num_params"], targets: Int[Tensor, "n 3"]
    ) -> Float[Tensor, " n"]:
        """Compute the accuracy of each new classifier; 0 if a weight is NaN."""
        return torch.cat([_accuracy(part) for part in self._logits(outputs, targets)])

    @torch.no_grad()
    def metrics(
        self, outputs: Float[Tensor, "n num_params"], targets: Int[Tensor, "n 3"]
    ) -> dict[str, float]:
        """Compute ``accuracy`` in [0, 1] and ``loss``, the cross-entropy in nats."""
        parts = [
            torch.stack([_accuracy(part), _cross_entropy(part)])
            for part in self._logits(outputs, targets)
        ]
        accuracy, loss = torch.cat(parts, dim=1).double().mean(dim=1).tolist()
        return {"accuracy": accuracy, "loss": loss}

    def _logits(self, outputs: Tensor, targets: Tensor) -> Iterator[Float[Tensor, "b p"]]:
        """Iterate over the logits of the new classifiers on the fixed images, in batches."""
        images = self.images
        for weights, batch_targets in zip(
            outputs.split(NUM_AT_ONCE), targets.split(NUM_AT_ONCE), strict=True
        ):
            yield images.logits(weights, images.fixed_inputs(batch_targets))

    def references(self, split: ZooSplit) -> dict[str, dict[str, float]]:
        """Compute the metrics of the original classifiers."""
        device = self.images.training.device
        original = split.weights().flatten().squeeze(-1).to(device)
        return {NO_ADAPTATION: self.metrics(original, self.targets_of(split).to(device))}

    def pictures(
        self,
        outputs: Float[Tensor, "k num_params"],
        targets: Int[Tensor, "k 3"],
        split: ZooSplit,
    ) -> dict[str, Tensor]:
        """Return an empty dictionary, because classifiers do not represent images."""
        return {}


@dataclass(frozen=True, eq=False)
class _Images:
    """Corrupted, preprocessed images of each class and the classifiers that are evaluated on them.

    Attributes:
        spec: The architecture of the classifiers.
        tasks: The tasks of the classifiers.
        training: Copies of training images, ordered by class, (n, d_0).
        sizes: Number of copies of each class.
        fixed: The first m images of each split and class, (splits, classes, m, d_0).
    """

    spec: WeightSpaceSpec
    tasks: BinaryTasks
    training: Float[Tensor, "n d_0"]
    sizes: Int[Tensor, " classes"]
    fixed: Float[Tensor, "splits classes m d_0"]

    def draw(self, targets: Int[Tensor, "b 3"], num_images: int) -> Float[Tensor, "b p d_0"]:
        """Draw training images: ``num_images`` of ``class_a``, then as many of ``class_b``."""
        classes = targets[:, :2]
        size = self.sizes[classes].unsqueeze(-1)
        starts = (self.sizes.cumsum(0) - self.sizes)[classes].unsqueeze(-1)
        uniform = torch.rand(*classes.shape, num_images, device=classes.device)
        rows = starts + (uniform * size).long().clamp(max=size - 1)
        return self.training[rows].flatten(1, 2)

    def fixed_inputs(self, targets: Int[Tensor, "b 3"]) -> Float[Tensor, "b p d_0"]:
        """Return the fixed images of the split: of ``class_a``, then as many of ``class_b``."""
        return self.fixed[targets[:, 2:], targets[:, :2]].flatten(1, 2)

    def logits(
        self, outputs: Float[Tensor, "b num_params"], inputs: Float[Tensor, "b p d_0"]
    ) -> Float[Tensor, "b p"]:
        """Compute the logits of networks with flat weights."""
        networks = WeightBatch.from_flat(self.spec, outputs.unsqueeze(-1))
        return classifier_apply(networks, inputs.to(outputs.dtype)).squeeze(-1)

    def losses(
        self, outputs: Float[Tensor, "b num_params"], inputs: Float[Tensor, "b p d_0"]
    ) -> Float[Tensor, " b"]:
        """Compute the cross-entropies of networks with flat weights."""
        return _cross_entropy(self.logits(outputs, inputs))


def _accuracy(logits: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """Compute the accuracy from logits for images of ``class_a``, then as many of ``class_b``."""
    return (_signs(logits) * logits > 0).to(logits.dtype).mean(dim=1)


def _cross_entropy(logits: Float[Tensor, "b p"]) -> Float[Tensor, " b"]:
    """Compute the loss from logits for images of ``class_a``, then as many of ``class_b``."""
    targets = (_signs(logits) > 0).to(logits.dtype).expand_as(logits)
    return binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=1)


def _signs(logits: Float[Tensor, "b p"]) -> Float[Tensor, " p"]:
    """Return -1 for the first half, which is ``class_a``, and 1 for the second half."""
    half = logits.shape[1] // 2
    first = torch.arange(2 * half, device=logits.device) < half
    return 1 - 2 * first.to(logits.dtype)
