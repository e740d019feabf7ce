"""Schemas of the configuration: every setting of the commands, with its type and default."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from dws.inr import FitConfig, SirenConfig
from dws.training.augmentation import AugmentConfig
from dws.training.loggers import WandbConfig
from dws.training.reconstruction import ReconstructionConfig
from dws.training.settings import OptimConfig, TrainerConfig


@dataclass
class PathsSchema:
    """Where things are kept.

    Attributes:
        outputs: Root of all that the commands write.
        data: Data sets.
        zoos: Zoos.
        runs: Runs.
    """

    outputs: str = MISSING
    data: str = MISSING
    zoos: str = MISSING
    runs: str = MISSING


@dataclass
class ScaleSchema:
    """Sizes that belong together.

    Attributes:
        name: Of the scale.
        outputs: Folder of all outputs at this scale.
        num_images: Signals of an image zoo in all splits, or null for all.
        num_sines: Signals of a sine zoo in all splits, or null for all.
        num_epochs: Epochs of a supervised training.
        num_contrastive_epochs: Epochs of a self-supervised one.
        batch_size: Networks a training step.
        num_seeds: Runs that ``make reproduce-all`` makes for each cell of its tables.
        curve: Numbers of training networks, besides all, of its curve of sine regression.
    """

    name: str = MISSING
    outputs: str = MISSING
    num_images: int | None = None
    num_sines: int | None = None
    num_epochs: int = MISSING
    num_contrastive_epochs: int = MISSING
    batch_size: int = MISSING
    num_seeds: int = MISSING
    curve: list[int] = MISSING


@dataclass
class FitPresetSchema:
    """How a zoo is fitted under one name of the group ``fit``; see ``dws.inr.FitConfig``."""

    num_steps: int = MISSING
    learning_rate: float = MISSING
    weight_decay: float = 0.0
    stop_mse: float = 0.0


@dataclass
class ZooSchema:
    """A zoo to fit: settings of ``dws.zoo.ZooConfig``, its folder, its signals.

    Attributes:
        name: Of the zoo.
        path: Its folder.
        seed: Of signals and initialisations.
        limit: Signals in all splits together, or null for all.
        num_views: INRs for each signal.
        shard_size: INRs in a file.
        signals: What is fitted; ``_target_`` names a class of ``dws.signals``.
        presets: What the choices of the group ``fit`` mean for this zoo.
        part: Fit one of ``num_parts`` ranges of the shards, from 0, for ``dws-zoo merge``; null
            fits all.
        num_parts: How many ranges there are.
    """

    name: str = MISSING
    path: str = MISSING
    seed: int = 0
    limit: int | None = None
    num_views: int = 1
    shard_size: int = 512
    signals: dict[str, Any] = field(default_factory=dict)
    presets: dict[str, FitPresetSchema] = field(default_factory=dict)
    part: int | None = None
    num_parts: int = 1


@dataclass
class FitInrsSchema:
    """Configuration of ``dws-fit-inrs``."""

    paths: PathsSchema = field(default_factory=PathsSchema)
    scale: ScaleSchema = field(default_factory=ScaleSchema)
    zoo: ZooSchema = field(default_factory=ZooSchema)
    inr: SirenConfig = field(default_factory=SirenConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    engine: Any = MISSING


@dataclass
class InProcessSchema:
    """The engine ``dws.zoo.InProcess``."""

    _target_: str = "dws.zoo.InProcess"


@dataclass
class RaySchema:
    """Arguments of ``dws.zoo.Ray``."""

    _target_: str = "dws.zoo.Ray"
    address: str | None = None
    num_cpus: int = 1
    num_gpus: float | None = None
    max_retries: int = 10


@dataclass
class TrainZooSchema:
    """The zoo that is trained on.

    Attributes:
        path: Its folder.
        aligned: Align all networks to each other first, see ``dws.zoo.align_zoo``.
    """

    path: str = MISSING
    aligned: bool = False


@dataclass
class TaskSchema:
    """What every task has, beside the arguments of its class.

    Attributes:
        name: Of the task, in folders and tables.
        zoo: Name of the zoo that it reads.
        num_train: Train on so many signals (all views of each), or null for all.
        repeat_train: Repeat these so that an epoch has as many steps as with all.
    """

    name: str = MISSING
    zoo: str = MISSING
    num_train: int | None = None
    repeat_train: bool = False


@dataclass
class ClassificationSchema(TaskSchema):
    """Arguments of ``dws.tasks.Classification``."""

    _target_: str = "dws.tasks.Classification"
    label: str = "label"
    num_classes: int = 10


@dataclass
class RegressionSchema(TaskSchema):
    """Arguments of ``dws.tasks.Regression``."""

    _target_: str = "dws.tasks.Regression"
    label: str = "frequency"


@dataclass
class ContrastiveSchema(TaskSchema):
    """Arguments of ``dws.tasks.Contrastive``."""

    _target_: str = "dws.tasks.Contrastive"
    labels: list[str] = field(default_factory=lambda: ["amplitude", "frequency"])
    temperature: float = 0.1
    out_features: int = 16
    projection_features: int = 16


@dataclass
class ModelSchema:
    """What every model has, beside the arguments of its class.

    Attributes:
        name: Of the model, in folders and tables.
    """

    name: str = MISSING


@dataclass
class DWSNetSchema(ModelSchema):
    """Arguments of ``dws.metanets.DWSNet``."""

    name: str = "dwsnet"
    _target_: str = "dws.metanets.DWSNet"
    hidden_channels: int = 32
    num_layers: int = 5
    reduction: str = "max"
    norm: str = "batch"
    dropout: float = 0.0
    skip: bool = False
    set_layer: str = "deepsets"


@dataclass
class AttentionDWSNetSchema(DWSNetSchema):
    """Arguments of ``dws.metanets.DWSNet``, and of its attention."""

    num_heads: int = 4


@dataclass
class SignDWSNetSchema(ModelSchema):
    """Arguments of ``dws.metanets.SignDWSNet``."""

    name: str = "dwsnet_sign"
    _target_: str = "dws.metanets.SignDWSNet"
    hidden_channels: int = 64
    edge_channels: int = 4
    read_channels: int = 128
    num_layers: int = 4
    head_layers: int = 3
    dropout: float = 0.0
    omega_0: float | None = None


@dataclass
class ProbeNetSchema(ModelSchema):
    """Arguments of ``dws.metanets.ProbeNet``."""

    name: str = "probe"
    _target_: str = "dws.metanets.ProbeNet"
    num_probes: int = 256
    hidden_features: list[int] = field(default_factory=lambda: [512, 512])
    extent: float = 1.0
    omega_0: float = 30.0
    dropout: float = 0.0


@dataclass
class MLPSchema(ModelSchema):
    """Arguments of ``dws.metanets.MLP``."""

    name: str = "mlp"
    _target_: str = "dws.metanets.MLP"
    hidden_features: list[int] = field(default_factory=lambda: [256, 256, 256])


@dataclass
class INR2VecSchema(ModelSchema):
    """Arguments of ``dws.metanets.INR2Vec``."""

    name: str = "inr2vec"
    _target_: str = "dws.metanets.INR2Vec"
    hidden_features: list[int] = field(default_factory=lambda: [256, 256, 512, 512])


@dataclass
class TransformerSchema(ModelSchema):
    """Arguments of ``dws.metanets.Transformer``."""

    name: str = "transformer"
    _target_: str = "dws.metanets.Transformer"
    hidden_features: int = 64
    num_layers: int = 3
    num_heads: int = 4
    dropout: float = 0.0
    encoding: str = "neuron"


@dataclass
class TrainSchema:
    """Configuration of ``dws-train``.

    Attributes:
        paths: Folders.
        scale: Sizes.
        task: What is learned.
        model: The metanet.
        zoo: What is trained on.
        optim: Optimiser.
        trainer: Length.
        augment: What training networks go through.
        drawing: An exercise beside the task.
        wandb: Logging.
        seed: Of parameters, order of batches, augmentations, dropout and ``task.num_train``.
        run_dir: The run's folder; null makes one from task, model, seed and a hash of the rest.
    """

    paths: PathsSchema = field(default_factory=PathsSchema)
    scale: ScaleSchema = field(default_factory=ScaleSchema)
    task: Any = MISSING
    model: Any = MISSING
    zoo: TrainZooSchema = field(default_factory=TrainZooSchema)
    optim: OptimConfig = field(default_factory=OptimConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    drawing: ReconstructionConfig = field(default_factory=ReconstructionConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)
    seed: int = 0
    run_dir: str | None = None


@dataclass
class EvaluateWandbSchema:
    """Logging to W&B; what is null is as the training had it.

    Attributes:
        mode: ``offline``, ``online`` or ``disabled``.
        project: Name of the project.
        group: Name that runs of one kind share.
    """

    mode: str | None = None
    project: str | None = None
    group: str | None = None


@dataclass
class EvaluateSchema:
    """Configuration of ``dws-evaluate``.

    Attributes:
        run: The run's folder.
        device: As ``trainer.device``.
        batch_size: Networks at once.
        zoo_path: The zoo's folder if it is no longer where the training found it.
        wandb: Logging, to the W&B run of the training.
    """

    run: str = MISSING
    device: str = "auto"
    batch_size: int = 128
    zoo_path: str | None = None
    wandb: EvaluateWandbSchema = field(default_factory=EvaluateWandbSchema)


@dataclass
class ReportSchema:
    """Configuration of ``dws-report``.

    Attributes:
        runs: Folder below which results are looked for.
        report: Folder of the page, its tables and pictures.
        kept: ``results.json`` of an earlier report, whose figures enter the tables as well; null
            for none.
    """

    paths: PathsSchema = field(default_factory=PathsSchema)
    scale: ScaleSchema = field(default_factory=ScaleSchema)
    runs: str = MISSING
    report: str = MISSING
    kept: str | None = None
