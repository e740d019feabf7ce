"""The folder of one training run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from dws.errors import NotFoundError, UserError
from dws.io.atomic import write_atomically
from dws.io.content import append_json_line, check_content, is_same, read_json_lines
from dws.io.folders import check_claim, claim_folder
from dws.settings import TrainSettings
from dws.training.identity import identity, with_defaults
from dws.training.record import (
    BEFORE_0_2,
    Notes,
    RunRecord,
    map_text,
    outcome_settings,
    read_record,
    to_record,
    with_escapes,
)

HEADER = """\
# The settings of this run. To repeat it in another folder:
#   dws-train --config-dir THIS_FOLDER --config-name config run_dir=ANOTHER_FOLDER
# If it uses classes of packages that are not installed as plugins, and you trust them, add
# plugins=[...].
"""


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
    def claim(self, given: TrainSettings, notes: Notes) -> Iterator[None]:
        """Hold the folder for a run with these settings, new or begun.

        Args:
            given: All settings.
            notes: What is noted beside them; of it only the zoo is compared.

        Raises:
            UserError: If it belongs to a run with other settings (the message names them), another
                process is writing there, or on the complaint of ``check_zoo``.
        """
        settings = with_defaults(outcome_settings(given, notes.zoo))
        content = {
            "defaults": ["quiet", "_self_"],  # of Hydra
            **asdict(replace(given, run_dir=None, record=None)),
            # with the defaults of their classes, which may change
            **{group: settings[group] for group in ("task", "model", "augment")},
            "record": {**notes.model_dump(), "identity": identity(settings)},
        }
        with claim_folder(
            self.config_file,
            settings,
            option="run_dir",
            content=map_text(content, with_escapes),
            header=HEADER,
            comparable=self._comparable,
        ):
            self.check_zoo(given.zoo.path, notes.zoo_digest)
            yield

    def check_claim(self, given: TrainSettings, notes: Notes) -> None:
        """Make sure that a run with these settings may use the folder; arguments as ``claim``.

        Raises:
            UserError: If it belongs to a run with other settings, or on the complaint of
                ``check_zoo``.
        """
        settings = with_defaults(outcome_settings(given, notes.zoo))
        check_claim(self.config_file, settings, option="run_dir", comparable=self._comparable)
        self.check_zoo(given.zoo.path, notes.zoo_digest)

    def is_earlier(self, given: TrainSettings, notes: Notes) -> bool:
        """Whether a version before 0.2 made it, with these settings on the same kind of zoo."""
        settings = with_defaults(outcome_settings(given, notes.zoo))
        try:
            record = self.record()
            return record.notes.format_version == BEFORE_0_2 and is_same(
                with_defaults(record.outcome()), settings
            )
        except (UserError, OSError):  # damaged, or of a plugin that is not allowed
            return False

    def _comparable(self, content: Any) -> dict[str, Any]:
        """What the content of ``config.yaml`` says of the outcome, as it is compared."""
        return with_defaults(to_record(content, self.config_file).outcome())

    def check_zoo(self, zoo_path: str, zoo_digest: str | None) -> None:
        """Make sure that the run began on these very networks, and not on others fitted alike.

        Raises:
            ValueError: If it did not.
        """
        if not self.config_file.is_file():
            return
        if self.record().notes.zoo_digest not in (None, zoo_digest):
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
    def learning_curve(self) -> Path:
        """Plot of the training loss and the monitored metric."""
        return self.path / "learning_curve.png"

    @property
    def metrics_file(self) -> Path:
        """One line of JSON an epoch."""
        return self.path / "metrics.jsonl"

    def record(self) -> RunRecord:
        """The settings of the run, and where it comes from.

        Raises:
            UserError: If the file holds something else.
        """
        return read_record(self.config_file)

    def identity(self) -> str:
        """What identifies the run and those that differ from it in nothing but the seed.

        Raises:
            UserError: As ``record``, or if a class is not allowed or not found.
        """
        record = self.record()
        return record.notes.identity or identity(record.outcome())

    def metrics(self) -> list[dict[str, float]]:
        """The epochs so far.

        Raises:
            ValueError: If the file holds something else.
        """
        if not self.metrics_file.is_file():
            return []
        epochs = read_json_lines(self.metrics_file)
        check_content(epochs, list[Epoch], what=f"epochs in {self.metrics_file}")
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
