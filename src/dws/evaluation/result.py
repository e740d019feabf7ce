"""Declaration and reading of ``result.json`` and ``transfer-<zoo>.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from dws.errors import UserError
from dws.io import record
from dws.io.content import check_content, read_json, write_json
from dws.io.record import Record
from dws.training.identity import from_earlier_version, identity, with_defaults
from dws.training.record import Origin

FORMAT_VERSION = 2  # files of version 1 have no format_version
SPLITS = ("validation", "test", "test_permuted")  # fields of a result that contain metrics
TRANSFER = "transfer-"  # prefix of file names
UNITS = {"accuracy": "%"}  # default units of metrics, for tasks without units

FileName = Annotated[str, Field(pattern=r"^[\w.-]+$")]  # file in the same folder
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class EmbeddingScores(Record):
    """Scores of predicting labels from an embedding, see ``describe_embedding``."""

    neighbours: float | None
    linear_probe: float | None


class Bin(Record):
    """Mean squared error of the networks whose true value is in a range."""

    low: float
    high: float
    n: int
    mse: float


class PSNRBin(Record):
    """Accuracy on the networks whose PSNR, in dB, is in a range."""

    low: float
    high: float
    n: int
    accuracy: float


class ConfidenceBin(Record):
    """Mean confidence and accuracy of the predictions whose confidence is in an interval."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class Calibration(Record):
    """Comparison of confidence and accuracy, see ``dws.evaluation.calibration``."""

    expected_error: float
    bins: list[ConfidenceBin]


@with_config(ConfigDict(extra="allow"))
class Settings(TypedDict, total=False):
    """Settings of a run; only the type of ``task`` is checked."""

    task: dict[str, Any]


class Result(Record):
    """An evaluated run.

    Attributes:
        format_version: Version of the file format.
        task: Name of the task.
        title: Title of the task in reports; None for its name.
        model: Name of the model.
        seed: Seed of the training.
        settings: Settings that determine the outcome; None in old files.
        settings_hash: Identity of the run; equal for runs that differ only in the seed.
        num_train: Number of distinct training networks.
        num_parameters: Number of parameters of the model.
        zoo: Hash of the zoo's signals and settings.
        zoo_path: Folder of the zoo.
        origin: Provenance of the training; None in old files.
        evaluated: Provenance of the evaluation; None in old files.
        metric: Name of the monitored metric, by which validation selected the epoch.
        higher_is_better: Whether larger values of the monitored metric are better.
        units: Units of metrics by name. "%" is for fractions of 1, and "×10⁻²" shows hundredths.
        published: Published mean and standard deviation of the monitored metric, by method, as
            printed: fractions in percent.
        source: Source of the published values.
        labels: Names of the predicted labels; empty for tasks that predict networks.
        reads: Input of the model: ``standardized``, ``scaled``, ``unscaled``, ``wrapped`` or
            ``raw`` weights. Models of raw weights may evaluate the functions.
        test: Metrics of the test split, by name.
        test_interval: 95 % bootstrap interval of the monitored metric over test signals.
        test_permuted: Metrics of the test split with the hidden neurons of each network permuted.
        permutation_change: Change of the predictions by this permutation. For classes, the share of
            test networks whose predicted class changes; for numbers, the mean squared difference.
            None in old files and for tasks that predict networks.
        references: Reference metrics by title, such as those of unchanged networks, for tasks that
            predict networks.
        validation: Validation metrics of the selected epoch.
        confusion: Confusion matrix of the test split: true classes in rows, predictions in columns.
        accuracy_by_class: Test accuracy of each true class; None for a class without networks.
        calibration: Calibration of the predicted classes of the test split; None in old files and
            if no output is finite.
        accuracy_by_psnr: Test accuracy by PSNR of the INRs; None in old files, for imported INRs,
            whose PSNR is unknown, and for networks that are not INRs.
        mse_by_target: Test errors by true value, for each label.
        embedding: Scores of the embedding of the test networks.
        num_test: Number of test networks.
        num_epochs: Number of epochs of the training.
        best_epoch: The epoch that validation selected.
        train_seconds: Time of the training steps, without validation.
        networks_per_second: Training throughput, median over epochs.
        pictures: Names of image files in the run's folder.
        evaluate_seconds: Time of the evaluation; None in old files.
    """

    format_version: int = 1
    task: str
    title: str | None = None
    model: str
    seed: int
    settings: Settings | None = None
    settings_hash: str
    num_train: int
    num_parameters: int
    zoo: str
    zoo_path: str
    origin: Origin | None = None
    evaluated: Origin | None = None
    metric: str
    higher_is_better: bool
    units: dict[str, str] = UNITS
    published: dict[str, tuple[float, float]] = Field(default_factory=dict)
    source: str = ""
    labels: list[str]
    reads: str
    test: dict[str, float]
    test_interval: Interval
    test_permuted: dict[str, float]
    permutation_change: float | None = None
    references: dict[str, dict[str, float]] = Field(default_factory=dict)
    validation: dict[str, float]
    confusion: list[list[int]] | None = None
    accuracy_by_class: list[float | None] | None = None
    calibration: Calibration | None = None
    accuracy_by_psnr: list[PSNRBin] | None = None
    mse_by_target: dict[str, list[Bin]] | None = None
    embedding: EmbeddingScores
    num_test: int
    num_epochs: int
    best_epoch: float
    train_seconds: float
    networks_per_second: float
    pictures: list[FileName]
    evaluate_seconds: float | None = None

    def write(self, file: Path) -> None:
        """Write a ``result.json`` atomically."""
        write_json(file, self.model_dump())


class Transfer(Record):
    """Evaluation of a run on another zoo than that of its training.

    Attributes:
        format_version: Version of the file format.
        task: Name of the task.
        model: Name of the model.
        seed: Seed of the training.
        settings_hash: Identity of the run.
        num_train: Number of distinct training networks.
        zoo: Hash of the other zoo's signals and settings.
        zoo_path: Folder of the other zoo.
        signals: Name of the other zoo's signals.
        metric: Name of the monitored metric.
        units: Units of metrics by name.
        test: Metrics of the other zoo's test split.
        test_interval: 95 % bootstrap interval of the monitored metric over test signals.
        references: Reference metrics by title, see ``Result``.
        num_test: Number of test networks.
        evaluated: Provenance of the evaluation.
    """

    format_version: int
    task: str
    model: str
    seed: int
    settings_hash: str
    num_train: int
    zoo: str
    zoo_path: str
    signals: str
    metric: str
    units: dict[str, str]
    test: dict[str, float]
    test_interval: Interval
    references: dict[str, dict[str, float]]
    num_test: int
    evaluated: Origin

    def write(self, folder: Path) -> Path:
        """Write the file ``transfer-<zoo>.json`` to the folder of a run; returns the file."""
        file = folder / f"{TRANSFER}{self.zoo}.json"
        write_json(file, self.model_dump())
        return file


def read_transfers(folder: Path) -> list[Transfer]:
    """Read all evaluations of a run on other zoos.

    Raises:
        UserError: If a file is damaged, or was written by a newer version of dws.
    """
    transfers = []
    for file in sorted(folder.glob(f"{TRANSFER}*.json")):
        content = read_json(file)
        check_version(content, file)
        what = f"evaluation on another zoo in {file}"
        transfers.append(check_content(content, Transfer, what=what))
    return transfers


def read_result(file: Path) -> Result:
    """Read a ``result.json`` of this or an earlier version.

    Raises:
        UserError: If the file cannot be read, is damaged, or was written by a newer version of dws.
    """
    remedy = "Delete that file and rerun dws-evaluate."
    try:
        content = read_json(file)
    except ValueError as error:
        raise UserError(f"{error}. {remedy}") from error
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror}). Make it readable, or delete it and rerun "
            "dws-evaluate."
        ) from error
    check_version(content, file)
    try:
        result = check_content(content, Result, what=f"result in {file}")
        check_metric(result, file)
    except ValueError as error:
        raise UserError(f"{error}. {remedy}") from error
    return with_current_settings(result)


def check_version(content: object, file: Path) -> None:
    """Check that a result was not written by a newer version of dws.

    Raises:
        UserError: If the file has a newer format version.
    """
    record.check_version(content, file, newest=FORMAT_VERSION)


def check_metric(result: Result, file: Path) -> None:
    """Check that a result contains its monitored metric for every split.

    Raises:
        UserError: If the metric is missing for a split.
    """
    names = [name for split in SPLITS for name in result[split]]
    if names.count(result.metric) != len(SPLITS):
        raise UserError(
            f"{file} does not have {result.metric} for each of {', '.join(SPLITS)}; it has {names}"
        )


def with_current_settings(result: Result) -> Result:
    """Convert the settings and the identity of a result of an earlier version to current ones.

    The identity depends on the full settings. A run with other defaults of its classes is therefore
    not averaged with runs that have today's defaults.
    """
    settings: Mapping[str, Any] = result.settings or {}
    is_complete = {"task", "model", "optim", "trainer", "augment"} <= settings.keys()
    if not is_complete or not all("_target_" in settings[group] for group in ("task", "model")):
        return result
    if "reconstruction" not in settings:
        command = result.origin.command if result.origin else ""
        settings = from_earlier_version(settings, command)
    try:
        changes = {"settings": with_defaults(settings), "settings_hash": identity(settings)}
    except UserError:  # the class is of a plugin that is not allowed
        changes = {"settings": settings}
    return result.model_copy(update=changes)
