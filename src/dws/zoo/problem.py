"""Fitting problems of a zoo: INRs fitted to signals, or classifiers fitted to binary tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from jaxtyping import Float
from torch import Tensor

from dws.errors import UserError
from dws.inr import (
    Classifier,
    ClassifierConfig,
    Family,
    FitConfig,
    Siren,
    SirenConfig,
    init_classifier,
    init_siren,
)
from dws.inr.fit import psnr
from dws.signals import BinaryTasks, CheckedSignals, SignalSource
from dws.weightspace import WeightBatch, WeightSpaceSpec

PSNR_TEXT = "PSNR {:.1f} dB"


@dataclass(frozen=True)
class FitProblem:
    """An architecture and the data that its networks are fitted to.

    Attributes:
        source: Source of names, splits, data and labels.
        spec: The architecture of the networks.
        family: Forward pass and loss of the networks.
        architecture: The manifest section of the architecture, by its name.
        domain: The manifest section of the domain of the signals, by its name; empty for
            classifiers, whose inputs are not coordinates.
        shared_init: Whether all networks start from the same weights.
        initial: Initialises one network per seed.
        data: Returns inputs and targets of the networks with these ids, see ``FitJob``.
        quality: Converts losses (n,) to the quality (n,) whose mean the progress bar shows.
        quality_text: Format string of the quality, with one number.
    """

    source: CheckedSignals | BinaryTasks
    spec: WeightSpaceSpec
    family: Family
    architecture: Mapping[str, Mapping[str, Any]]
    domain: Mapping[str, Mapping[str, Any]]
    shared_init: bool
    initial: Callable[[Sequence[int]], WeightBatch]
    data: Callable[[Tensor], tuple[Tensor, Tensor]]
    quality: Callable[[Float[Tensor, " n"]], Float[Tensor, " n"]]
    quality_text: str

    @classmethod
    def of_inrs(cls, source: CheckedSignals, inr: SirenConfig) -> FitProblem:
        """Fits of SIRENs, one for each signal."""
        points = source.coordinates
        spec = WeightSpaceSpec((points.shape[1], *inr.hidden, source.num_outputs))
        domain = {
            "low": points.amin(0).tolist(),
            "high": points.amax(0).tolist(),
            "grid": source.grid or [len(points)],
        }
        return cls(
            source=source,
            spec=spec,
            family=Siren(inr.omega_0, inr.output_offset),
            architecture={"inr": asdict(inr)},
            domain={"domain": domain},
            shared_init=inr.shared_init,
            initial=partial(init_siren, spec, omega_0=inr.omega_0, init=inr.init),
            data=lambda ids: (points, source.values(ids)),
            quality=psnr,
            quality_text=PSNR_TEXT,
        )

    @classmethod
    def of_classifiers(cls, source: BinaryTasks, classifier: ClassifierConfig) -> FitProblem:
        """Fits of ReLU classifiers, one for each binary task."""
        spec = WeightSpaceSpec((source.num_inputs, *classifier.hidden, source.num_outputs))
        return cls(
            source=source,
            spec=spec,
            family=Classifier(),
            architecture={"classifier": {"activation": "relu", **asdict(classifier)}},
            domain={},
            shared_init=classifier.shared_init,
            initial=partial(init_classifier, spec),
            data=source.examples,
            quality=lambda loss: loss,
            quality_text="cross-entropy {:.3f}",
        )

    def check(self, fit: FitConfig) -> None:
        """Check that settings of a fit apply to these networks.

        Raises:
            ValueError: If ``fit.stop_mse`` is set for classifiers.
        """
        if fit.stop_mse and isinstance(self.family, Classifier):
            raise UserError(
                f"fit.stop_mse is {fit.stop_mse}, but the loss of classifiers is the "
                "cross-entropy. Set fit.stop_mse=0."
            )


def to_problem(
    source: SignalSource | BinaryTasks,
    inr: SirenConfig | None,
    classifier: ClassifierConfig | None,
) -> FitProblem:
    """Create the fitting problem of a source: classifiers for binary tasks, INRs for signals.

    Args:
        source: The signals or binary tasks.
        inr: The architecture of INRs; None for the default.
        classifier: The architecture of classifiers; None for the default.

    Raises:
        ValueError: If the architecture does not fit the source, or the source violates its
            protocol.
    """
    if isinstance(source, BinaryTasks):
        if inr is not None:
            raise UserError(
                "Binary tasks are fitted by classifiers, got the architecture of INRs. Set "
                "zoo.classifier instead of inr."
            )
        return FitProblem.of_classifiers(source, classifier or ClassifierConfig())
    if classifier is not None:
        raise UserError(
            f"Classifiers need a source of dws.signals.BinaryTasks, got {type(source).__name__}. "
            "Set zoo.signals, or zoo.classifier=null to fit INRs."
        )
    return FitProblem.of_inrs(CheckedSignals(source), inr or SirenConfig())
