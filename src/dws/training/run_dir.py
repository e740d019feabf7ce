"""The folder of a training run."""

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
from dws.zoo.manifest import MANIFEST

HEADER = """\
# The settings of this run. To repeat it in another folder:
#   dws-train --config-dir THIS_FOLDER --config-name config run_dir=ANOTHER_FOLDER
# If it uses classes of packages that are not installed as plugins, and you trust them, add
# plugins=[...].
"""


class Epoch(TypedDict):
    """A line of ``metrics.jsonl``, which also contains the validation metrics."""

    epoch: float
    step: float
    train_loss: float
    seconds: float
    networks_per_second: float


@dataclass(frozen=True)
class RunDir:
    """A run folder, with its files and checks.

    Attributes:
        path: The folder.
    """

    path: Path

    @contextmanager
    def claim(self, given: TrainSettings, notes: Notes) -> Iterator[None]:
        """Context manager that locks the folder for a new or existing run with these settings.

        Args:
            given: All settings.
            notes: Further facts, of which only the zoo is compared.

        Raises:
            UserError: If the folder belongs to a run with other settings (the message lists them),
                another process is writing to it, or ``check_zoo`` fails.
        """
        settings = with_defaults(outcome_settings(given, notes.zoo))
        content = {
            "defaults": ["quiet", "_self_"],  # for Hydra
            **asdict(replace(given, run_dir=None, record=None)),
            # including the current defaults of their classes, which may change
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
        """Check that a run with these settings may use the folder; arguments as in ``claim``.

        Raises:
            UserError: If the folder belongs to a run with other settings, or ``check_zoo`` fails.
        """
        settings = with_defaults(outcome_settings(given, notes.zoo))
        check_claim(self.config_file, settings, option="run_dir", comparable=self._comparable)
        self.check_zoo(given.zoo.path, notes.zoo_digest)

    def is_earlier(self, given: TrainSettings, notes: Notes) -> bool:
        """Return whether the run is of a version before 0.2 and has these settings and this zoo."""
        settings = with_defaults(outcome_settings(given, notes.zoo))
        try:
            record = self.record()
            return record.notes.format_version == BEFORE_0_2 and is_same(
                with_defaults(record.outcome()), settings
            )
        except (UserError, OSError):  # damaged, or of a plugin that is not allowed
            return False

    def _comparable(self, content: Any) -> dict[str, Any]:
        """Convert the content of ``config.yaml`` to settings that can be compared."""
        return with_defaults(to_record(content, self.config_file).outcome())

    def check_zoo(self, zoo_path: str, zoo_digest: str | None) -> None:
        """Check that the run was started on exactly these networks.

        Raises:
            ValueError: If the networks differ, even if they were fitted with the same settings.
        """
        if not self.config_file.is_file():
            return
        if self.record().notes.zoo_digest not in (None, zoo_digest):
            raise UserError(
                f"The networks in {zoo_path} differ from those that {self.path} was started on: "
                "they were fitted with the same settings, but on another machine or by another "
                "version. Restore the original zoo, or remove the run folder and train again."
            )

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """Open an existing run.

        Raises:
            FileNotFoundError: If the folder does not contain a run.
            ValueError: If the folder is a zoo.
        """
        run = cls(Path(path))
        if not run.config_file.is_file():
            raise NotFoundError(
                f"No run found in {path}: there is no {run.config_file.name}. Train a model with "
                "dws-train and pass the folder that it prints."
            )
        if (run.path / MANIFEST).is_file():
            raise UserError(f"{path} is a zoo, not a run. Pass the folder of a run.")
        return run

    @property
    def config_file(self) -> Path:
        """File with the settings of the run."""
        return self.path / "config.yaml"

    @property
    def last_checkpoint(self) -> Path:
        """Checkpoint to resume from."""
        return self.path / "checkpoint-last.pt"

    @property
    def best_checkpoint(self) -> Path:
        """Checkpoint of the epoch with the best validation metric."""
        return self.path / "checkpoint-best.pt"

    @property
    def result_file(self) -> Path:
        """File with the result of the evaluation on the test split."""
        return self.path / "result.json"

    @property
    def learning_curve(self) -> Path:
        """Plot of the training loss and the monitored metric."""
        return self.path / "learning_curve.png"

    @property
    def metrics_file(self) -> Path:
        """File with one line of JSON for each epoch."""
        return self.path / "metrics.jsonl"

    def record(self) -> RunRecord:
        """Read the settings and the origin of the run.

        Raises:
            UserError: If the file has other content.
        """
        return read_record(self.config_file)

    def identity(self) -> str:
        """Return the identity of the run, which does not depend on the seed.

        Raises:
            UserError: If ``record`` fails, or a class is not allowed or not found.
        """
        record = self.record()
        return record.notes.identity or identity(record.outcome())

    def metrics(self) -> list[dict[str, float]]:
        """Read the metrics of all epochs so far.

        Raises:
            ValueError: If the file has other content.
        """
        if not self.metrics_file.is_file():
            return []
        epochs = read_json_lines(self.metrics_file)
        check_content(epochs, list[Epoch], what=f"epochs in {self.metrics_file}")
        return epochs

    def check_whole(self, num_epochs: int) -> None:
        """Check that the files of the first epochs exist.

        Args:
            num_epochs: Number of complete epochs according to the last checkpoint.

        Raises:
            ValueError: If the best checkpoint or lines of the metrics file are missing.
        """
        epochs = [row["epoch"] for row in self.metrics()][:num_epochs]
        missing = [] if self.best_checkpoint.is_file() else [self.best_checkpoint.name]
        if epochs != list(range(1, num_epochs + 1)):
            missing.append(f"epochs of {self.metrics_file.name}")
        if num_epochs and missing:
            raise UserError(
                f"The run in {self.path} has completed {num_epochs} epochs, but "
                f"{' and '.join(missing)} are missing. Restore them, or remove {self.path} and "
                "train again."
            )

    def check_new(self) -> None:
        """Check that a folder without a last checkpoint contains no results.

        Raises:
            ValueError: If there are results of a training whose last checkpoint was removed.
        """
        # The metrics of the first epoch are written before the first checkpoint.
        if self.result_file.is_file() or len(self.metrics()) > 1:
            raise UserError(
                f"{self.last_checkpoint} is missing, but {self.path} contains results of a "
                "training, which would be overwritten. Restore the checkpoint, choose another "
                f"run_dir, or remove {self.path} and train again."
            )

    def keep_metrics(self, num_epochs: int) -> None:
        """Remove the metrics of epochs after the last checkpoint, which will be run again."""
        if not self.metrics_file.is_file():
            return
        lines = [json.dumps(row) for row in self.metrics() if row["epoch"] <= num_epochs]
        write_atomically(self.metrics_file, "".join(f"{line}\n" for line in lines).encode())

    def append_metrics(self, row: Mapping[str, float]) -> None:
        """Append the metrics of an epoch."""
        append_json_line(self.metrics_file, row)
