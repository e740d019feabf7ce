"""What a zoo is fitted to, and what is fitted: INRs to signals, or classifiers to binary tasks."""

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
class Fitted(Protocol):
    """Networks of one architecture and what each of them is fitted to.

    Attributes:
        quality_text: What the progress bar shows, a format of one number.
        source: Gives names, splits and labels.
    """

    quality_text: str

    @property
    def source(self) -> CheckedSignals | BinaryTasks: ...  # noqa: D102

    @property
    def spec(self) -> WeightSpaceSpec:
        """The architecture of the networks."""

    @property
    def family(self) -> Family:
        """How they compute, and their loss."""

    @property
    def shared_init(self) -> bool:
        """Whether all networks start from the same weights."""

    def architecture(self) -> dict[str, Any]:
        """The section of the manifest that says what the networks compute, by its name."""

    def domain(self) -> dict[str, Any]:
        """The section of the manifest that says where signals are defined, by its name, if any."""

    def initial(self, seeds: Sequence[int]) -> WeightBatch:
        """Networks to start from."""

    def data(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the networks with these ids."""

    def check(self, fit: FitConfig) -> None:
        """Refuse settings of the fit that have no meaning here."""

    def quality(self, loss: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """How well networks with these losses fit, whose mean the progress bar shows."""


@dataclass(frozen=True)
class FittedInrs:
    """SIRENs, one for each signal.

    Attributes:
        source: The signals.
        inr: The architecture.
    """

    source: CheckedSignals
    inr: SirenConfig

    quality_text = "PSNR {:.1f} dB"

    @property
    def spec(self) -> WeightSpaceSpec:
        """See ``Fitted``."""
        d_0 = self.source.coordinates.shape[1]
        return WeightSpaceSpec((d_0, *self.inr.hidden, self.source.num_outputs))

    @property
    def family(self) -> Family:
        """See ``Fitted``."""
        return Siren(self.inr.omega_0, self.inr.output_offset)

    @property
    def shared_init(self) -> bool:
        """See ``Fitted``."""
        return self.inr.shared_init

    def architecture(self) -> dict[str, Any]:
        """See ``Fitted``."""
        return {"inr": asdict(self.inr)}

    def domain(self) -> dict[str, Any]:
        """See ``Fitted``."""
        coordinates = self.source.coordinates
        return {
            "domain": {
                "low": coordinates.amin(0).tolist(),
                "high": coordinates.amax(0).tolist(),
                "grid": self.source.grid or [len(coordinates)],
            }
        }

    def initial(self, seeds: Sequence[int]) -> WeightBatch:
        """See ``Fitted``."""
        return init_siren(self.spec, seeds, omega_0=self.inr.omega_0, init=self.inr.init)

    def data(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Fitted``."""
        return self.source.coordinates, self.source.values(ids)

    def check(self, fit: FitConfig) -> None:
        """All settings of a fit are for INRs."""

    def quality(self, loss: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """PSNR in dB."""
        return psnr(loss)


@dataclass(frozen=True)
class FittedClassifiers:
    """ReLU classifiers, one for each binary task.

    Attributes:
        source: The tasks.
        classifier: The architecture.
    """

    source: BinaryTasks
    classifier: ClassifierConfig

    quality_text = "cross-entropy {:.3f}"

    @property
    def spec(self) -> WeightSpaceSpec:
        """See ``Fitted``."""
        hidden = self.classifier.hidden
        return WeightSpaceSpec((self.source.num_inputs, *hidden, self.source.num_outputs))

    @property
    def family(self) -> Family:
        """See ``Fitted``."""
        return Classifier()

    @property
    def shared_init(self) -> bool:
        """See ``Fitted``."""
        return self.classifier.shared_init

    def architecture(self) -> dict[str, Any]:
        """See ``Fitted``."""
        return {"classifier": {"activation": "relu", **asdict(self.classifier)}}

    def domain(self) -> dict[str, Any]:
        """Inputs are no coordinates."""
        return {}

    def initial(self, seeds: Sequence[int]) -> WeightBatch:
        """See ``Fitted``."""
        return init_classifier(self.spec, seeds)

    def data(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Fitted``."""
        return self.source.examples(ids)

    def check(self, fit: FitConfig) -> None:
        """Refuse to stop at a mean squared error.

        Raises:
            ValueError: If that is requested.
        """
        if fit.stop_mse:
            raise UserError(
                "expected fit.stop_mse=0 for classifiers, which have a cross-entropy instead, got "
                f"{fit.stop_mse}"
            )

    def quality(self, loss: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The cross-entropy itself."""
        return loss


def to_fitted(
    source: SignalSource | BinaryTasks,
    inr: SirenConfig | None,
    classifier: ClassifierConfig | None,
) -> Fitted:
    """What is fitted to a source: classifiers to binary tasks, INRs to signals.

    Args:
        source: The source.
        inr: The architecture of INRs; None for the default.
        classifier: The architecture of classifiers; None for the default.

    Raises:
        ValueError: If the architecture is for the other kind of source, or the source lacks
            something.
    """
    if isinstance(source, BinaryTasks):
        if inr is not None:
            raise UserError(
                "expected the architecture of classifiers for binary tasks, got that of INRs; set "
                "zoo.classifier instead of inr"
            )
        return FittedClassifiers(source, classifier or ClassifierConfig())
    if classifier is not None:
        raise UserError(
            f"expected dws.signals.BinaryTasks for classifiers, got {type(source).__name__}; set "
            "zoo.signals, or zoo.classifier=null to fit INRs"
        )
    return FittedInrs(CheckedSignals(source), inr or SirenConfig())
