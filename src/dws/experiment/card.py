"""What a file of a trained model says of the model: its card, as data and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dws.evaluation.result import Result
from dws.io.record import Record
from dws.training import RunRecord
from dws.training.identity import with_defaults
from dws.weightspace import WeightSpaceSpec
from dws.weightspace.scales import ScaleReference
from dws.zoo.manifest import (
    Architecture,
    ClassifierArchitecture,
    Domain,
    Manifest,
    Preset,
    Quantiles,
    Signals,
)

FORMAT_VERSION = 1


class TrainingZoo(Record):
    """The zoo that a model was trained on; fields as in its manifest.

    Attributes:
        signals: What the networks were fitted to.
        fit: How they were fitted; None for imported networks.
        fit_preset: Name of these settings; None if it is not known.
        inr: The architecture of INRs; None for classifiers.
        classifier: The architecture of classifiers; None for INRs.
        dims: Widths of the networks.
        domain: Where the signals are defined; None for classifiers.
        train_mean: Mean of the weights and biases of each layer, over the training split.
        train_std: Their standard deviation.
        train_psnr: Quantiles over the training split; None if they are not known.
        train_cross_entropy: Quantiles over the training split; None for INRs.
    """

    signals: Signals
    fit: dict[str, Any] | None
    fit_preset: Preset | None
    inr: Architecture | None
    classifier: ClassifierArchitecture | None
    dims: list[int]
    domain: Domain | None
    train_mean: dict[str, float]
    train_std: dict[str, float]
    train_psnr: Quantiles | None
    train_cross_entropy: Quantiles | None

    @classmethod
    def of(cls, manifest: Manifest) -> TrainingZoo:
        """What the manifest of a zoo says."""
        return cls(**{name: getattr(manifest, name) for name in cls.model_fields})

    @property
    def architecture(self) -> str:
        """The architecture of the networks, in words."""
        return describe_architecture(self.dims, self.inr)


class Scales(Record):
    """A ``ScaleReference`` as plain values."""

    floor: list[float]
    mean: list[float]
    precision: list[list[float]]
    limit: float

    @classmethod
    def of(cls, reference: ScaleReference) -> Scales:
        """The values of a reference."""
        return cls(
            floor=reference.floor.tolist(),
            mean=reference.mean.tolist(),
            precision=reference.precision.tolist(),
            limit=reference.limit,
        )

    def reference(self) -> ScaleReference:
        """The reference that has these values."""
        floor, mean, precision = (
            torch.tensor(values, dtype=torch.float64)
            for values in (self.floor, self.mean, self.precision)
        )
        return ScaleReference(floor, mean, precision, self.limit)


class TestMetrics(Record):
    """Metrics of the test split, from the evaluation of the run.

    Attributes:
        metrics: By name.
        interval: 95 % bootstrap interval of the monitored metric.
        num_networks: Number of test networks.
    """

    __test__ = False  # no test case of pytest

    metrics: dict[str, float]
    interval: list[float]
    num_networks: int

    @classmethod
    def of(cls, result: Result) -> TestMetrics:
        """What an evaluation found."""
        return cls(metrics=result.test, interval=result.test_interval, num_networks=result.num_test)


class ModelCard(Record):
    """What is known of a trained model beside its weights.

    Attributes:
        format_version: Of the file.
        run: The settings of the training and what made it.
        zoo: The zoo that the model was trained on.
        labels: Names of the labels that are predicted.
        classes: Names of the classes; None if the labels are not classes.
        num_train: Number of different training networks.
        num_parameters: Number of parameters, without those that only reconstruct.
        scales: The scales of the layers of the training networks.
        monitor: The metric that selected the weights on validation.
        validation: Metrics of the validation split in the epoch that validation selected.
        test: Metrics of the test split; None if the run was not evaluated when the file was made.
    """

    format_version: int = FORMAT_VERSION
    run: RunRecord
    zoo: TrainingZoo
    labels: list[str]
    classes: list[str] | None
    num_train: int
    num_parameters: int
    scales: Scales
    monitor: str
    validation: dict[str, float]
    test: TestMetrics | None

    @property
    def spec(self) -> WeightSpaceSpec:
        """The widths of the networks that the model takes."""
        return WeightSpaceSpec(tuple(self.zoo.dims))

    @property
    def recipe(self) -> dict[str, Any]:
        """All settings on which the training depended."""
        return with_defaults(self.run.outcome())

    @property
    def limits(self) -> list[str]:
        """What the model is not for, one sentence each."""
        zoo = self.zoo
        sentences = [
            f"It takes {zoo.architecture}, and no other architecture.",
            "Expect lower accuracy for networks that were fitted in another way than the training "
            "networks. A warning says if the scales of the layers of a network are farther from "
            f"those of the training networks than {self.scales.limit:.1f}. Networks that were "
            "fitted in another way need not be that far.",
        ]
        if self.classes:
            sentences.append(
                f"It assigns one of its {len(self.classes)} classes to every network, also to "
                "networks that show something else."
            )
        if zoo.domain:
            ends = zip(zoo.domain.low, zoo.domain.high, strict=True)
            ranges = " × ".join(f"[{low:g}, {high:g}]" for low, high in ends)
            sentences.append(
                f"The coordinates of the INRs range over {ranges}, the first input from left to "
                "right."
            )
        sentences.append("It was trained on one zoo and one seed.")
        return sentences

    def markdown(self, title: str) -> str:
        """The card as Markdown.

        Args:
            title: Its heading.
        """
        layers = [
            [name, f"{self.zoo.train_mean[name]:.5f}", f"{std:.5f}"]
            for name, std in self.zoo.train_std.items()
        ]
        parts = [
            f"### {title}",
            _table(["property", "value"], list(self._facts().items())),
            "**Limits.** " + " ".join(self.limits),
            "**Training networks.** Mean and standard deviation of the entries of each layer:",
            _table(["layer", "mean", "standard deviation"], layers),
        ]
        return "\n\n".join(parts) + "\n"

    def _facts(self) -> dict[str, str]:
        zoo, run = self.zoo, self.run
        labels = ", ".join(self.labels)
        output = (
            f"{labels}: probabilities of {len(self.classes)} classes ({', '.join(self.classes)})"
            if self.classes
            else labels
        )
        fit = zoo.fit_preset.name if zoo.fit_preset else "not known" if zoo.fit is None else "own"
        settings = ", ".join(f"{key}={value}" for key, value in (zoo.fit or {}).items())
        quality = f"; PSNR {zoo.train_psnr.median:.1f} dB (median)" if zoo.train_psnr else ""
        facts = {
            "input": f"{zoo.architecture} ({self.spec.num_params:,} parameters)",
            "output": output,
            "model": f"`{run.model['name']}` ({run.model['_target_']}), "
            f"{self.num_parameters:,} parameters",
            "training networks": f"{self.num_train:,} networks of the zoo {zoo.signals.name}, "
            f"fit: {fit}{f' ({settings})' if settings else ''}{quality}",
            "training": f"`{run.notes.origin.command}`",
            "code and machine": f"{run.notes.origin.code}; {run.notes.origin.machine}",
            "validation": _metrics(self.validation),
            "test": "not evaluated",
        }
        if self.test:
            low, high = self.test.interval
            facts["test"] = (
                f"{_metrics(self.test.metrics)}; {self.test.num_networks:,} networks; 95 % "
                f"interval of {self.monitor}: {low:.4g} to {high:.4g}"
            )
        return facts


def describe_architecture(dims: Sequence[int], inr: Architecture | None) -> str:
    """Widths and activation, such as ``SIRENs of widths 2-32-32-1 with ω0 = 30``."""
    widths = "-".join(map(str, dims))
    if inr is None:
        return f"ReLU networks of widths {widths}"
    return f"SIRENs of widths {widths} with ω0 = {inr.omega_0:g}"


def _metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *lines])
