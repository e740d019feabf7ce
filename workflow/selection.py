"""Selection of the experiments of ``make reproduce-all``: zoos, runs, folders and commands.

Paths contain a hash of the settings. An existing file was therefore made with these settings, and a
changed setting leads to new files. Files are never replaced.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dws.config import as_override, compose_settings
from dws.errors import UserError
from dws.io.hashing import settings_hash
from dws.report.methods import PAPER_METHODS
from dws.settings import Count, FitInrsSettings, ReportSettings, TrainSettings

DEFAULT_TASKS = ("mnist", "fashion_mnist", "sine", "ssl", "adapt", "edit", "edit_fashion_mnist")
DEMO = {  # defaults of the variables for ``make demo``
    "SCALE": "demo",
    "TASKS": "mnist sine",
    "METHODS": "mlp dwsnet dwsnet_sign",
    "SIZES": "",
}


def _split(value: object) -> object:
    return tuple(dict.fromkeys(value.split())) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split), Field(min_length=1)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(_split)]


class Variables(BaseModel):
    """Variables of make; the same names are keys of Snakemake's ``--config``.

    Attributes:
        SCALE: A choice of ``configs/scale``.
        SEEDS: Number of seeds; None for the default of the scale.
        TASKS: Choices of ``configs/task``.
        METHODS: Choices of ``configs/model``. Each method is trained on each task.
        CURVE: Tasks with additional trainings on fewer networks; None for sine regression.
        SIZES: Numbers of training networks of these additional trainings; None for the default of
            the scale.
        OUT: Folder of all outputs; None for the default of the scale.
        WANDB: W&B mode of trainings and evaluations.
        FIT: Further settings of ``dws-fit-inrs``, such as ``fit=fast``, quoted as in a shell.
        PARTS: Number of jobs that fit a zoo.
        JOBS: Number of concurrent jobs.
        THREADS: Number of threads, or of fitting workers, per job; None to divide the cores equally
            among jobs, except that a job that fits a whole zoo uses all cores.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    SCALE: str = "small"
    SEEDS: Count | None = None
    TASKS: Words = DEFAULT_TASKS
    METHODS: Words = PAPER_METHODS
    CURVE: Words | None = None
    SIZES: Counts | None = None
    OUT: Annotated[str, Field(pattern=r"^[\w./@+ -]+$")] | None = None
    WANDB: Literal["disabled", "offline", "online"] = "disabled"
    FIT: Annotated[tuple[str, ...], BeforeValidator(shlex.split)] = ()
    PARTS: Count = 1
    JOBS: Count = 2
    THREADS: Count | None = None

    @classmethod
    def check(cls, values: Mapping[str, object]) -> Variables:
        """Parse variables from text; other variables have their defaults.

        Raises:
            UserError: If a variable is unknown or has an invalid value.
        """
        try:
            return cls.model_validate({name: _text(value) for name, value in values.items()})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                choices = ", ".join(cls.model_fields)
                raise UserError(f"Unknown variable {name}. Choose from {choices}") from error
            raise UserError(f"{name}={_text(values[name])}: {first['msg']}") from error


def _text(value: object) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True, eq=False)
class Zoo:
    """A zoo of the selection.

    Attributes:
        name: A choice of ``configs/zoo``.
        folder: Folder of the zoo.
        settings: All settings of the fit.
        fit: The command that fits or resumes the zoo.
    """

    name: str
    folder: str
    settings: FitInrsSettings
    fit: str

    @property
    def align(self) -> str:
        """The command that creates the aligned copy."""
        return shlex.join(["dws-zoo", "align", self.folder])

    @cached_property
    def digits(self) -> str:
        """Hash of the settings that determine the content of the zoo."""
        places = asdict(self.settings.paths).values()
        zoo, signals = self.settings.zoo, self.settings.zoo.signals
        content = {
            "signals": {key: value for key, value in signals.items() if value not in places},
            "zoo": [zoo.seed, zoo.limit, zoo.num_views, zoo.shard_size],
            "inr": asdict(self.settings.inr),
            "fit": self.settings.fit.identity(),
        }
        if zoo.classifier:
            content["classifier"] = asdict(zoo.classifier)
        return settings_hash(content)

    @property
    def dataset(self) -> str | None:
        """The data set to download; None if the signals need none."""
        from dws.signals.download import DATASETS  # deferred: imports torch

        signals: Mapping[str, Any] = self.settings.zoo.signals
        return (
            str(signals["name"]) if signals.get("name") in DATASETS and "root" in signals else None
        )

    @property
    def data(self) -> list[str]:
        """Marker file of a complete data set; empty if the signals need none."""
        return [f"{self.settings.paths.data}/.{self.dataset}"] if self.dataset else []

    @property
    def fitted(self) -> str:
        """Marker file of a complete zoo."""
        return f"{self.folder}/.fitted-{self.digits}"

    @property
    def aligned(self) -> str:
        """Marker file of a complete aligned copy."""
        return f"{self.folder}.aligned/.aligned-{self.digits}"


@dataclass(frozen=True, eq=False)
class Run:
    """A training and its evaluation.

    Attributes:
        name: Task, method, seed and number of training networks, with a hash of all settings.
        folder: Folder of the run.
        zoo: The training zoo.
        references: Zoos that the evaluation needs for comparison.
        others: Zoos of other tasks, on whose test splits the run is evaluated as well.
        settings: All settings of the training except the seed.
        train: The command that trains or resumes.
        evaluate: The command that evaluates.
    """

    name: str
    folder: str
    zoo: Zoo
    references: Sequence[Zoo]
    others: Sequence[Zoo]
    settings: TrainSettings
    train: str
    evaluate: str

    @property
    def networks(self) -> str:
        """Marker file of the complete training networks."""
        return self.zoo.aligned if self.settings.zoo.aligned else self.zoo.fitted

    @property
    def trained(self) -> str:
        """Marker file of a complete training."""
        return f"{self.folder}/.trained"

    @property
    def result(self) -> str:
        """File that the evaluation writes."""
        return f"{self.folder}/result.json"

    def transferred(self, zoo: Zoo) -> str:
        """Marker file of a complete evaluation on one of ``others``."""
        return f"{self.folder}/.evaluated-on-{zoo.name}-{zoo.digits}"

    @property
    def evaluations(self) -> list[str]:
        """Files of all evaluations."""
        return [self.result, *(self.transferred(zoo) for zoo in self.others)]


class Selection:
    """The zoos and runs that the variables select.

    Args:
        values: Values of variables by name, see ``Variables``.

    Raises:
        UserError: If a variable is unknown or has an invalid value, or a configuration cannot be
            composed.
    """

    def __init__(self, values: Mapping[str, object]) -> None:
        self.variables = variables = Variables.check(values)
        self.common = [as_override("scale", variables.SCALE)]
        if variables.OUT:
            self.common.append(as_override("paths.outputs", os.path.normpath(variables.OUT)))
        self.settings: ReportSettings = compose("report", *self.common)
        self.paths, scale = self.settings.paths, self.settings.scale
        self.num_seeds = variables.SEEDS or scale.num_seeds
        self.sizes = tuple(scale.curve) if variables.SIZES is None else variables.SIZES
        self.curve = [task for task in variables.CURVE or ("sine",) if task in variables.TASKS]
        if variables.CURVE and len(self.curve) < len(variables.CURVE):
            raise UserError(
                f"CURVE={' '.join(variables.CURVE)} contains tasks that are not selected. Choose "
                f"from TASKS={' '.join(variables.TASKS)}"
            )
        self.zoos: dict[str, Zoo] = {}
        self.runs: dict[str, Run] = {}
        cells = {
            (task, method): [*self.common, as_override("task", task), as_override("model", method)]
            for task in variables.TASKS
            for method in variables.METHODS
        }
        for overrides in cells.values():  # reports errors before torch is imported
            self._zoo(compose("train", *overrides).task["zoo"])
        for (task, method), overrides in cells.items():
            self._add_runs(task, method, overrides)

    @cached_property
    def num_threads(self) -> int:
        """Cores per job. Snakemake sets OMP_NUM_THREADS to it, which all commands respect."""
        from dws.runtime import num_usable_cores  # deferred: imports torch

        return self.variables.THREADS or max(1, num_usable_cores() // self.variables.JOBS)

    @property
    def fits_alone(self) -> bool:
        """Whether a fit uses all cores, which is more efficient than concurrent jobs."""
        return self.variables.THREADS is None and self.variables.PARTS == 1

    @property
    def num_workers(self) -> int:
        """Number of worker processes of a fit."""
        return self.num_threads * (self.variables.JOBS if self.fits_alone else 1)

    @property
    def report(self) -> str:
        """Marker file of a report with all results of this selection."""
        digits = settings_hash({"command": self.report_command})
        return f"{self.settings.report}/.complete-{digits}"

    @property
    def report_command(self) -> str:
        """The command that writes the report, with this selection as the requested results."""
        tasks = dict.fromkeys(run.settings.task["name"] for run in self.runs.values())
        methods = dict.fromkeys(run.settings.model["name"] for run in self.runs.values())
        scope = [as_override("tasks", [*tasks]), as_override("methods", [*methods])]
        return shlex.join(["dws-report", *self.common, *scope])

    def _add_runs(self, task: str, method: str, overrides: Sequence[str]) -> None:
        # deferred: these import torch
        from dws.training.identity import identity
        from dws.training.record import outcome_settings

        settings: TrainSettings = compose("train", *overrides)
        zoo = self._zoo(settings.task["zoo"])
        references, others = self._references(settings), self._others(settings)
        for size in [None, *(self.sizes if task in self.curve else ())]:
            subset = {"num_train": size, "repeat_train": True} if size else {}
            sized = replace(settings, task={**settings.task, **subset})  # type: ignore[typeddict-item]
            digits = identity(outcome_settings(sized, zoo.digits))
            for seed in range(self.num_seeds):
                name = f"{task}/{method}/seed{seed}-{f'n{size}-' if size else ''}{digits}"
                folder = f"{self.paths.runs}/{name}"
                wandb = as_override("wandb", self.variables.WANDB)
                run_dir = as_override("run_dir", folder)
                size_overrides = [f"task.{k}={str(value).lower()}" for k, value in subset.items()]
                train = ["dws-train", *overrides, *size_overrides, f"seed={seed}", run_dir, wandb]
                evaluate = ["dws-evaluate", as_override("run", folder), wandb]
                self.runs[name] = Run(
                    name,
                    folder,
                    zoo,
                    references,
                    () if size else others,
                    sized,
                    train=shlex.join(train),
                    evaluate=shlex.join(evaluate),
                )

    def _references(self, settings: TrainSettings) -> list[Zoo]:
        """Zoos for comparison: for editing tasks, INRs fitted to the edited images."""
        task: Mapping[str, Any] = settings.task
        if "edit" not in task:
            return []
        signals = {"zoo.signals.name": task["zoo"], "zoo.signals.edit": task["edit"]}
        overrides = [as_override(key, value) for key, value in signals.items()]
        return [self._zoo(f"{task['zoo']}_{task['edit']}", "edited", *overrides)]

    def _others(self, settings: TrainSettings) -> list[Zoo]:
        """Zoos of other selected tasks with the same edit, to evaluate domain generalisation."""
        own: Mapping[str, Any] = settings.task
        if "edit" not in own:
            return []
        tasks: list[Mapping[str, Any]] = [
            compose("train", *self.common, as_override("task", task)).task
            for task in self.variables.TASKS
        ]
        names = dict.fromkeys(task["zoo"] for task in tasks if task.get("edit") == own["edit"])
        return [self._zoo(name) for name in names if name != own["zoo"]]

    def _zoo(self, name: str, choice: str | None = None, *signals: str) -> Zoo:
        if name not in self.zoos:
            folder = f"{self.paths.zoos}/{name}"
            zoo_overrides = [as_override("zoo", choice or name), *signals]
            overrides = [*self.common, *zoo_overrides, *self.variables.FIT]
            settings: FitInrsSettings = compose("fit_inrs", *overrides)
            if settings.zoo.path != folder:  # trainings expect the zoo in this folder
                overrides.append(as_override("zoo.path", folder))
            self.zoos[name] = Zoo(name, folder, settings, shlex.join(["dws-fit-inrs", *overrides]))
        return self.zoos[name]


@cache
def compose(command: str, *overrides: str) -> Any:
    """Compose the settings of a command, with a cache."""
    return compose_settings(command, overrides)


def needs(output: str, *files: str) -> Sequence[str]:
    """Input files of an output; empty if the output exists, which is then kept whatever its age."""
    return [] if Path(output).exists() else files
