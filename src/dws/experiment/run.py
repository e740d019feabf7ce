"""A run: the folder of one training, from which it is evaluated and its model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dws.config import as_argument, validate
from dws.errors import UserError
from dws.evaluation.result import Result, Transfer
from dws.experiment.building import build_model, build_task
from dws.training import Model, RunDir
from dws.training.checkpoint import load_best, load_checkpoint, load_weights, num_epochs_done
from dws.weightspace import WeightSpaceSpec
from dws.zoo import Zoo


@dataclass(frozen=True)
class Run(RunDir):
    """A trained run. ``Run.open(path)`` opens one that was trained earlier.

    Attributes:
        path: Its folder.
    """

    def evaluate(
        self,
        *,
        device: str = "auto",
        batch_size: int = 128,
        zoo_path: str | Path | None = None,
        data_path: str | Path | None = None,
        wandb: Literal["offline", "online", "disabled"] | None = None,
    ) -> Result:
        """Read the test split, once, as ``dws-evaluate`` does; later calls give the same result.

        Args:
            device: As ``trainer.device``.
            batch_size: Networks at once.
            zoo_path: The zoo's folder if it is no longer where the training found it.
            data_path: The folder of data sets if it is no longer where the training found it.
            wandb: ``offline``, ``online`` or ``disabled``; None logs as the training did.

        Returns:
            What ``result.json`` holds: ``test`` has the metrics of the test split,
            ``test_interval`` the 95 % interval of the monitored one, ``validation`` the metrics
            of the epoch that validation selected.

        Raises:
            ValueError: If the run is not finished or damaged, or the zoo is another.
            FileNotFoundError: If the zoo is gone.
        """
        from dws.experiment.evaluation import evaluate_run  # loads scikit-learn, for a second

        given: dict[str, Any] = {"run": str(self.path), "device": device, "batch_size": batch_size}
        paths = {"zoo_path": zoo_path, "data_path": data_path}
        given |= {name: None if path is None else str(path) for name, path in paths.items()}
        given |= {"wandb": {"mode": wandb}}
        settings = validate(given, "evaluate")
        return evaluate_run(settings, command=f"dws-evaluate {as_argument('run', self.path)}")

    def evaluate_on(
        self,
        zoo: Zoo | str | Path,
        *,
        device: str = "auto",
        batch_size: int = 128,
        data_path: str | Path | None = None,
    ) -> Transfer:
        """Read the test split of another zoo, as ``dws-evaluate other_zoo=...`` does.

        Args:
            zoo: Of networks of the same widths, or its folder.
            device: As ``trainer.device``.
            batch_size: Networks at once.
            data_path: The folder of data sets if it is no longer where the training found it.

        Returns:
            What ``transfer-<zoo>.json`` in the run's folder holds.

        Raises:
            ValueError: If the run is not finished or damaged, or the zoo's networks have other
                widths than those of the training, or are these.
            FileNotFoundError: If a zoo is gone.
        """
        from dws.experiment.evaluation import transfer_run  # loads scikit-learn, for a second

        path = str(zoo.path if isinstance(zoo, Zoo) else zoo)
        given: dict[str, Any] = {"run": str(self.path), "device": device, "batch_size": batch_size}
        given |= {"other_zoo": path, "data_path": None if data_path is None else str(data_path)}
        arguments = [as_argument("run", self.path), as_argument("other_zoo", path)]
        command = " ".join(["dws-evaluate", *arguments])
        return transfer_run(validate(given, "evaluate"), command=command)

    def best_metric(self) -> float:
        """The monitored metric on validation, at the epoch that it selected.

        Raises:
            UserError: If the run has no checkpoint yet, or it is damaged.
        """
        monitor = build_task(self.record().task).monitor
        return float(load_best(self.best_checkpoint, monitor)["metrics"][f"val_{monitor}"])

    def load(self) -> Model:
        """The trained model, see ``load_trained``."""
        return load_trained(self.path)


def load_trained(run: str | Path, spec: WeightSpaceSpec | Sequence[int] | None = None) -> Model:
    """The trained model of a run, with the weights that validation selected.

    Args:
        run: The run's folder.
        spec: The architecture of the networks that the model is for, or its widths. Needed for
            runs of earlier versions only, which do not record it; otherwise it is checked.

    Returns:
        The model, on the CPU and in evaluation mode. It takes networks as they are in a zoo; if
        the run is one of ``model=mlp_alignment``, in an aligned one (``align_zoo``).

    Raises:
        FileNotFoundError: If there is no run, or it has no checkpoint yet.
        ValueError: If the run is damaged, it was trained on networks of other widths, or an
            earlier version made it and ``spec`` is not given.
    """
    folder = RunDir.open(run)
    record = folder.record()
    given = (
        None if spec is None else tuple(spec.dims if isinstance(spec, WeightSpaceSpec) else spec)
    )
    dims = tuple(record.notes.dims or given or ())
    if not dims:
        raise UserError(
            f"The run in {run} does not record the widths of its networks, since an earlier "
            "version made it. Give them as spec, such as (2, 32, 32, 1)."
        )
    if given not in (None, dims):
        raise UserError(
            f"The run in {run} was trained on networks of widths {dims}, not {given}. Leave spec "
            "out, or train a model on networks of these widths."
        )
    spec = WeightSpaceSpec(dims)
    folder.check_whole(num_epochs_done(folder.last_checkpoint))
    model = build_model(record, spec, build_task(record.task), None)
    state = load_checkpoint(folder.best_checkpoint, "reader")
    load_weights(model, state["reader"], folder.best_checkpoint)
    return model.eval()
