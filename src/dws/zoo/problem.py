"""Fitting problems of a zoo: INRs fitted to signals, or classifiers fitted to binary tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class FitProblem(Protocol):
    """Protocol of an architecture and the data that its networks are fitted to.

    Attributes:
        quality_text: Format string of the quality in the progress bar, with one number.
        source: Source of names, splits and labels.
    """

    quality_text: str

    @property
    def source(self) -> CheckedSignals | BinaryTasks: ...  # noqa: D102

    @property
    def spec(self) -> WeightSpaceSpec:
        """The architecture of the networks."""

    @property
    def family(self) -> Family:
        """Forward pass and loss of the networks."""

    @property
    def shared_init(self) -> bool:
        """Whether all networks start from the same weights."""

    def architecture(self) -> dict[str, Any]:
        """The manifest section of the architecture, by its name."""

    def domain(self) -> dict[str, Any]:
        """The manifest section of the domain of the signals, by its name; empty for no signals."""

    def initial(self, seeds: Sequence[int]) -> WeightBatch:
        """Initialise one network per seed."""

    def data(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the networks with these ids, see ``FitJob``."""

    def check(self, fit: FitConfig) -> None:
        """Raise a ``ValueError`` for settings of the fit that do not apply to these networks."""

    def quality(self, loss: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Convert losses to the quality whose mean the progress bar shows."""


@dataclass(frozen=True)
class InrProblem:
    """Fits of SIRENs, one for each signal.

    Attributes:
        source: The signals.
        inr: The architecture.
    """

    source: CheckedSignals
    inr: SirenConfig

    quality_text = "PSNR {:.1f} dB"

    @property
    def spec(self) -> WeightSpaceSpec:
        """See ``FitProblem``."""
        d_0 = self.source.coordinates.shape[1]
        return WeightSpaceSpec((d_0, *self.inr.hidden, self.source.num_outputs))

    @property
    def family(self) -> Family:
        """See ``FitProblem``."""
        return Siren(self.inr.omega_0, self.inr.output_offset)

    @property
    def shared_init(self) -> bool:
        """See ``FitProblem``."""
        return self.inr.shared_init

    def architecture(self) -> dict[str, Any]:
        """See ``FitProblem``."""
        return {"inr": asdict(self.inr)}

    def domain(self) -> dict[str, Any]:
        """See ``FitProblem``."""
        coordinates = self.source.coordinates
        return {
            "domain": {
                "low": coordinates.amin(0).tolist(),
                "high": coordinates.amax(0).tolist(),
                "grid": self.source.grid or [len(coordinates)],
            }
        }

    def initial(self, seeds: Sequence[int]) -> WeightBatch:
        """See ``FitProblem``."""
        return init_siren(self.spec, seeds, omega_0=self.inr.omega_0, init=self.inr.init)

    def data(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``FitProblem``."""
        return self.source.coordinates, self.source.values(ids)

    def check(self, fit: FitConfig) -> None:
        """Do nothing: all settings of a fit apply to INRs."""

    def quality(self, loss: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """PSNR in dB."""
        return psnr(loss)


@dataclass(frozen=True)
class ClassifierProblem:
    """Fits of ReLU classifiers, one for each binary task.

    Attributes:
        source: The tasks.
        classifier: The architecture.
    """

    source: BinaryTasks
    classifier: ClassifierConfig

    quality_text = "cross-entropy {:.3f}"

    @property
    def spec(self) -> WeightSpaceSpec:
        """See ``FitProblem``."""
        hidden = self.classifier.hidden
        return WeightSpaceSpec((self.source.num_inputs, *hidden, self.source.num_outputs))

    @property
    def family(self) -> Family:
        """See ``FitProblem``."""
        return Classifier()

    @property
    def shared_init(self) -> bool:
        """See ``FitProblem``."""
        return self.classifier.shared_init

    def architecture(self) -> dict[str, Any]:
        """See ``FitProblem``."""
        return {"classifier": {"activation": "relu", **asdict(self.classifier)}}

    def domain(self) -> dict[str, Any]:
        """Empty: the inputs of classifiers are not coordinates."""
        return {}

    def initial(self, seeds: Sequence[int]) -> WeightBatch:
        """See ``FitProblem``."""
        return init_classifier(self.spec, seeds)

    def data(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``FitProblem``."""
        return self.source.examples(ids)

    def check(self, fit: FitConfig) -> None:
        """Check that the fit does not stop at a mean squared error.

        Raises:
            ValueError: If ``fit.stop_mse`` is set.
        """
        if fit.stop_mse:
            raise UserError(
                f"fit.stop_mse is {fit.stop_mse}, but the loss of classifiers is the "
                "cross-entropy. Set fit.stop_mse=0."
            )

    def quality(self, loss: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The cross-entropy, in nats."""
        return loss


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
        return ClassifierProblem(source, classifier or ClassifierConfig())
    if classifier is not None:
        raise UserError(
            f"Classifiers need a source of dws.signals.BinaryTasks, got {type(source).__name__}. "
            "Set zoo.signals, or zoo.classifier=null to fit INRs."
        )
    return InrProblem(CheckedSignals(source), inr or SirenConfig())
