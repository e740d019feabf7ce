from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dws.inr import classifier_apply
from dws.seeding import derive_seed
from dws.tasks import Adaptation
from dws.tasks.corruption import corrupt
from dws.weightspace import WeightBatch
from dws.zoo import Zoo

CPU = torch.device("cpu")
CLEAN = Adaptation(max_angle=0.0, noise=0.0, num_copies=1)  # except flips


@pytest.fixture
def task(classifier_zoo: Zoo, pictures: Path) -> Adaptation:
    return Adaptation(num_copies=3, num_images=5).on(classifier_zoo, data=pictures, device=CPU)


def flat(zoo: Zoo, split: str) -> torch.Tensor:
    return zoo.split(split).weights().flatten().squeeze(-1)


def test_targets_contain_two_classes_and_the_split(task: Adaptation, classifier_zoo: Zoo) -> None:
    for number, name in enumerate(("train", "val", "test")):
        split = classifier_zoo.split(name)
        targets = task.targets_of(split)
        assert torch.equal(targets[:, 0], split.labels["class_a"])
        assert torch.equal(targets[:, 1], split.labels["class_b"])
        assert targets[:, 2].tolist() == [number] * len(split)


def test_accuracy_uses_corrupted_held_out_images(task: Adaptation, classifier_zoo: Zoo) -> None:
    split = classifier_zoo.split("val")
    tasks = task.images.tasks
    generator = torch.Generator().manual_seed(derive_seed(task.seed, 2))
    pool = [ids[:2] for ids in tasks.pool("val", "held_out")]
    images = corrupt(
        tasks.pictures(torch.cat(pool)), generator, max_angle=90.0, noise=0.2, jitter=0.3
    )
    inputs = tasks.prepare(images).unflatten(0, (10, 2))
    outputs, targets = flat(classifier_zoo, "val"), task.targets_of(split)
    expected = []
    for index, (a, b, _) in enumerate(targets.tolist()):
        network = split.weights()[index : index + 1]
        logits = [classifier_apply(network, inputs[label]).flatten() for label in (a, b)]
        expected.append(float(torch.cat([logits[0] < 0, logits[1] > 0]).float().mean()))
    assert task.scores(outputs, targets).tolist() == pytest.approx(expected)
    metrics = task.metrics(outputs, targets)
    assert metrics["accuracy"] == pytest.approx(sum(expected) / len(expected))
    assert task.references(split) == {"No adaptation": metrics}


def test_metrics_are_independent_of_batching(
    task: Adaptation, classifier_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, targets = flat(classifier_zoo, "train"), task.targets_of(classifier_zoo.split("train"))
    whole = task.metrics(outputs, targets)
    monkeypatch.setattr("dws.tasks.adaptation.NUM_AT_ONCE", 7)
    assert task.metrics(outputs, targets) == pytest.approx(whole)


def test_loss_draws_training_images_of_both_classes(classifier_zoo: Zoo, pictures: Path) -> None:
    task = replace(CLEAN, num_images=60).on(classifier_zoo, data=pictures, device=CPU)
    targets = task.targets_of(classifier_zoo.split("train"))[:3]
    draws = task.images.draw(targets, 60)
    assert draws.shape == (3, 120, 4)
    tasks = task.images.tasks
    for (a, b, _), inputs in zip(targets.tolist(), draws, strict=True):
        for label, part in zip((a, b), inputs.split(60), strict=True):
            of_class = tasks.pictures(tasks.pool("train", "held_out")[label])
            expected = tasks.prepare(torch.cat([of_class, of_class.flip(3)]))
            distance = torch.cdist(part, expected)
            assert float(distance.amin(1).max()) < 1e-3  # each drawn image is a training image
            assert len(distance.argmin(1).unique()) == 6  # and every copy of every image is drawn


def test_loss_depends_only_on_the_default_generator(task: Adaptation, classifier_zoo: Zoo) -> None:
    outputs, targets = flat(classifier_zoo, "train"), task.targets_of(classifier_zoo.split("train"))
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(float(task.loss(outputs, targets)))
    assert losses[0] == losses[1] != losses[2]


def test_gradient_descent_on_the_loss_improves_accuracy(
    classifier_zoo: Zoo, pictures: Path
) -> None:
    task = replace(CLEAN, num_images=60).on(classifier_zoo, data=pictures, device=CPU)
    targets = task.targets_of(classifier_zoo.split("train"))
    outputs = torch.nn.Parameter(flat(classifier_zoo, "train").clone())
    optimizer = torch.optim.Adam([outputs], lr=0.03)
    before = task.metrics(outputs, targets)["accuracy"]
    for _ in range(60):
        optimizer.zero_grad()
        task.loss(outputs, targets).backward()
        optimizer.step()
    assert task.metrics(outputs, targets)["accuracy"] > before + 0.1


def test_network_with_nan_has_zero_accuracy(task: Adaptation, classifier_zoo: Zoo) -> None:
    targets = task.targets_of(classifier_zoo.split("val"))
    outputs = torch.full((len(targets), classifier_zoo.spec.num_params), torch.nan)
    assert task.scores(outputs, targets).tolist() == [0.0] * len(targets)


def test_loss_and_metrics_are_invariant_to_permutations(
    task: Adaptation, classifier_zoo: Zoo
) -> None:
    batch = classifier_zoo.split("val").weights()
    w, b = batch.weights, batch.biases
    permuted = WeightBatch(
        (w[0].flip(2), w[1].flip(1), w[2]), (b[0].flip(1), b[1], b[2])
    )  # neurons of the first level
    targets = task.targets_of(classifier_zoo.split("val"))
    assert task.metrics(permuted.flatten().squeeze(-1), targets) == pytest.approx(
        task.metrics(flat(classifier_zoo, "val"), targets)
    )


def test_inr_zoo_is_rejected(sine_zoo: Zoo, pictures: Path) -> None:
    with pytest.raises(ValueError, match=r"needs a zoo of classifiers, but .* contains INRs"):
        Adaptation().on(sine_zoo, data=pictures, device=CPU)


def test_missing_images_are_named(classifier_zoo: Zoo, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"MNIST could not be downloaded .* train-images"):
        Adaptation().on(classifier_zoo, data=tmp_path / "nothing", device=CPU)


@pytest.mark.parametrize(
    "bad", [{"max_angle": -1.0}, {"noise": -0.1}, {"jitter": 1.0}, {"num_copies": 0}, {"seed": -1}]
)
def test_settings_out_of_range_are_rejected(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"task.{next(iter(bad))}"):
        Adaptation(**bad)
