"""The record of an evaluated run, ``result.json``: its one declaration, and reading it."""

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
SPLITS = ("validation", "test", "test_permuted")  # fields of a result with metrics
TRANSFER = "transfer-"  # prefix of the names of files
UNITS = {"accuracy": "%"}  # of metrics, where a task does not say

FileName = Annotated[str, Field(pattern=r"^[\w.-]+$")]  # of the same folder
Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class EmbeddingScores(Record):
    """How well labels can be predicted from an embedding; None where it was not measured."""

    neighbours: float | None
    linear_probe: float | None


class Bin(Record):
    """Networks whose true value is in a range, and their mean squared error."""

    low: float
    high: float
    n: int
    mse: float


@with_config(ConfigDict(extra="allow"))
class Settings(TypedDict, total=False):
    """Settings of a run; the kind of one group matters here."""

    task: dict[str, Any]


class Result(Record):
    """An evaluated run.

    Attributes:
        format_version: Of the file.
        task: Name of the task.
        title: What reports call the task; None for its name.
        model: Name of the model.
        seed: Of the training.
        settings: On which the outcome depends; None in old files.
        settings_hash: Identity of the run: the same for runs that differ in nothing but the seed.
        num_train: Number of different training networks.
        num_parameters: Number of parameters of the model.
        zoo: Hash of the zoo's signals and settings.
        zoo_path: Folder of the zoo.
        origin: What made the run; None in old files.
        evaluated: What made this evaluation; None in old files.
        metric: Name of the monitored metric, by which validation selected the epoch.
        higher_is_better: Whether more of it is better.
        units: Units of metrics, by name; shares of 1 have "%", and "×10⁻²" shows hundredths.
        published: Mean and standard deviation of the monitored metric elsewhere, by method, as they
            are printed: shares of 1 in percent.
        source: Where the published values are from.
        labels: Names of the zoo's labels that are predicted; none where networks are.
        reads: Input of the model: ``standardized``, ``scaled``, ``wrapped`` or ``raw`` weights.
            Models of raw weights may evaluate the functions.
        test: Metrics of the test split, by name.
        test_interval: 95 % bootstrap interval of the monitored metric over test signals.
        test_permuted: Metrics of the test split with the hidden neurons of each network permuted.
        references: Metrics to compare with, by title, such as those of networks that are left as
            they are; of tasks that turn networks into networks.
        validation: Metrics of the epoch that validation selected.
        confusion: Number of test networks of each true class (row) by predicted class.
        accuracy_by_class: Test accuracy of each true class; None for one without networks.
        mse_by_target: For each label, test errors by the true value.
        embedding: How well labels can be predicted from the embedding of the test networks.
        num_test: Number of test networks.
        num_epochs: Epochs of the training.
        best_epoch: The epoch that validation selected.
        train_seconds: Time of training steps, without validation.
        networks_per_second: Median over epochs.
        pictures: Names of files in the run's folder.
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
    references: dict[str, dict[str, float]] = Field(default_factory=dict)
    validation: dict[str, float]
    confusion: list[list[int]] | None = None
    accuracy_by_class: list[float | None] | None = None
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
    """A run evaluated on another zoo than it was trained on.

    Attributes:
        format_version: Of the file.
        task: Name of the run's task.
        model: Name of the model.
        seed: Of the training.
        settings_hash: Identity of the run.
        num_train: Number of different training networks.
        zoo: Hash of the other zoo's signals and settings.
        zoo_path: Its folder.
        signals: Name of its signals.
        metric: Name of the monitored metric.
        units: Units of metrics, by name.
        test: Metrics of the other zoo's test split.
        test_interval: 95 % bootstrap interval of the monitored metric over test signals.
        references: Metrics to compare with, by title, see ``Result``.
        num_test: Number of test networks.
        evaluated: What made this evaluation.
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
        """Write it to the folder of a run, one file for each zoo."""
        file = folder / f"{TRANSFER}{self.zoo}.json"
        write_json(file, self.model_dump())
        return file


def read_transfers(folder: Path) -> list[Transfer]:
    """What was written to the folder of a run, for each other zoo.

    Raises:
        UserError: If a file cannot be read, or a newer version of dws wrote it.
    """
    found = []
    for file in sorted(folder.glob(f"{TRANSFER}*.json")):
        content = read_json(file)
        check_version(content, file)
        what = f"an evaluation on another zoo in {file}"
        found.append(check_content(content, Transfer, what=what))
    return found


def read_result(file: Path) -> Result:
    """Read a ``result.json`` of this or an earlier version.

    Raises:
        UserError: If it cannot be read, holds something else, or a newer version of dws wrote it.
    """
    again = "run dws-evaluate again"
    try:
        content = read_json(file)
    except ValueError as error:
        raise UserError(f"{error}; delete that file and {again}") from error
    except OSError as error:
        raise UserError(
            f"expected a result in {file}, got something that cannot be read ({error.strerror}); "
            f"make it readable, or remove it and {again}"
        ) from error
    check_version(content, file)
    try:
        result = check_content(content, Result, what=f"result in {file}")
        check_metric(result, file)
    except ValueError as error:
        raise UserError(f"{error}; delete that file and {again}") from error
    return with_current_settings(result)


def check_version(content: object, file: Path) -> None:
    """Make sure that no newer version of dws wrote a file.

    Raises:
        UserError: If one did.
    """
    record.check_version(content, file, newest=FORMAT_VERSION)


def check_metric(result: Result, file: Path) -> None:
    """Make sure that a result has its monitored metric on every split.

    Raises:
        UserError: If it is missing.
    """
    known = [name for split in SPLITS for name in result[split]]
    if known.count(result.metric) != len(SPLITS):
        raise UserError(f"expected {result.metric} of all splits in {file}, got {known}")


def with_current_settings(result: Result) -> Result:
    """The result with all settings, and its run's identity, as they are recorded now.

    A run that was made with other defaults of its classes has the identity of its full settings,
    and is not averaged with runs of today's defaults.
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
    except UserError:  # of a plugin that is not allowed
        changes = {"settings": settings}
    return result.model_copy(update=changes)
