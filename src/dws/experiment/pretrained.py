"""Trained models that predict, from a file, a run, or by the name of one that ships with dws."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from dws.errors import NotFoundError, UserError
from dws.evaluation.result import read_result
from dws.experiment.building import (
    build_model,
    build_task,
    load_training_split,
    num_parameters,
    num_train,
    reconstruction_loss,
    zoo_of_run,
)
from dws.experiment.card import (
    FORMAT_VERSION,
    ModelCard,
    Scales,
    TestMetrics,
    TrainingZoo,
    describe_architecture,
)
from dws.experiment.run import load_trained
from dws.inr import siren_apply
from dws.io.atomic import write_atomically
from dws.io.content import check_content
from dws.io.folders import check_can_make
from dws.io.record import check_version
from dws.pretrained import shipped_models
from dws.runtime import find_device
from dws.tasks import AnyTask, Classification, NetworkTask, Task
from dws.training import LabelledNetworks, RunDir, WeightSpaceModel
from dws.training.checkpoint import load_best
from dws.training.inference import in_batches
from dws.training.record import map_text, to_record, with_escapes
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.weightspace.scales import ScaleReference
from dws.zoo import Zoo, ZooSplit
from dws.zoo.imports import to_network
from dws.zoo.rendering import grid_points

SUFFIX = ".safetensors"
METADATA = "dws"  # the one key of the metadata of a file, whose order is not fixed
MODEL, RECONSTRUCTION = "model.", "reconstruction."  # prefixes of the names of tensors
BATCH_SIZE = 256

StateDict: TypeAlias = Mapping[str, Tensor]
Networks: TypeAlias = WeightBatch | Zoo | ZooSplit | StateDict | Sequence[StateDict]


class Units(NamedTuple):
    """What turns reconstructed values into those of the signals.

    Attributes:
        mean: Mean of the values that the training networks compute on the grid, (V,).
        std: Their standard deviation, one number.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class PretrainedModel:
    """A trained model of a classification or regression, with its card. ``dws.load`` opens one.

    The methods take networks as a ``WeightBatch``, a zoo or a split of one (all networks in their
    order), or one or several state dicts of MLPs, whose layers are numbered as in
    ``seq.0.weight``. Networks of another architecture raise a ``ValueError``.

    Attributes:
        name: Name of a shipped model, or path of the file or run.
        card: What is known of the model: architecture of the networks, classes, statistics of the
            training networks, recipe, metrics, limits.
        model: The PyTorch module, on the CPU and in evaluation mode unless ``dws.load`` was given
            another device.
        reconstruction: Units of the values that the model reconstructs; None if it was trained
            without the auxiliary reconstruction loss.
    """

    name: str
    card: ModelCard
    model: WeightSpaceModel
    reconstruction: Units | None = None

    @property
    def spec(self) -> WeightSpaceSpec:
        """The widths of the networks that the model takes."""
        return self.card.spec

    def predict(
        self, networks: Networks, *, batch_size: int = BATCH_SIZE
    ) -> Float[Tensor, "n outputs"]:
        """Predict.

        Args:
            networks: n networks.
            batch_size: Networks at once.

        Returns:
            The probability of each class, (n, classes), for a classification; otherwise the labels
            in their units, (n, labels). Float32 on the CPU.

        Raises:
            ValueError: If the networks are of another architecture.
        """
        outputs = self._apply(self.model, networks, batch_size)
        return outputs.softmax(dim=1) if self.card.classes else outputs

    def reconstruct(
        self, networks: Networks, *, batch_size: int = BATCH_SIZE
    ) -> Float[Tensor, "n ... d_m"]:
        """The signals of INRs, as the model predicts them from the weights.

        Args:
            networks: n INRs.
            batch_size: Networks at once.

        Returns:
            Values at the centres of the cells of a regular grid over the domain, of images
            (n, rows, columns, d_M). Float32 on the CPU.

        Raises:
            ValueError: If the networks are of another architecture, or the model was trained
                without the auxiliary reconstruction loss.
        """
        if self.reconstruction is None:
            raise UserError(
                f"{self.name} does not reconstruct: it was trained with reconstruction.weight=0. "
                "Choose a model that was trained with this loss, such as model=dwsnet_sign of "
                "task=mnist."
            )
        outputs = self._apply(self.model.reconstruct, networks, batch_size)
        values = outputs * self.reconstruction.std + self.reconstruction.mean
        num_inputs, num_outputs = self.spec.dims[0], self.spec.dims[-1]
        resolution = self.card.run.reconstruction.resolution
        grid = values.view(-1, *[resolution] * num_inputs, num_outputs)
        # the first input is the first axis of the grid, but the last one of an image
        return grid.permute(0, *range(num_inputs, 0, -1), num_inputs + 1).contiguous()

    def render(
        self,
        networks: Networks,
        *,
        output_offset: float | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Float[Tensor, "n ... d_m"]:
        """The signals of INRs, computed by the INRs themselves.

        Args:
            networks: n INRs.
            output_offset: Added to their outputs; None for that of the training networks.
            batch_size: Networks at once.

        Returns:
            Values on the grid of the training signals, of images (n, rows, columns, d_M). Float32
            on the CPU.

        Raises:
            ValueError: If the networks are of another architecture, or are not INRs.
        """
        inr, domain = self.card.zoo.inr, self.card.zoo.domain
        if inr is None or domain is None:
            raise UserError(
                f"{self.name} takes {self.card.zoo.architecture}, which show no signal. Choose a "
                "model of INRs."
            )
        offset = inr.output_offset if output_offset is None else output_offset
        points = grid_points(domain, domain.grid)

        def values(batch: WeightBatch) -> Tensor:
            batch = batch.to("cpu", torch.float32)
            return siren_apply(batch, points, omega_0=inr.omega_0, output_offset=offset)

        rendered = torch.cat(
            [in_batches(values, batch, batch_size) for batch in self._batches(networks)]
        )
        return rendered.view(-1, *domain.grid, self.spec.dims[-1])

    @torch.no_grad()
    def distance(self, networks: Networks) -> Float[Tensor, " n"]:
        """How far the scales of each network's layers are from those of the training networks.

        Predictions for networks that are farther than ``card.scales.limit`` are unreliable. See
        ``dws.weightspace.ScaleReference``.

        Returns:
            (n,), float64 on the CPU.

        Raises:
            ValueError: If the networks are of another architecture.
        """
        reference = self.card.scales.reference()
        return torch.cat([reference.distance(batch) for batch in self._batches(networks)])

    def check(self, networks: WeightBatch | Zoo) -> None:
        """Make sure that the model takes these networks.

        Args:
            networks: A batch, of which only the widths are known, or a zoo.

        Raises:
            ValueError: If they are of another architecture; the message names both.
        """
        expected = self.card.zoo.architecture
        if isinstance(networks, Zoo):
            architecture = describe_architecture(networks.manifest.dims, networks.manifest.inr)
            found, is_same = f"{networks.path} holds {architecture}", architecture == expected
        else:
            found = f"these are networks of widths {'-'.join(map(str, networks.spec.dims))}"
            is_same = networks.spec == self.spec
        if not is_same:
            raise UserError(
                f"{self.name} takes {expected}, and {found}. Choose a model that was trained on "
                "such networks, or train one."
            )

    def save(self, file: str | Path) -> None:
        """Write the model to one safetensors file, from which ``dws.load`` reads it.

        Weight matrices are stored as float16, everything else as it is. The metadata of the file
        are the card and a checksum.

        Args:
            file: The file to write; its name ends with ``.safetensors``.

        Raises:
            ValueError: If it has another name, or weights are too large for float16.
        """
        file = Path(file)
        check_file_name(file)
        tensors = {
            f"{MODEL}{key}": _as_stored(key, value)
            for key, value in self.model.state_dict().items()
        }
        if self.reconstruction:
            units = self.reconstruction._asdict()
            tensors |= {f"{RECONSTRUCTION}{name}": tensor for name, tensor in units.items()}
        # of its own each: safetensors refuses parameters that are shared
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        content = self.card.model_dump(mode="json")
        content["run"] = map_text(
            self.card.run.model_dump(mode="json", by_alias=True), with_escapes
        )
        metadata = {"sha256": _checksum(content, tensors), "card": content}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, save_tensors(tensors, {METADATA: json.dumps(metadata)}))

    def _apply(
        self, function: Callable[[WeightBatch], Tensor], networks: Networks, batch_size: int
    ) -> Tensor:
        device = self.model.standardize.mean.device
        self.model.eval()

        def on_device(batch: WeightBatch) -> Tensor:
            return function(batch.to(device)).cpu()

        batches = self._batches(networks)
        return torch.cat([in_batches(on_device, batch, batch_size) for batch in batches]).float()

    def _batches(self, networks: Networks) -> Iterator[WeightBatch]:
        if isinstance(networks, WeightBatch):
            self.check(networks)
            yield networks
        elif isinstance(networks, Zoo | ZooSplit):
            zoo = networks if isinstance(networks, Zoo) else networks.zoo
            self.check(zoo)
            rows = ZooSplit(networks, 0, len(networks)) if isinstance(networks, Zoo) else networks
            for piece in rows.pieces():
                yield piece.weights()
        else:
            states = [networks] if isinstance(networks, Mapping) else networks
            on_cpu = [{key: _to_cpu(value) for key, value in state.items()} for state in states]
            batches = [to_network(state) for state in on_cpu]
            if not batches:
                raise UserError("There are no networks to predict from; give at least one.")
            for batch in batches:
                self.check(batch)
            yield WeightBatch.cat(batches)


def load(
    model: str | Path, *, zoo_path: str | Path | None = None, device: str = "cpu"
) -> PretrainedModel:
    """Load a trained model that predicts from the weights of networks.

    Args:
        model: Name of a model that ships with dws, such as ``mnist-sign``, which a file or folder
            of this name does not hide; a file that
            ``Run.export`` or ``dws-export`` wrote; or the folder of a run. A run needs the zoo that
            it was trained on, of which statistics are taken.
        zoo_path: The zoo's folder if it is no longer where the training of a run found it.
        device: Where the model computes: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.

    Raises:
        FileNotFoundError: If there is no such model (the message lists those that ship with dws),
            or the zoo of a run is gone.
        ValueError: If the file or run is damaged, a newer version of dws wrote it, or it is not of
            a classification or regression.
    """
    place = find_device(device, option="device")
    shipped = shipped_models()
    path = Path(model)
    if str(model) in shipped:
        loaded = _read(shipped[str(model)], name=str(model))
    elif path.is_dir():
        loaded = from_run(RunDir.open(path), zoo_path)
    elif path.is_file():
        loaded = _read(path, name=str(path))
    else:
        raise NotFoundError(
            f"There is no model {model}. Give the name of a model that ships with dws "
            f"({', '.join(shipped)}), a file that dws-export wrote, or the folder of a run."
        )
    loaded.model.to(place)
    return loaded


def from_run(
    run: RunDir, zoo_path: str | Path | None = None, *, classes: Sequence[str] | None = None
) -> PretrainedModel:
    """The model of a run, with its card.

    Args:
        run: The run.
        zoo_path: The zoo's folder if it is no longer where the training found it.
        classes: Names of the classes; None for their numbers.

    Raises:
        FileNotFoundError: If there is no checkpoint, or the zoo is gone.
        ValueError: If the run is damaged, its zoo is another, it is not of a classification or
            regression, or there are more or fewer names than classes.
    """
    record = run.record()
    task = _predictive(run, build_task(record.task), aligned=record.zoo.aligned)
    zoo = zoo_of_run(run, record, zoo_path)
    model = load_trained(run.path, zoo.spec)
    assert isinstance(model, WeightSpaceModel)
    best = load_best(run.best_checkpoint, task.monitor)["metrics"]
    result = read_result(run.result_file) if run.result_file.is_file() else None
    card = ModelCard(
        run=record.model_copy(update={"paths": None}),
        zoo=TrainingZoo.of(zoo.manifest),
        labels=list(task.labels),
        classes=_class_names(task, classes),
        num_train=num_train(record, zoo),
        num_parameters=num_parameters(record, zoo, task),
        scales=Scales.of(ScaleReference.fit(p.weights() for p in zoo.split("train").pieces())),
        monitor=task.monitor,
        validation={k.removeprefix("val_"): v for k, v in best.items() if k.startswith("val_")},
        test=TestMetrics.of(result) if result else None,
    )
    repeat = record.task.get("repeat_train", False)
    cpu = torch.device("cpu")
    train_set = load_training_split(record, zoo, task, cpu, repeat=repeat)
    loss = reconstruction_loss(record, zoo, train_set)
    units = Units(loss.mean, loss.std) if loss else None
    return PretrainedModel(str(run.path), card, model, units)


def export_run(
    run: RunDir,
    file: Path,
    *,
    classes: Sequence[str] | None = None,
    zoo_path: str | Path | None = None,
) -> PretrainedModel:
    """Write the model of a run to a file, and say how its predictions differ on validation.

    Arguments, result and errors are those of ``Run.export``.
    """
    check_file_name(file)
    model = from_run(run, zoo_path, classes=classes)
    zoo, task = zoo_of_run(run, model.card.run, zoo_path), build_task(model.card.run.task)
    val_set = LabelledNetworks.load(zoo.split("val"), task, torch.device("cpu"))
    model.save(file)
    exported = load(file)
    before, after = (
        in_batches(each.model, val_set.weights, BATCH_SIZE) for each in (model, exported)
    )
    metrics = [task.metrics(outputs, val_set.targets)[task.monitor] for outputs in (before, after)]
    num_changed = int((before.argmax(dim=1) != after.argmax(dim=1)).sum())
    changed = f", {num_changed} predicted classes changed" if model.card.classes else ""
    print(
        f"model {file}: {file.stat().st_size / 1e6:.1f} MB; {task.monitor} on {len(val_set)} "
        f"validation networks {metrics[0]:.4g} before and {metrics[1]:.4g} after rounding"
        f"{changed}"
    )
    return exported


def check_file_name(file: Path) -> None:
    """Make sure that a file for a model can be written.

    Raises:
        ValueError: If its name has another suffix, or it is a folder.
        OSError: If it cannot be made.
    """
    if file.is_dir():
        raise UserError(f"{file} is a folder. Give the name of a file for the model.")
    if file.suffix != SUFFIX:
        raise UserError(f"The name of a model's file ends with {SUFFIX}, not {file}. Rename it.")
    check_can_make(file)


def _predictive(run: RunDir, task: AnyTask, *, aligned: bool) -> Task:
    """The task of a run whose model alone predicts labels.

    Raises:
        UserError: If it is not such a run.
    """
    reason = None
    if isinstance(task, NetworkTask):
        reason = "its outputs are networks"
    elif task.num_views > 1:
        reason = "it learns an embedding, of which labels are a linear regression"
    elif aligned:
        reason = "it takes networks that are aligned to its zoo"
    elif not isinstance(task, Classification) and task.out_features != len(task.labels):
        reason = f"{task.out_features} outputs are neither classes nor {', '.join(task.labels)}"
    if reason:
        raise UserError(
            f"The run in {run.path} is not of a classification or regression from weights alone: "
            f"{reason}. Load its PyTorch module with dws.load_trained instead."
        )
    assert not isinstance(task, NetworkTask)
    return task


def _class_names(task: Task, names: Sequence[str] | None) -> list[str] | None:
    if not isinstance(task, Classification):
        if names is not None:
            raise UserError(
                f"Names of classes are for classifications, and this run predicts "
                f"{', '.join(task.labels)}. Leave them out."
            )
        return None
    if names is None:
        return [str(number) for number in range(task.num_classes)]
    if len(set(names)) != task.num_classes or len(names) != task.num_classes:
        raise UserError(
            f"The run has {task.num_classes} classes, and the names are {', '.join(names)}. Give "
            "a different name for each class, in the order of the labels."
        )
    return list(names)


def _read(file: Path, *, name: str) -> PretrainedModel:
    """Read a file that ``PretrainedModel.save`` wrote.

    Raises:
        UserError: If it is damaged or another file, or a newer version of dws wrote it.
    """
    content = file.read_bytes()
    remedy = "Bring back the file that dws-export wrote, or export the run again."
    try:
        tensors = load_tensors(content)
        metadata = _metadata(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file} is damaged, or not a safetensors file ({error}). {remedy}"
        ) from error
    if not {"sha256", "card"} <= metadata.keys():
        raise UserError(
            f"{file} has no model card, so dws-export did not write it. Give a file that "
            "dws-export wrote; the input networks come before --model."
        )
    plain = metadata["card"]
    if metadata["sha256"] != _checksum(plain, tensors):
        raise UserError(f"{file} is damaged: its checksum does not match. {remedy}")
    check_version(plain, file, newest=FORMAT_VERSION)
    record = to_record(plain.pop("run"), file)
    card = ModelCard(
        run=record, **check_content(plain, dict[str, Any], what=f"a model card in {file}")
    )
    task = build_task(record.task)
    model = build_model(record, card.spec, task, None)
    assert isinstance(model, WeightSpaceModel)
    state = {key.removeprefix(MODEL): t for key, t in tensors.items() if key.startswith(MODEL)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"The weights in {file} do not fit {record.model['_target_']} of this version of dws "
            f"({reason:.400}). Export the run again."
        ) from error
    names = [f"{RECONSTRUCTION}{field}" for field in Units._fields]
    units = Units(*(tensors[each] for each in names)) if names[0] in tensors else None
    return PretrainedModel(name, card, model.eval(), units)


def _metadata(content: bytes) -> dict[str, Any]:
    """What dws wrote into the header of a safetensors file, which follows its length of 8 bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return dict(json.loads(header.get("__metadata__", {}).get(METADATA, "{}")))


def _as_stored(key: str, tensor: Tensor) -> Tensor:
    """Weight matrices as float16, other tensors as they are."""
    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    stored = tensor.to(torch.float16)
    if not bool(stored.isfinite().all()):
        raise UserError(
            f"{key} has entries up to {float(tensor.abs().max()):.3g}, which float16 cannot hold. "
            "Train the model again with weight decay."
        )
    return stored


def _checksum(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the card and of all tensors, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(card).encode())
    for name in sorted(tensors):
        tensor = tensors[name].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _to_cpu(value: object) -> object:
    return value.detach().cpu() if isinstance(value, Tensor) else value
