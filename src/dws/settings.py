"""Every setting: its type, its range and its meaning.

The recommended values stand in ``configs/``. A default here is what a setting means where it is not
mentioned, in runs that were recorded before it existed too, and therefore never changes.

Nothing here imports torch, so that commands refuse bad settings at once.
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
    """What a SIREN is, beside its weights.

    Attributes:
        hidden: Widths of the hidden levels.
        omega_0: ω0, the frequency factor of every sine.
        output_offset: Added to the output, so that images in [0, 1] start at grey.
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
    """What a classifier is, beside its weights: a ReLU network with one logit.

    Attributes:
        hidden: Widths of the hidden levels.
        shared_init: Start all classifiers of a zoo from the same weights, see ``SirenConfig``.
    """

    hidden: Annotated[tuple[Count, ...], Field(min_length=1)] = (32, 32)
    shared_init: bool = False


@dataclass(frozen=True, config=STRICT)
class FitConfig:
    """How networks are fitted: Adam on the loss over all points or examples at every step.

    The loss of INRs is the mean squared error, that of classifiers the cross-entropy.

    Attributes:
        num_steps: Maximum number of steps of a network.
        learning_rate: Adam's learning rate, at its highest.
        betas: Adam's decay rates of the mean of the gradient and of its square.
        schedule: The learning rate stays ``constant`` or goes to zero along half a ``cosine``.
        weight_decay: Adam's L2 penalty.
        stop_mse: An INR stops once its mean squared error is at most this, checked every 10 steps;
            0 never stops early. 40 dB of PSNR is 1e-4. Of classifiers it has to be 0.
        chunk_size: Networks fitted at once; None for what is fastest: 32 on a CPU, where they stay
            in the cache, and on a GPU as many as its memory holds, of several shards if need be.
        device: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
        compile: ``always``, ``never``, or ``auto``, which compiles the step for fits of more than
            a minute or so, on machines with a C++ compiler.
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
    cuda_graph: Literal["auto", "never"] = "auto"

    def identity(self) -> dict[str, Any]:
        """What the fitted networks depend on, by which zoos are told apart.

        A setting that version 0.2 did not have is left out at the value that it stood for.
        """
        left_out = {"betas": (0.9, 0.999), "schedule": "constant"}
        how_not_what = ("chunk_size", "device", "compile", "cuda_graph")
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in how_not_what and left_out.get(key) != value
        }

    def factor(self, step: int) -> float:
        """Learning rate at a step, relative to its highest."""
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * step / self.num_steps))


@dataclass(frozen=True, config=STRICT)
class ZooConfig:
    """What a zoo consists of, beside its signals.

    Attributes:
        seed: Initialisations and signals depend on it.
        limit: Number of signals in all splits together, or None for all.
        num_views: Independently initialised networks for each signal.
        shard_size: Networks in one file.
    """

    seed: Seed = 0
    limit: int | None = None
    num_views: Count = 1
    shard_size: Count = 512


@with_config(ConfigDict(extra="allow"))
class Target(TypedDict):
    """What to construct: ``_target_`` names the class, the other keys are its arguments."""

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
        path: Its folder.
        signals: What is fitted; ``_target_`` names a class of ``dws.signals`` or of a plugin.
        presets: Values of ``fit`` that each choice of the group ``fit`` stands for.
        classifier: The architecture of classifiers; null if INRs are fitted.
        part: Fit one of ``num_parts`` ranges of the shards, counted from 0, for ``dws-zoo merge``;
            null fits all.
        num_parts: Number of ranges.
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
            AdamW's: Liu et al. 2025), which then trains the weights of every ``nn.Linear`` of the
            metanet, in bf16 steps, and AdamW the rest; None for AdamW alone.
        weight_decay: Decoupled weight decay.
        amsgrad: Use the AMSGrad variant.
        schedule: ``cosine`` decay to zero, or ``constant``; both after the warm-up.
        warmup_fraction: Fraction of all steps over which the learning rate grows linearly.
        clip_norm: Maximum norm of the gradient, to which a larger one is scaled down; None for no
            clipping.
    """

    lr: Positive = 3e-3
    muon_lr: Positive | None = None
    weight_decay: NonNegative = 5e-4
    amsgrad: bool = False
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_fraction: BelowOne = 0.1
    clip_norm: Annotated[float, Field(gt=0)] | None = None

    def factor(self, step: int, num_steps: int) -> float:
        """Learning rate at a step, relative to its peak."""
        warmup = round(self.warmup_fraction * num_steps)
        if step < warmup:
            return (step + 1) / warmup
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(num_steps - warmup, 1)))


@dataclass(frozen=True, config=STRICT)
class TrainerConfig:
    """Length and batch size of the training.

    Attributes:
        num_epochs: Passes over the training split.
        batch_size: Networks in a step; at least 2, since batch norm needs two.
        eval_batch_size: Networks at once on validation and test.
        device: ``auto`` takes a GPU if there is one, else the CPU; or a torch device.
        precision: ``fp32``, ``bf16`` for autocast of the model in training, or ``auto`` for bf16
            where training is compiled and the device supports it.
        compile: Whether to train with ``torch.compile``: ``auto`` where it pays.
        cuda_graph: Whether to record a step as a CUDA graph, which launches its many small kernels
            at once; ``auto`` does it on CUDA devices.
        ema_decay: Evaluate an exponential moving average of the weights with this decay per step;
            0 evaluates the weights themselves.
        patience: Stop after this many epochs without a better validation metric; None never stops.
        checkpoint_minutes: Maximum time between two checkpoints.
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
        square_symmetries: Turn images by a random multiple of 90° and mirror half of them.
        max_angle: Largest rotation of an image either way, in degrees.
        max_shift: Largest shift along each axis; an image is 2 wide.
        max_scale: Largest relative change of size.
        noise: Standard deviation of Gaussian noise, relative to that of each layer.
        quantile_dropout: Largest quantile up to which the smallest entries of a tensor are set
            to 0.
        mask: Probability of setting an entry to 0; the others keep their values.
        flip_signs: Flip the signs of random sine neurons, which changes no function.
        shift_phases: Largest number of half periods by which sine neurons are moved either way,
            which changes no function.
        omega_0: ω0 of the SIRENs, for ``shift_phases``.
        permute: Permute hidden neurons at random, which changes no function.
        until: Fraction of training steps during which augmentation is active.
        extra: Augmentations of the user's, applied after these: ``_target_`` and arguments of each.
    """

    square_symmetries: bool = False
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
        weight: Weight of this loss beside that of the task; 0 for none. The zoo's manifest has to
            state the right domain and ω0.
        resolution: Points along each axis of the domain.
    """

    weight: NonNegative = 0.0
    resolution: Count = 14

    def num_values(self, dims: Sequence[int]) -> int:
        """Outputs that a metanet needs in addition, for networks of widths ``dims``."""
        return int(self.resolution ** dims[0] * dims[-1]) if self.weight else 0


@dataclass(frozen=True, config=STRICT)
class WandbConfig:
    """How a run is logged to W&B.

    Attributes:
        mode: ``offline`` writes to the run folder and needs no account; ``online``; ``disabled``.
        project: W&B project.
        group: W&B group, or None.
    """

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "dws"
    group: str | None = None


@dataclass(frozen=True, config=STRICT)
class TrainZoo:
    """The zoo to train on.

    Attributes:
        path: Its folder.
        aligned: Align all networks to each other first, see ``dws.zoo.align_zoo``.
    """

    path: str
    aligned: bool = False


@with_config(ConfigDict(extra="allow"))
class TaskSettings(TypedDict):
    """What every task has, beside the arguments of its class.

    Attributes:
        name: Name of the task, in folders and tables.
        zoo: Name of the zoo that it reads.
        num_train: Train on this many signals (all views of each), or null for all.
        repeat_train: Repeat these so that an epoch has as many steps as with all.
    """

    _target_: str
    name: str
    zoo: str
    num_train: NotRequired[Count | None]
    repeat_train: NotRequired[bool]


@with_config(ConfigDict(extra="allow"))
class ModelSettings(TypedDict):
    """What every model has, beside the arguments of its class.

    Attributes:
        name: Name of the model, in folders and tables.
    """

    _target_: str
    name: str


# --- commands -------------------------------------------------------------------------------------


@dataclass(frozen=True, config=STRICT)
class Paths:
    """Where things are kept.

    Attributes:
        outputs: Root of all that the commands write.
        data: Data sets.
        zoos: Zoos.
        runs: Runs.
    """

    outputs: str
    data: str
    zoos: str
    runs: str


@dataclass(frozen=True, config=STRICT)
class Scale:
    """Sizes that belong together.

    Attributes:
        name: Name of the scale.
        outputs: Folder of all outputs at this scale.
        num_images: Signals of an image zoo in all splits, or null for all.
        num_sines: Signals of a sine zoo in all splits, or null for all.
        num_classifiers: Tasks of a zoo of classifiers in all splits, or null for all.
        num_epochs: Epochs of a supervised training.
        num_contrastive_epochs: Epochs of a self-supervised training.
        batch_size: Networks in a training step.
        num_seeds: Runs that ``make reproduce-all`` makes for each cell of its tables.
        curve: Numbers of training networks, besides all, of its curve of sine regression.
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
        paths: Folders.
        scale: Sizes.
        zoo: What is fitted.
        inr: The architecture of the INRs.
        fit: How they are fitted.
        engine: Where they are fitted: ``_target_`` names a class of ``dws.zoo``.
        plugins: Packages of the user's whose classes ``_target_`` may name.
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
        paths: Folders.
        scale: Sizes.
        task: What is learned.
        model: The metanet.
        zoo: What is trained on.
        optim: Optimiser.
        trainer: Length, batch size and device.
        augment: Augmentation of the training networks.
        reconstruction: The auxiliary reconstruction loss.
        wandb: Logging.
        seed: Seed of parameters, order of batches, augmentation, dropout and ``task.num_train``.
        run_dir: The run's folder; null chooses one by task, model, seed and identity.
        plugins: Packages of the user's whose classes ``_target_`` may name.
        record: Written by earlier runs into their ``config.yaml``; ignored.
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
    """Logging to W&B; null keeps what the training had.

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
        run: The run's folder.
        device: As ``trainer.device``.
        batch_size: Networks at once.
        zoo_path: The zoo's folder if it is no longer where the training found it.
        data_path: The folder of data sets if it is no longer where the training found it; only
            tasks that compare with the signals of the zoo read it.
        other_zoo: Folder of a zoo of other signals, or of another fit, to evaluate on in addition:
            how far what was learned carries over. The result does not replace that of the run.
        wandb: Logging, to the W&B run of the training.
        plugins: Packages of the user's whose classes ``_target_`` may name.
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
        paths: Folders.
        scale: Sizes.
        runs: Folder below which results are looked for.
        report: Folder of the page, its tables and figures.
        kept: ``results.json`` of an earlier report, whose results enter the tables as well; null
            for none.
        tasks: Names of the tasks in scope, whose cells without a result are listed as missing;
            empty for the tasks of the results.
        methods: Names of the models in scope, in the same way.
        plugins: Packages of the user's whose classes ``_target_`` may name.
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
