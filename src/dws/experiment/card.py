"""Model card: the description of a trained model in its file, as data and as Markdown."""

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
    OtherArchitecture,
    Preset,
    Quantiles,
    Signals,
)

FORMAT_VERSION = 1


class TrainingZoo(Record):
    """Description of the zoo that a model was trained on. The fields are those of its manifest.

    Attributes:
        signals: The signals that the networks were fitted to.
        fit: Settings of the fit; None for imported networks.
        fit_preset: Name of these settings; None if unknown.
        inr: Architecture of INRs; None for other networks.
        classifier: Architecture of classifiers; None for other networks.
        mlp: Architecture of networks that are neither; None for INRs and classifiers.
        dims: Widths of the networks.
        domain: Domain of the signals; None for networks other than INRs.
        train_mean: Mean of the entries of each weight matrix and bias over the training split.
        train_std: Standard deviation of these entries.
        train_psnr: Quantiles of the PSNR over the training split, in dB; None if unknown.
        train_cross_entropy: Quantiles of the cross-entropy over the training split; None for INRs.
    """

    signals: Signals
    fit: dict[str, Any] | None
    fit_preset: Preset | None
    inr: Architecture | None
    classifier: ClassifierArchitecture | None
    mlp: OtherArchitecture | None = None
    dims: list[int]
    domain: Domain | None
    train_mean: dict[str, float]
    train_std: dict[str, float]
    train_psnr: Quantiles | None
    train_cross_entropy: Quantiles | None

    @classmethod
    def of(cls, manifest: Manifest) -> TrainingZoo:
        """Copy the fields from the manifest of a zoo."""
        return cls(**{name: getattr(manifest, name) for name in cls.model_fields})

    @property
    def architecture(self) -> str:
        """Architecture of the networks, as text."""
        return describe_architecture(self)


class Scales(Record):
    """A ``ScaleReference`` as plain values. The fields are those of ``ScaleReference``."""

    floor: list[float]
    mean: list[float]
    precision: list[list[float]]
    limit: float

    @classmethod
    def of(cls, reference: ScaleReference) -> Scales:
        """Convert a reference to plain values."""
        return cls(
            floor=reference.floor.tolist(),
            mean=reference.mean.tolist(),
            precision=reference.precision.tolist(),
            limit=reference.limit,
        )

    def reference(self) -> ScaleReference:
        """Convert the values to a reference."""
        floor, mean, precision = (
            torch.tensor(values, dtype=torch.float64)
            for values in (self.floor, self.mean, self.precision)
        )
        return ScaleReference(floor, mean, precision, self.limit)


class TestMetrics(Record):
    """Metrics of the test split from the evaluation of the run.

    Attributes:
        metrics: Metrics by name.
        interval: 95 % bootstrap interval of the monitored metric.
        num_networks: Number of test networks.
    """

    __test__ = False  # tells pytest that this is not a test case

    metrics: dict[str, float]
    interval: list[float]
    num_networks: int

    @classmethod
    def of(cls, result: Result) -> TestMetrics:
        """Copy the metrics from the result of an evaluation."""
        return cls(metrics=result.test, interval=result.test_interval, num_networks=result.num_test)


class ModelCard(Record):
    """Description of a trained model: training, input networks, outputs and metrics.

    Attributes:
        format_version: Version of the file format.
        run: Settings of the training, with the code, machine and command that produced it.
        zoo: Description of the training zoo.
        labels: Names of the predicted labels.
        classes: Names of the classes; None if the labels are not classes.
        num_train: Number of distinct training networks.
        num_parameters: Number of parameters without the outputs of the auxiliary reconstruction
            loss.
        scales: Distribution of the layer scales of the training networks.
        monitor: Validation metric by which the epoch was selected.
        validation: Metrics of the validation split in the selected epoch.
        test: Metrics of the test split; None if the run had not been evaluated before the export.
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
        """Architecture of the input networks."""
        return WeightSpaceSpec(tuple(self.zoo.dims))

    @property
    def recipe(self) -> dict[str, Any]:
        """All settings that affect the trained model."""
        return with_defaults(self.run.outcome())

    @property
    def limits(self) -> list[str]:
        """Limitations of the model, as sentences."""
        zoo = self.zoo
        sentences = [
            f"The model accepts only {zoo.architecture}.",
            "Its accuracy may be lower on networks that were fitted in another way than the "
            "training networks. A warning is given if the distance of a network's layer scales "
            f"from those of the training networks exceeds {self.scales.limit:.1f}. Not all "
            "networks that were fitted in another way exceed this limit.",
        ]
        if self.classes:
            sentences.append(
                f"It assigns one of its {len(self.classes)} classes to every network, even if the "
                "signal of the network belongs to none of them."
            )
        if zoo.domain:
            ends = zip(zoo.domain.low, zoo.domain.high, strict=True)
            ranges = " × ".join(f"[{low:g}, {high:g}]" for low, high in ends)
            sentences.append(
                f"The coordinates of the INRs range over {ranges}. The first input increases from "
                "left to right."
            )
        sentences.append("The model was trained on one zoo with one seed.")
        return sentences

    def markdown(self, title: str) -> str:
        """Format the card as Markdown.

        Args:
            title: Heading of the card.
        """
        layers = [
            [name, f"{self.zoo.train_mean[name]:.5f}", f"{std:.5f}"]
            for name, std in self.zoo.train_std.items()
        ]
        parts = [
            f"### {title}",
            _table(["property", "value"], list(self._facts().items())),
            "**Limitations.** " + " ".join(self.limits),
            "**Training networks.** Mean and standard deviation of the entries of each weight "
            "matrix and bias over the training split:",
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
        fit = zoo.fit_preset.name if zoo.fit_preset else "unknown" if zoo.fit is None else "custom"
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


def describe_architecture(zoo: TrainingZoo | Manifest) -> str:
    """Format an architecture as text, such as ``SIRENs of widths 2-32-32-1 with ω0 = 30``."""
    widths = "-".join(map(str, zoo.dims))
    if zoo.inr:
        return f"SIRENs of widths {widths} with ω0 = {zoo.inr.omega_0:g}"
    other = zoo.classifier or zoo.mlp
    assert other is not None
    activation = "ReLU" if other.activation == "relu" else other.activation
    return f"{activation} networks of widths {widths}"


def _metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(header)} |", "|---" * len(header) + "|", *lines])
