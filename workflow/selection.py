"""What ``make reproduce-all`` makes: the selected zoos and runs, their folders and their commands.

Paths carry digits of the settings, so that a file that is there was made with these settings, and
a changed setting leads to files that are not there yet. Nothing is ever replaced.
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


def _split(value: object) -> object:
    return tuple(dict.fromkeys(value.split())) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split), Field(min_length=1)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(_split)]


class Variables(BaseModel):
    """The variables of make; the same names are keys of Snakemake's ``--config``.

    Attributes:
        SCALE: A choice of ``configs/scale``.
        SEEDS: Number of seeds; None for that of the scale.
        TASKS: Choices of ``configs/task``.
        METHODS: Choices of ``configs/model``; each is trained on each task.
        CURVE: Tasks that are also learned from fewer training networks; None for sine regression.
        SIZES: Numbers of training networks for these, beside all; None for those of the scale.
        OUT: Folder of all outputs; None for that of the scale.
        WANDB: Logging of trainings and evaluations.
        FIT: Further settings of ``dws-fit-inrs``, such as ``fit=fast``, quoted as in a shell.
        PARTS: Number of jobs that fit a zoo.
        JOBS: Number of jobs at a time.
        THREADS: Threads, or workers that fit, of each job; None for its share of the cores.
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
    def check(cls, given: Mapping[str, object]) -> Variables:
        """The variables that were given as text, and the defaults of the others.

        Raises:
            UserError: If one is unknown or has a wrong value.
        """
        try:
            return cls.model_validate({name: _text(value) for name, value in given.items()})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                choices = ", ".join(cls.model_fields)
                raise UserError(f"{name}: no such variable; there are {choices}") from error
            raise UserError(f"{name}={_text(given[name])}: {first['msg']}") from error


def _text(value: object) -> str:
    return "" if value is None else str(value)


@dataclass(frozen=True, eq=False)
class Zoo:
    """A zoo to fit.

    Attributes:
        name: A choice of ``configs/zoo``.
        folder: Its folder.
        settings: All settings of the fit.
        fit: The command that fits it, or resumes.
    """

    name: str
    folder: str
    settings: FitInrsSettings
    fit: str

    @property
    def align(self) -> str:
        """The command that makes the aligned copy."""
        return shlex.join(["dws-zoo", "align", self.folder])

    @cached_property
    def digits(self) -> str:
        """What identifies the settings that its content depends on."""
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
        """The data set to fetch, or None if the signals need none."""
        from dws.signals.download import DATASETS  # loads torch, for seconds

        signals: Mapping[str, Any] = self.settings.zoo.signals
        return (
            str(signals["name"]) if signals.get("name") in DATASETS and "root" in signals else None
        )

    @property
    def data(self) -> list[str]:
        """Marker file that says that the data set is here, if the signals need one."""
        return [f"{self.settings.paths.data}/.{self.dataset}"] if self.dataset else []

    @property
    def fitted(self) -> str:
        """Marker file that says that the zoo is complete."""
        return f"{self.folder}/.fitted-{self.digits}"

    @property
    def aligned(self) -> str:
        """Marker file that says that the aligned copy is complete."""
        return f"{self.folder}.aligned/.aligned-{self.digits}"


@dataclass(frozen=True, eq=False)
class Run:
    """A training and its evaluation.

    Attributes:
        name: Task, method, seed and number of training networks, with digits of all settings.
        folder: Its folder.
        zoo: What is trained on.
        references: Zoos that the evaluation compares with.
        others: Zoos of other tasks whose test splits the run is evaluated on as well.
        settings: All settings of the training, but for the seed.
        train: The command that trains, or resumes.
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
        """Marker file that says that the networks to train on are complete."""
        return self.zoo.aligned if self.settings.zoo.aligned else self.zoo.fitted

    @property
    def trained(self) -> str:
        """Marker file that says that the training is complete."""
        return f"{self.folder}/.trained"

    @property
    def result(self) -> str:
        """What the evaluation gives."""
        return f"{self.folder}/result.json"

    def transferred(self, zoo: Zoo) -> str:
        """Marker file that says that the run is evaluated on one of ``others``."""
        return f"{self.folder}/.evaluated-on-{zoo.name}-{zoo.digits}"

    @property
    def evaluations(self) -> list[str]:
        """All that the evaluations give."""
        return [self.result, *(self.transferred(zoo) for zoo in self.others)]


class Selection:
    """All that the variables select.

    Args:
        given: Variables by name; see ``Variables``.

    Raises:
        UserError: If a variable is unknown or has a wrong value, or a configuration does not
            compose.
    """

    def __init__(self, given: Mapping[str, object]) -> None:
        self.variables = chosen = Variables.check(given)
        self.common = [as_override("scale", chosen.SCALE)]
        if chosen.OUT:
            self.common.append(as_override("paths.outputs", os.path.normpath(chosen.OUT)))
        self.settings: ReportSettings = compose("report", *self.common)
        self.paths, scale = self.settings.paths, self.settings.scale
        self.num_seeds = chosen.SEEDS or scale.num_seeds
        self.sizes = tuple(scale.curve) if chosen.SIZES is None else chosen.SIZES
        self.curve = [task for task in chosen.CURVE or ("sine",) if task in chosen.TASKS]
        if chosen.CURVE and len(self.curve) < len(chosen.CURVE):
            raise UserError(
                f"CURVE={' '.join(chosen.CURVE)}: expected some of TASKS={' '.join(chosen.TASKS)}"
            )
        self.zoos: dict[str, Zoo] = {}
        self.runs: dict[str, Run] = {}
        cells = {
            (task, method): [*self.common, as_override("task", task), as_override("model", method)]
            for task in chosen.TASKS
            for method in chosen.METHODS
        }
        for overrides in cells.values():  # mistakes come before torch is loaded
            self._zoo(compose("train", *overrides).task["zoo"])
        for (task, method), overrides in cells.items():
            self._add_runs(task, method, overrides)

    @cached_property
    def num_threads(self) -> int:
        """Cores of each job; Snakemake puts them into OMP_NUM_THREADS, which all commands heed."""
        from dws.runtime import num_usable_cores  # loads torch, for seconds

        return self.variables.THREADS or max(1, num_usable_cores() // self.variables.JOBS)

    @property
    def report(self) -> str:
        """Marker file that says that the report has everything of this selection."""
        digits = settings_hash({"command": self.report_command})
        return f"{self.settings.report}/.complete-{digits}"

    @property
    def report_command(self) -> str:
        """Writes the report, in which cells of this selection alone may be missing."""
        tasks = dict.fromkeys(run.settings.task["name"] for run in self.runs.values())
        methods = dict.fromkeys(run.settings.model["name"] for run in self.runs.values())
        scope = [as_override("tasks", [*tasks]), as_override("methods", [*methods])]
        return shlex.join(["dws-report", *self.common, *scope])

    def _add_runs(self, task: str, method: str, overrides: Sequence[str]) -> None:
        # these load torch, for seconds
        from dws.training.identity import identity
        from dws.training.record import outcome_settings

        settings: TrainSettings = compose("train", *overrides)
        zoo = self._zoo(settings.task["zoo"])
        references, others = self._references(settings), self._others(settings)
        for size in [None, *(self.sizes if task in self.curve else ())]:
            part = {"num_train": size, "repeat_train": True} if size else {}
            sized = replace(settings, task={**settings.task, **part})  # type: ignore[typeddict-item]
            digits = identity(outcome_settings(sized, zoo.digits))
            for seed in range(self.num_seeds):
                name = f"{task}/{method}/seed{seed}-{f'n{size}-' if size else ''}{digits}"
                folder = f"{self.paths.runs}/{name}"
                wandb = as_override("wandb", self.variables.WANDB)
                run_dir = as_override("run_dir", folder)
                fewer = [f"task.{key}={str(value).lower()}" for key, value in part.items()]
                train = ["dws-train", *overrides, *fewer, f"seed={seed}", run_dir, wandb]
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
        """Zoos that a task compares with: of editing, INRs of the edited images."""
        task: Mapping[str, Any] = settings.task
        if "edit" not in task:
            return []
        signals = {"zoo.signals.name": task["zoo"], "zoo.signals.edit": task["edit"]}
        overrides = [as_override(key, value) for key, value in signals.items()]
        return [self._zoo(f"{task['zoo']}_{task['edit']}", "edited", *overrides)]

    def _others(self, settings: TrainSettings) -> list[Zoo]:
        """Zoos of the other selected tasks with the same edit, to test domain generalisation."""
        tasks: list[Mapping[str, Any]] = [
            compose("train", *self.common, as_override("task", task)).task
            for task in self.variables.TASKS
        ]
        own: Mapping[str, Any] = settings.task
        names = [t["zoo"] for t in tasks if "edit" in own and t.get("edit") == own["edit"]]
        return [self._zoo(name) for name in dict.fromkeys(names) if name != own["zoo"]]

    def _zoo(self, name: str, choice: str | None = None, *signals: str) -> Zoo:
        if name not in self.zoos:
            folder = f"{self.paths.zoos}/{name}"
            chosen = [as_override("zoo", choice or name), *signals]
            overrides = [*self.common, *chosen, *self.variables.FIT]
            settings: FitInrsSettings = compose("fit_inrs", *overrides)
            if settings.zoo.path != folder:  # where trainings look for it
                overrides.append(as_override("zoo.path", folder))
            self.zoos[name] = Zoo(name, folder, settings, shlex.join(["dws-fit-inrs", *overrides]))
        return self.zoos[name]


@cache
def compose(command: str, *overrides: str) -> Any:
    """Settings of a command, composed once."""
    return compose_settings(command, overrides)


def needs(made: str, *files: str) -> Sequence[str]:
    """What a file is made from; nothing if it is there, since it is then kept whatever its age."""
    return [] if Path(made).exists() else files
