"""All settings of the commands: types, ranges and descriptions.

Recommended values are in ``configs/``. A default in this module is the value of a setting that a
configuration does not contain. It also applies to runs that were recorded before the setting
existed, and therefore never changes.

This module does not import torch, so that commands reject invalid settings at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

STRICT = ConfigDict(extra="forbid")

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Compile = Literal["auto", "always", "never"]


# --- fitting a zoo --------------------------------------------------------------------------------


@dataclass(frozen=True, config=STRICT)
class SirenConfig:
    """Architecture and initialisation of a SIREN.

    Attributes:
        hidden: Widths of the hidden levels.
        omega_0: ω0, the frequency factor of every sine.
        output_offset: Constant added to the output, so that images in [0, 1] start at grey.
        init: Distribution of the initial weights, see ``dws.inr.init_siren``.
        shared_init: Start all INRs of a zoo from the same weights. Their neurons then stay aligned,
            which makes the weights easy to classify even without equivariance.
    """

    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 32)
    omega_0: Positive = 30.0
    output_offset: Annotated[float, Field(allow_inf_nan=False)] = 0.5
    init: Literal["released", "siren"] = "released"
    shared_init: bool = False


@dataclass(frozen=True, config=STRICT)
class ClassifierConfig:
    """Architecture and initialisation of a classifier: a ReLU network with one logit.

    Attributes:
        hidden: Widths of the hidden levels.
        shared_init: Start all classifiers of a zoo from the same weights, see ``SirenConfig``.
    """

    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 32)
    shared_init: bool = False


@dataclass(frozen=True, config=STRICT)
class FitConfig:
    """Optimisation of the networks of a zoo: full-batch Adam on the loss over all points.

    The loss is the mean squared error for INRs and the cross-entropy for classifiers.

    Attributes:
        num_steps: Maximum number of steps for each network.
        learning_rate: Peak learning rate of Adam.
        betas: Decay rates of Adam's averages of the gradient and of its square.
        schedule: ``constant`` learning rate, or ``cosine`` decay to zero.
        weight_decay: L2 penalty of Adam.
        stop_mse: Mean squared error at which the fit of an INR stops, checked every 10 steps;
            0 disables early stopping. 1e-4 corresponds to a PSNR of 40 dB. Classifiers require 0.
        chunk_size: Number of networks fitted at once. null selects the fastest: 32 on a CPU, where
            they stay in the cache, and as many as fit into memory on a GPU, if necessary from
            several shards.
        device: ``auto`` (a GPU if available), ``cpu`` or ``cuda``.
        compile: ``always``, ``never``, or ``auto``, which compiles the step for fits that take more
            than about a minute, on machines with a C++ compiler; on a GPU only if ``fused`` is
            ``never``.
        fused: ``auto`` fits INRs with one kernel for many steps, if the device is a CUDA device of
            compute capability 8.0 or higher, Triton and a C compiler are installed, the INRs have
            one or two inputs, one output, and two hidden layers of 16 or 32 neurons each, the
            signals have at most 4,096 points, and the step is not compiled; ``never`` does not.
        cuda_graph: ``auto`` records steps as CUDA graphs on CUDA devices; ``never`` does not.
    """

    num_steps: Count = 1000
    learning_rate: Positive = 5e-4
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    schedule: Literal["constant", "cosine"] = "constant"
    weight_decay: NonNegative = 0.0
    stop_mse: NonNegative = 1e-4
    chunk_size: Count | None = None
    device: str = "auto"
    compile: Compile = "auto"
    fused: Literal["auto", "never"] = "auto"
    cuda_graph: Literal["auto", "never"] = "auto"

    def identity(self) -> dict[str, Any]:
        """Return the settings that determine the fitted networks and identify a zoo.

        Settings that version 0.2 did not have are omitted if they have the value that it used.
        """
        fixed_in_0_2 = {"betas": (0.9, 0.999), "schedule": "constant"}
        execution_only = ("chunk_size", "device", "compile", "fused", "cuda_graph")
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in execution_only and fixed_in_0_2.get(key) != value
        }

    def factor(self, step: int) -> float:
        """Return the learning rate at a step, relative to its peak."""
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * step / self.num_steps))


@dataclass(frozen=True, config=STRICT)
class ZooConfig:
    """Seed and sizes of a zoo.

    Attributes:
        seed: Seed of the initialisations and of generated signals.
        limit: Number of signals in all splits together, or null for all.
        num_views: Number of independently initialised networks for each signal.
        shard_size: Number of networks in one file.
    """

    seed: Seed = 0
    limit: int | None = None
    num_views: Count = 1
    shard_size: Count = 512


@with_config(ConfigDict(extra="allow"))
class Target(TypedDict):
    """An object to construct: ``_target_`` names the class, the other keys are its arguments."""

    _target_: str


@dataclass(frozen=True, config=STRICT)
class FitPreset:
    """Values of ``fit`` for one zoo; see ``FitConfig``."""

    num_steps: Count
    learning_rate: Positive
    weight_decay: NonNegative
    stop_mse: NonNegative
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    schedule: Literal["constant", "cosine"] = "constant"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ZooSettings(ZooConfig):
    """A zoo to fit.

    Attributes:
        name: Name of the zoo.
        path: Folder of the zoo.
        signals: Signals to fit; ``_target_`` names a class of ``dws.signals`` or of a plugin.
        presets: Values of ``fit`` for each choice of the group ``fit``.
        classifier: Architecture of the classifiers; null to fit INRs.
        part: Index, from 0, of the part of the shards to fit, for ``dws-zoo merge``; null fits all.
        num_parts: Number of parts.
    """

    name: str
    path: str
    signals: Target
    presets: dict[str, FitPreset]
    classifier: ClassifierConfig | None = None
    part: int | None = None
    num_parts: Count = 1


# --- training -------------------------------------------------------------------------------------


@dataclass(frozen=True, config=STRICT)
class OptimConfig:
    """AdamW, optionally with Muon for matrices, and the learning rate schedule.

    Attributes:
        lr: Peak learning rate.
        muon_lr: Peak learning rate of Muon (Jordan et al. 2024, with update sizes matched to
            AdamW's: Liu et al. 2025). Muon then trains the weights of every ``nn.Linear`` of the
            metanet, with steps in bf16, and AdamW trains the other parameters. null uses AdamW
            alone.
        weight_decay: Decoupled weight decay.
        amsgrad: Use the AMSGrad variant.
        schedule: ``cosine`` decay to zero, or ``constant``; both after the warm-up.
        warmup_fraction: Fraction of all steps over which the learning rate grows linearly.
        clip_norm: Maximum norm of the gradient; larger gradients are scaled down to it. null
            disables clipping.
    """

    lr: Positive = 3e-3
    muon_lr: Positive | None = None
    weight_decay: NonNegative = 5e-4
    amsgrad: bool = False
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: BelowOne = 0.1
    clip_norm: Annotated[float, Field(gt=0)] | None = None

    def factor(self, step: int, num_steps: int) -> float:
        """Return the learning rate at a step, relative to its peak."""
        warmup = round(self.warmup_fraction * num_steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(num_steps - warmup, 1)))


@dataclass(frozen=True, config=STRICT)
class TrainerConfig:
    """Length, batch size and execution of the training.

    Attributes:
        num_epochs: Number of passes over the training split.
        batch_size: Number of networks in a training step; at least 2, which batch norm requires.
        eval_batch_size: Number of networks in a batch on the validation and test splits.
        device: A torch device, or ``auto`` for a GPU if available and the CPU otherwise.
        precision: ``fp32``, ``bf16`` for autocast of the model in training, or ``auto`` for bf16
            if training is compiled and the device supports it.
        compile: Whether to train with ``torch.compile``; ``auto`` compiles where this saves time.
        cuda_graph: Whether to record a step as a CUDA graph, which launches its many small kernels
            at once; ``auto`` does so on CUDA devices.
        ema_decay: Decay per step of the exponential moving average of the weights that is
            evaluated; 0 evaluates the weights themselves.
        patience: Number of epochs without a better validation metric after which training stops;
            null disables early stopping.
        checkpoint_minutes: Maximum time between two checkpoints, in minutes.
    """

    num_epochs: Count = 100
    batch_size: Annotated[int, Field(ge=2)] = 128
    eval_batch_size: Count = 128
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Compile = "auto"
    cuda_graph: Compile = "auto"
    ema_decay: BelowOne = 0.0
    patience: Count | None = None
    checkpoint_minutes: NonNegative = 5.0


@dataclass(frozen=True, config=STRICT)
class AugmentConfig:
    """Strengths of the built-in augmentations, in the order in which they are applied.

    Attributes:
        square_symmetries: Rotate images by random multiples of 90° and mirror half of them.
        mirror: Mirror half of the signals along the first axis.
        max_angle: Maximum rotation of an image in either direction, in degrees.
        max_shift: Maximum shift along each axis, in coordinates; an image has width 2.
        max_scale: Maximum relative change of size, which also changes the frequency of a signal.
        noise: Standard deviation of Gaussian noise, relative to the scale of each layer.
        quantile_dropout: Maximum fraction of the entries of a tensor that are set to 0, smallest
            absolute values first.
        mask: Probability of setting an entry to 0; the other entries are not rescaled.
        flip_signs: Flip the signs of random sine neurons, which leaves the function unchanged.
        shift_phases: Maximum number of half periods by which sine neurons are shifted in either
            direction, which leaves the function unchanged.
        omega_0: ω0 of the SIRENs, for ``shift_phases``.
        permute: Permute hidden neurons at random, which leaves the function unchanged.
        until: Fraction of training steps during which augmentation is active.
        extra: User-defined augmentations, applied after the built-in ones: ``_target_`` and
            arguments of each.
    """

    square_symmetries: bool = False
    mirror: bool = False
    max_angle: NonNegative = 0.0
    max_shift: NonNegative = 0.0
    max_scale: BelowOne = 0.0
    noise: NonNegative = 0.0
    quantile_dropout: BelowOne = 0.0
    mask: BelowOne = 0.0
    flip_signs: bool = False
    shift_phases: Annotated[int, Field(ge=0)] = 0
    omega_0: NonNegative = 30.0
    permute: bool = False
    until: Fraction = 1.0
    extra: tuple[Target, ...] = ()


@dataclass(frozen=True, config=STRICT)
class ReconstructionConfig:
    """The auxiliary reconstruction loss: the values of each INR on a grid as additional targets.

    Attributes:
        weight: Weight of the auxiliary reconstruction loss relative to the loss of the task; 0
            disables it. The zoo's manifest has to contain the correct domain and ω0.
        resolution: Number of points along each axis of the domain.
    """

    weight: NonNegative = 0.0
    resolution: Count = 14

    def num_values(self, dims: Sequence[int]) -> int:
        """Return the number of additional outputs of a metanet for networks of widths ``dims``."""
        return int(self.resolution ** dims[0] * dims[-1]) if self.weight else 0


@dataclass(frozen=True, config=STRICT)
class WandbConfig:
    """Logging of a run to W&B.

    Attributes:
        mode: ``offline`` (writes to the run folder, needs no account), ``online`` or ``disabled``.
        project: W&B project.
        group: W&B group, or null.
    """

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "dws"
    group: str | None = None


@dataclass(frozen=True, config=STRICT)
class TrainZoo:
    """The zoo to train on.

    Attributes:
        path: Folder of the zoo.
        aligned: Align all networks to each other first, see ``dws.zoo.align_zoo``.
    """

    path: str
    aligned: bool = False


@with_config(ConfigDict(extra="allow"))
class TaskSettings(TypedDict):
    """Settings that all tasks share; further keys are arguments of the task's class.

    Attributes:
        name: Name of the task in folders and tables.
        zoo: Name of the zoo.
        num_train: Number of training signals, with all views of each, or null for all.
        repeat_train: Repeat the ``num_train`` signals so that an epoch has as many steps as with
            all signals.
    """

    _target_: str
    name: str
    zoo: str
    num_train: NotRequired[Count | None]
    repeat_train: NotRequired[bool]


@with_config(ConfigDict(extra="allow"))
class ModelSettings(TypedDict):
    """Settings that all models share; further keys are arguments of the model's class.

    Attributes:
        name: Name of the model in folders and tables.
    """

    _target_: str
    name: str


# --- commands -------------------------------------------------------------------------------------


@dataclass(frozen=True, config=STRICT)
class Paths:
    """Folders of inputs and outputs.

    Attributes:
        outputs: Root folder of all outputs.
        data: Folder of data sets.
        zoos: Folder of zoos.
        runs: Folder of runs.
    """

    outputs: str
    data: str
    zoos: str
    runs: str


@dataclass(frozen=True, config=STRICT)
class Scale:
    """A consistent set of sizes of zoos, trainings and tables.

    Attributes:
        name: Name of the scale.
        outputs: Folder of all outputs at this scale.
        num_images: Number of signals of an image zoo in all splits, or null for all.
        num_sines: Number of signals of a sine zoo in all splits, or null for all.
        num_classifiers: Number of tasks of a zoo of classifiers in all splits, or null for all.
        num_epochs: Number of epochs of supervised training.
        num_contrastive_epochs: Number of epochs of self-supervised training.
        batch_size: Number of networks in a training step.
        num_seeds: Number of runs for each table cell of ``make reproduce-all``.
        curve: Training set sizes, besides the full set, of the learning curve of sine regression
            in ``make reproduce-all``.
    """

    name: str
    outputs: str
    num_images: Count | None
    num_sines: Count | None
    num_classifiers: Count | None
    num_epochs: Count
    num_contrastive_epochs: Count
    batch_size: Count
    num_seeds: Count
    curve: list[Count]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FitInrsSettings:
    """Settings of ``dws-fit-inrs``.

    Attributes:
        paths: Folders of inputs and outputs.
        scale: Sizes.
        zoo: The zoo to fit.
        inr: Architecture of the INRs.
        fit: Optimisation of the networks.
        engine: Execution of the fits; ``_target_`` names a class of ``dws.zoo``.
        plugins: Packages of the user whose classes ``_target_`` may name.
    """

    paths: Paths
    scale: Scale
    zoo: ZooSettings
    inr: SirenConfig
    fit: FitConfig
    engine: Target
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrainSettings:
    """Settings of ``dws-train``.

    Attributes:
        paths: Folders of inputs and outputs.
        scale: Sizes.
        task: The task.
        model: The metanet.
        zoo: The zoo to train on.
        optim: Optimiser and learning rate schedule.
        trainer: Length, batch size and device.
        augment: Augmentation of the training networks.
        reconstruction: The auxiliary reconstruction loss.
        wandb: Logging to W&B.
        seed: Seed of initial parameters, batch order, augmentation, dropout and the choice of
            ``task.num_train`` signals.
        run_dir: Folder of the run; null derives it from task, model, seed and identity.
        plugins: Packages of the user whose classes ``_target_`` may name.
        record: Ignored; the record that a run writes into its ``config.yaml``.
    """

    paths: Paths
    scale: Scale
    task: TaskSettings
    model: ModelSettings
    zoo: TrainZoo
    optim: OptimConfig
    trainer: TrainerConfig
    augment: AugmentConfig
    reconstruction: ReconstructionConfig
    wandb: WandbConfig
    seed: Seed
    run_dir: str | None = None
    plugins: tuple[str, ...] = ()
    record: Any = None


@dataclass(frozen=True, config=STRICT)
class EvaluateWandb:
    """Logging of an evaluation to W&B; null uses the value of the training.

    Attributes:
        mode: ``offline``, ``online`` or ``disabled``.
        project: W&B project.
        group: W&B group.
    """

    mode: Literal["offline", "online", "disabled"] | None = None
    project: str | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EvaluateSettings:
    """Settings of ``dws-evaluate``.

    Attributes:
        run: Folder of the run.
        device: A torch device, or ``auto``, see ``trainer.device``.
        batch_size: Number of networks in a batch.
        zoo_path: Folder of the zoo, if it has moved since the training.
        data_path: Folder of data sets, if it has moved since the training; used only by tasks that
            compare predictions with the signals of the zoo.
        other_zoo: Folder of a zoo of other signals, or of another fit, to evaluate on in addition,
            which measures generalisation to it. The result does not replace the result of the run.
        wandb: Logging to the W&B run of the training.
        plugins: Packages of the user whose classes ``_target_`` may name.
    """

    run: str
    device: str = "auto"
    batch_size: Count = 128
    zoo_path: str | None = None
    data_path: str | None = None
    other_zoo: str | None = None
    wandb: EvaluateWandb = EvaluateWandb()
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ReportSettings:
    """Settings of ``dws-report``.

    Attributes:
        paths: Folders of inputs and outputs.
        scale: Sizes.
        runs: Folder that is searched recursively for results.
        report: Folder of the report page with its tables and figures.
        kept: ``results.json`` of an earlier report whose results are added to the tables; null
            adds none.
        tasks: Names of the tasks to report. Cells without a result are listed as missing. Empty
            reports the tasks of all results.
        methods: Names of the models to report, with the same rules as ``tasks``.
        plugins: Packages of the user whose classes ``_target_`` may name.
    """

    paths: Paths
    scale: Scale
    runs: str
    report: str
    kept: str | None = None
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


COMMANDS: dict[str, type] = {
    "fit_inrs": FitInrsSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "report": ReportSettings,
}
