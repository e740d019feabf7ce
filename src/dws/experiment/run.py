"""Trained runs: evaluation, and loading of their models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dws.config import as_argument, validate
from dws.errors import UserError
from dws.evaluation.result import Result, Transfer
from dws.experiment.building import build_model, build_task
from dws.training import Model, RunDir
from dws.training.checkpoint import load_best, load_checkpoint, load_weights, num_epochs_done
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Zoo

if TYPE_CHECKING:
    from dws.experiment.pretrained import PretrainedModel


@dataclass(frozen=True)
class Run(RunDir):
    """A trained run. ``Run.open(path)`` opens an existing one.

    Attributes:
        path: Folder of the run.
    """

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run that was trained earlier.

        Raises:
            FileNotFoundError: If the folder contains no run.
        """
        return cls(RunDir.open(path).path)

    def evaluate(
        self,
        *,
        device: str = "auto",
        batch_size: int = 128,
        zoo_path: str | Path | None = None,
        data_path: str | Path | None = None,
        wandb: Literal["offline", "online", "disabled"] | None = None,
    ) -> Result:
        """Evaluate the run on the test split, as ``dws-evaluate`` does.

        The test split is evaluated once; later calls return the existing result.

        Args:
            device: Device, see ``trainer.device``.
            batch_size: Networks per batch.
            zoo_path: The zoo's folder if it was moved after the training.
            data_path: The folder of data sets if it was moved after the training.
            wandb: ``offline``, ``online`` or ``disabled``; None for the mode of the training.

        Returns:
            The content of ``result.json``. ``test`` contains the metrics of the test split,
            ``test_interval`` the 95 % confidence interval of the monitored metric, and
            ``validation`` the metrics of the selected epoch.

        Raises:
            ValueError: If the run is unfinished or damaged, or the zoo is not that of the training.
            FileNotFoundError: If the zoo does not exist.
        """
        from dws.experiment.evaluation import evaluate_run  # deferred: imports scikit-learn

        values: dict[str, Any] = {"run": str(self.path), "device": device, "batch_size": batch_size}
        paths = {"zoo_path": zoo_path, "data_path": data_path}
        values |= {name: None if path is None else str(path) for name, path in paths.items()}
        values |= {"wandb": {"mode": wandb}}
        settings = validate(values, "evaluate")
        return evaluate_run(settings, command=f"dws-evaluate {as_argument('run', self.path)}")

    def evaluate_on(
        self,
        zoo: Zoo | str | Path,
        *,
        device: str = "auto",
        batch_size: int = 128,
        data_path: str | Path | None = None,
    ) -> Transfer:
        """Evaluate the run on the test split of another zoo.

        Equivalent to ``dws-evaluate other_zoo=...``.

        Args:
            zoo: A zoo whose networks have the same widths, or its folder.
            device: Device, see ``trainer.device``.
            batch_size: Networks per batch.
            data_path: The folder of data sets if it was moved after the training.

        Returns:
            The content of ``transfer-<zoo>.json`` in the run's folder.

        Raises:
            ValueError: If the run is unfinished or damaged, the networks have other widths, or the
                zoo is that of the training.
            FileNotFoundError: If a zoo does not exist.
        """
        from dws.experiment.evaluation import transfer_run  # deferred: imports scikit-learn

        path = str(zoo.path if isinstance(zoo, Zoo) else zoo)
        values: dict[str, Any] = {"run": str(self.path), "device": device, "batch_size": batch_size}
        values |= {"other_zoo": path, "data_path": None if data_path is None else str(data_path)}
        arguments = [as_argument("run", self.path), as_argument("other_zoo", path)]
        command = " ".join(["dws-evaluate", *arguments])
        return transfer_run(validate(values, "evaluate"), command=command)

    def best_metric(self) -> float:
        """The monitored validation metric of the selected epoch.

        Raises:
            UserError: If the run has no checkpoint yet, or the checkpoint is damaged.
        """
        monitor = build_task(self.record().task).monitor
        return float(load_best(self.best_checkpoint, monitor)["metrics"][f"val_{monitor}"])

    def export(
        self,
        file: str | Path,
        *,
        classes: Sequence[str] | None = None,
        zoo_path: str | Path | None = None,
    ) -> PretrainedModel:
        """Write the model to one file for ``dws.load`` and ``dws-predict``, as ``dws-export`` does.

        The file contains the model, with weight matrices in float16, and the model card, which
        includes statistics of the training networks, and the command and folders of the training.
        The card contains test metrics if the run was evaluated before.

        Args:
            file: The file to write. Its name must end with ``.safetensors``.
            classes: Names of the classes, in the order of the labels; None for their numbers.
            zoo_path: The zoo's folder if it was moved after the training.

        Returns:
            The model as stored in the file.

        Raises:
            ValueError: If the run is damaged or is not a classification or regression, the zoo is
                not that of the training, or the name of the file has another suffix.
            FileNotFoundError: If the run has no checkpoint yet, or the zoo does not exist.
        """
        from dws.experiment.pretrained import export_run  # deferred: it imports this module

        return export_run(self, Path(file), classes=classes, zoo_path=zoo_path)

    def load(self) -> Model:
        """Load the trained model, see ``load_trained``."""
        return load_trained(self.path)


def load_trained(run: str | Path, spec: WeightSpaceSpec | Sequence[int] | None = None) -> Model:
    """Load the trained model of a run, with the weights of the epoch that validation selected.

    Args:
        run: The run's folder.
        spec: Architecture of the input networks, or its widths. Only needed for runs of earlier
            versions, which do not record it; otherwise it is compared with the record.

    Returns:
        The model, on the CPU and in evaluation mode. Its input are networks of a zoo. A model of
        ``model=mlp_alignment`` needs networks of an aligned zoo (``align_zoo``).

    Raises:
        FileNotFoundError: If the run does not exist, or has no checkpoint yet.
        ValueError: If the run is damaged, was trained on networks of other widths, or was created
            by an earlier version and ``spec`` is None.
    """
    folder = RunDir.open(run)
    record = folder.record()
    requested = (
        None if spec is None else tuple(spec.dims if isinstance(spec, WeightSpaceSpec) else spec)
    )
    dims = tuple(record.notes.dims or requested or ())
    if not dims:
        raise UserError(
            f"The run in {run} was created by an earlier version, which did not record the widths "
            "of the networks. Pass them as spec, such as (2, 32, 32, 1)."
        )
    if requested not in (None, dims):
        raise UserError(
            f"The run in {run} was trained on networks of widths {dims}, not {requested}. Omit "
            "spec, or train a model on networks of these widths."
        )
    spec = WeightSpaceSpec(dims)
    folder.check_whole(num_epochs_done(folder.last_checkpoint))
    model = build_model(record, spec, build_task(record.task), None)
    state = load_checkpoint(folder.best_checkpoint, "reader")
    load_weights(model, state["reader"], folder.best_checkpoint)
    return model.eval()
