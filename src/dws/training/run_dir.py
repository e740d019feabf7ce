"""The folder of one training run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from dws.errors import NotFoundError, UserError
from dws.io.atomic import write_atomically
from dws.io.content import append_json_line, check_content, read_json_lines, read_yaml
from dws.io.folders import check_claim, claim_folder

# keys of a run's config that say where it comes from, not what it is
NOTES = ("zoo_path", "zoo_digest", "dims", "origin")


class TaskSettings(TypedDict):
    """Of ``config.task``; other keys are arguments of the task's class."""

    name: str
    num_train: int | None
    repeat_train: bool


class ModelSettings(TypedDict):
    """Of ``config.model``; other keys are arguments of the model's class."""

    name: str


class TrainerSettings(TypedDict):
    """Of ``config.trainer``; other keys are fields of ``TrainerConfig``."""

    num_epochs: int


@with_config(ConfigDict(extra="forbid"))
class DrawingSettings(TypedDict):
    """Fields of ``config.drawing``."""

    weight: float
    resolution: int


class RunSettings(TypedDict):
    """What evaluating relies on in the ``config.yaml`` of a run."""

    task: TaskSettings
    model: ModelSettings
    optim: dict[str, Any]
    trainer: TrainerSettings
    augment: dict[str, Any]
    drawing: NotRequired[DrawingSettings]
    seed: Annotated[int, Field(ge=0)]
    aligned: bool
    zoo: str
    zoo_path: str
    zoo_digest: NotRequired[str]  # not in older ones
    dims: NotRequired[list[int]]  # nor is this
    origin: dict[str, str]


class Epoch(TypedDict):
    """A line of ``metrics.jsonl``, which also has the metrics on validation."""

    epoch: float
    step: float
    train_loss: float
    seconds: float
    networks_per_second: float


@dataclass(frozen=True)
class RunDir:
    """Paths in a run folder, and what is read from and written to it.

    Attributes:
        path: The folder.
    """

    path: Path

    @contextmanager
    def claim(
        self,
        settings: Mapping[str, Any],
        *,
        zoo_path: str,
        zoo_digest: str,
        dims: Sequence[int],
        origin: Mapping[str, str],
    ) -> Iterator[None]:
        """Hold the folder for a run with these settings, new or begun.

        Args:
            settings: All that the run's outcome depends on.
            zoo_path: Where its zoo is now: noted, not compared.
            zoo_digest: See ``check_zoo``.
            dims: Widths of its networks: noted, not compared.
            origin: Command, code and machine that began the run: noted, not compared.

        Raises:
            ValueError: If it belongs to a run with other settings (the message names them), another
                process is writing there, or on the complaint of ``check_zoo``.
        """
        notes = dict(zip(NOTES, (zoo_path, zoo_digest, list(dims), dict(origin)), strict=True))
        with claim_folder(self.config_file, settings, option="run_dir", notes=notes):
            self.check_zoo(zoo_path, zoo_digest)
            yield

    def check_claim(self, settings: Mapping[str, Any], *, zoo_path: str, zoo_digest: str) -> None:
        """Make sure that a run with these settings may use the folder; arguments as ``claim``.

        Raises:
            ValueError: If it belongs to a run with other settings, or on the complaint of
                ``check_zoo``.
        """
        check_claim(self.config_file, settings, option="run_dir", notes=dict.fromkeys(NOTES))
        self.check_zoo(zoo_path, zoo_digest)

    def check_zoo(self, zoo_path: str, zoo_digest: str) -> None:
        """Make sure that the run began on these very networks, and not on others fitted alike.

        Raises:
            ValueError: If it did not.
        """
        if read_yaml(self.config_file).get("zoo_digest", zoo_digest) != zoo_digest:
            raise UserError(
                f"expected the networks that {self.path} was begun on in {zoo_path}, got others, "
                "fitted with the same settings on another machine or by another version; bring "
                "that zoo back, or remove the run folder and train again"
            )

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """Open an existing run.

        Raises:
            FileNotFoundError: If the folder holds no run.
        """
        run = cls(Path(path))
        if not run.config_file.is_file():
            raise NotFoundError(
                f"expected a run folder with {run.config_file.name} at {path}, got none; "
                "train one with dws-train and give the folder that it prints"
            )
        return run

    @property
    def config_file(self) -> Path:
        """Settings of the run."""
        return self.path / "config.yaml"

    @property
    def last_checkpoint(self) -> Path:
        """State to go on from."""
        return self.path / "checkpoint-last.pt"

    @property
    def best_checkpoint(self) -> Path:
        """Weights of the epoch with the best validation metric."""
        return self.path / "checkpoint-best.pt"

    @property
    def result_file(self) -> Path:
        """What the evaluation on the test split gave."""
        return self.path / "result.json"

    @property
    def metrics_file(self) -> Path:
        """One line of JSON an epoch."""
        return self.path / "metrics.jsonl"

    def config(self) -> dict[str, Any]:
        """The settings that the run was made with, and ``NOTES``.

        Raises:
            ValueError: If the file holds something else.
        """
        config = read_yaml(self.config_file)
        what = f"the settings of a run that dws-train made in {self.config_file}"
        check_content(config, RunSettings, what=what)
        return dict(config)

    def metrics(self) -> list[dict[str, float]]:
        """The epochs so far.

        Raises:
            ValueError: If the file holds something else.
        """
        if not self.metrics_file.is_file():
            return []
        epochs = read_json_lines(self.metrics_file)
        check_content(epochs, list[Epoch], what=f"the epochs of a run in {self.metrics_file}")
        return epochs

    def check_whole(self, num_epochs: int) -> None:
        """Make sure that what the first epochs have left is there.

        Args:
            num_epochs: Epochs that the last checkpoint counts as done.

        Raises:
            ValueError: If the best checkpoint or lines of the metrics are missing.
        """
        epochs = [row["epoch"] for row in self.metrics()][:num_epochs]
        missing = [] if self.best_checkpoint.is_file() else [self.best_checkpoint.name]
        if epochs != list(range(1, num_epochs + 1)):
            missing.append(f"epochs of {self.metrics_file.name}")
        if num_epochs and missing:
            raise UserError(
                f"The run in {self.path} has done {num_epochs} epochs, but {' and '.join(missing)} "
                "are missing, which training writes and cannot restore. Bring them back, or remove "
                f"{self.path} and train again."
            )

    def check_new(self) -> None:
        """Make sure that training may begin, since there is no last checkpoint.

        Raises:
            ValueError: If there are results of a training whose last checkpoint was removed.
        """
        # one epoch is noted before the first checkpoint is written
        if self.result_file.is_file() or len(self.metrics()) > 1:
            raise UserError(
                f"{self.last_checkpoint} is missing, though {self.path} holds the results of a "
                "training, which would be overwritten. Bring it back, choose another run_dir, or "
                f"remove {self.path} and train again."
            )

    def keep_metrics(self, num_epochs: int) -> None:
        """Drop epochs after the last checkpoint: they are about to be run again."""
        if not self.metrics_file.is_file():
            return
        lines = [json.dumps(row) for row in self.metrics() if row["epoch"] <= num_epochs]
        write_atomically(self.metrics_file, "".join(f"{line}\n" for line in lines).encode())

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Add one epoch."""
        append_json_line(self.metrics_file, row)
