"""Pretrained models: load from a shipped model, a file or a run; predict, export."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

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
    complete_record,
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
from dws.training import LabelledNetworks, RunDir, RunRecord, WeightSpaceModel
from dws.training.checkpoint import load_best
from dws.training.inference import in_batches
from dws.training.record import map_text, to_record, with_escapes
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.weightspace.scales import ScaleReference
from dws.zoo import Zoo, ZooSplit
from dws.zoo.imports import to_network
from dws.zoo.rendering import grid_points

SUFFIX = ".safetensors"
METADATA = "dws"  # the only metadata key of a file, because the order of several keys is not fixed
MODEL, RECONSTRUCTION = "model.", "reconstruction."  # prefixes of the names of tensors
BATCH_SIZE = 256

StateDict: TypeAlias = Mapping[str, Tensor]
Networks: TypeAlias = WeightBatch | Zoo | ZooSplit | str | Path | StateDict | Sequence[StateDict]
NETWORKS = (WeightBatch, Zoo, ZooSplit, Mapping, Sequence)


class Units(NamedTuple):
    """Mean and scale that convert reconstructed values to the units of the signals.

    Attributes:
        mean: Mean of the values of the training networks at each grid point, (V,).
        std: Standard deviation of all values from these means, a scalar.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class PretrainedModel:
    """A trained classification or regression model with its model card, see ``dws.load``.

    The methods accept networks as a ``WeightBatch``, a zoo, its folder or one of its splits (in the
    order of the rows), or one or several state dicts of MLPs whose keys number the layers, such as
    ``seq.0.weight``.

    Attributes:
        name: Name of a shipped model, or path of the file or run.
        card: The model card: architecture of the input networks, classes, statistics of the
            training networks, recipe, metrics and limitations.
        model: The PyTorch module in evaluation mode, on the device given to ``dws.load``.
        reconstruction: Units of the reconstructed values; None if the model was trained without the
            auxiliary reconstruction loss.
    """

    name: str
    card: ModelCard
    model: WeightSpaceModel
    reconstruction: Units | None = None

    @property
    def spec(self) -> WeightSpaceSpec:
        """Architecture of the input networks."""
        return self.card.spec

    def predict(
        self, networks: Networks, *, batch_size: int = BATCH_SIZE
    ) -> Float[Tensor, "n outputs"]:
        """Predict the classes or labels of networks.

        Args:
            networks: n networks.
            batch_size: Networks per batch.

        Returns:
            For a classification, the probability of each class, (n, classes). Otherwise, the labels
            in their units, (n, labels). Float32 on the CPU.

        Raises:
            ValueError: If the networks have another architecture.
        """
        outputs = self._apply(self.model, networks, batch_size)
        return outputs.softmax(dim=1) if self.card.classes else outputs

    def reconstruct(
        self, networks: Networks, *, batch_size: int = BATCH_SIZE
    ) -> Float[Tensor, "n ... d_m"]:
        """Predict the signals of INRs from their weights.

        Args:
            networks: n INRs.
            batch_size: Networks per batch.

        Returns:
            Values at the centres of the cells of a regular grid over the domain, for images
            (n, rows, columns, d_M). Float32 on the CPU.

        Raises:
            ValueError: If the networks have another architecture, or the model was trained without
                the auxiliary reconstruction loss.
        """
        if self.reconstruction is None:
            raise UserError(
                f"{self.name} has no reconstructions, because it was trained with "
                "reconstruction.weight=0. Choose a model that was trained with the auxiliary "
                "reconstruction loss, such as model=dwsnet_sign for task=mnist."
            )
        outputs = self._apply(self.model.reconstruct, networks, batch_size)
        values = outputs * self.reconstruction.std + self.reconstruction.mean
        num_inputs, num_outputs = self.spec.dims[0], self.spec.dims[-1]
        resolution = self.card.run.reconstruction.resolution
        grid = values.view(-1, *[resolution] * num_inputs, num_outputs)
        # the first input is the first axis of the grid, but the last axis of an image
        return grid.permute(0, *range(num_inputs, 0, -1), num_inputs + 1).contiguous()

    def render(
        self,
        networks: Networks,
        *,
        output_offset: float | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Float[Tensor, "n ... d_m"]:
        """Evaluate INRs on the grid of the training signals.

        Args:
            networks: n INRs.
            output_offset: Constant added to the outputs; None for that of the training networks.
            batch_size: Networks per batch.

        Returns:
            Values on the grid, for images (n, rows, columns, d_M). Float32 on the CPU.

        Raises:
            ValueError: If the networks have another architecture or are not INRs.
        """
        inr, domain = self.card.zoo.inr, self.card.zoo.domain
        if inr is None or domain is None:
            raise UserError(
                f"{self.name} takes {self.card.zoo.architecture}, which compute no signals. Choose "
                "a model for INRs."
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
        """Compute the distance of each network's layer scales from those of the training networks.

        Predictions for networks whose distance exceeds ``card.scales.limit`` can be unreliable. See
        ``dws.weightspace.ScaleReference``.

        Args:
            networks: n networks.

        Returns:
            Distances, (n,), float64 on the CPU.

        Raises:
            ValueError: If the networks have another architecture.
        """
        reference = self.card.scales.reference()
        return torch.cat([reference.distance(batch) for batch in self._batches(networks)])

    def check(self, networks: WeightBatch | Zoo) -> None:
        """Check the architecture of networks.

        Args:
            networks: A zoo, or a batch, for which only the widths are known.

        Raises:
            ValueError: If the networks have another architecture. The message states both.
        """
        expected = self.card.zoo.architecture
        if isinstance(networks, Zoo):
            architecture = describe_architecture(networks.manifest)
            found = f"{networks.path} contains {architecture}"
            is_same = architecture == expected
        else:
            found = f"these are networks of widths {'-'.join(map(str, networks.spec.dims))}"
            is_same = networks.spec == self.spec
        if not is_same:
            raise UserError(
                f"{self.name} takes {expected}, but {found}. Choose or train a model for such "
                "networks."
            )

    def save(self, file: str | Path) -> None:
        """Write the model to a safetensors file, which ``dws.load`` reads.

        Weight matrices are stored as float16, all other tensors in their own dtype. The metadata of
        the file contain the model card and a checksum.

        Args:
            file: The file to write. Its name must end with ``.safetensors``.

        Raises:
            ValueError: If the name has another suffix, or weights are too large for float16.
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
        # copies, because safetensors refuses shared parameters
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        content = {**self.card.model_dump(mode="json"), "run": _plain(self.card.run)}
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

    def __repr__(self) -> str:
        return (
            f"PretrainedModel({self.name!r}, {type(self.model.net).__name__}: "
            f"{self.card.zoo.architecture} -> {', '.join(self.card.labels)})"
        )

    def _batches(self, networks: Networks) -> Iterator[WeightBatch]:
        if isinstance(networks, str | Path):
            yield from self._batches(Zoo.open(networks))
            return
        if isinstance(networks, Tensor) or not isinstance(networks, NETWORKS):
            raise TypeError(
                "expected a WeightBatch, a zoo, its folder or a split of it, or state dicts, got a "
                f"{type(networks).__name__}"
            )
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
            given = [networks] if isinstance(networks, Mapping) else networks
            states = cast(Sequence[StateDict], given)
            on_cpu = [{key: _to_cpu(value) for key, value in state.items()} for state in states]
            batches = [to_network(state) for state in on_cpu]
            if not batches:
                raise UserError("There are no networks to predict from. Pass at least one.")
            for batch in batches:
                self.check(batch)
            yield WeightBatch.cat(batches)


def load(
    model: str | Path, *, zoo_path: str | Path | None = None, device: str = "cpu"
) -> PretrainedModel:
    """Load a trained model that predicts from the weights of networks.

    Args:
        model: Name of a model that ships with dws, such as ``mnist-sign``; a file written by
            ``Run.export`` or ``dws-export``; or the folder of a run. The name of a shipped model
            takes precedence over a file or folder of the same name. For a run, its training zoo
            must exist, because statistics of the training networks are computed.
        zoo_path: For a run, the zoo's folder if it was moved after the training.
        device: Device of the model: ``auto`` (a GPU if one is available), ``cpu`` or ``cuda``.

    Returns:
        The model with its model card.

    Raises:
        FileNotFoundError: If there is no such model (the message lists the shipped models), or the
            zoo of a run does not exist.
        ValueError: If the file or run is damaged, was written by a newer version of dws, or is not
            a classification or regression, or if ``zoo_path`` is given for another model than a
            run.
    """
    place = find_device(device, option="device")
    shipped = shipped_models()
    path = Path(model)
    is_run = str(model) not in shipped and path.is_dir()
    if zoo_path is not None and not is_run:
        raise UserError(
            f"zoo_path is the training zoo of a run, but {model} is not the folder of a run. Omit "
            "zoo_path: files contain the statistics of their training networks."
        )
    if is_run:
        loaded = from_run(RunDir.open(path), zoo_path)
    elif str(model) in shipped:
        loaded = _read(shipped[str(model)], name=str(model))
    elif path.is_file():
        loaded = _read(path, name=str(path))
    else:
        raise NotFoundError(
            f"There is no model {model}. Give the name of a model that ships with dws "
            f"({', '.join(shipped)}), a file written by dws-export, or the folder of a run."
        )
    loaded.model.to(place)
    return loaded


def from_run(
    run: RunDir, zoo_path: str | Path | None = None, *, classes: Sequence[str] | None = None
) -> PretrainedModel:
    """Load the model of a run and create its model card.

    Args:
        run: The run.
        zoo_path: The zoo's folder if it was moved after the training.
        classes: Names of the classes; None for their numbers.

    Returns:
        The model of the selected epoch.

    Raises:
        FileNotFoundError: If the zoo does not exist.
        ValueError: If the run is unfinished or damaged, the zoo is not that of the training, the
            run is not a classification or regression, or the names of classes are not valid.
    """
    record = run.record()
    task = _predictive(run, build_task(record.task), aligned=record.zoo.aligned)
    record = complete_record(run)
    zoo = zoo_of_run(run, record, zoo_path)
    model = load_trained(run.path, zoo.spec)
    assert isinstance(model, WeightSpaceModel)
    best = load_best(run.best_checkpoint, task.monitor)["metrics"]
    result = read_result(run.result_file) if run.result_file.is_file() else None
    repeat = record.task.get("repeat_train", False)
    cpu = torch.device("cpu")
    train_set = load_training_split(record, zoo, task, cpu, repeat=repeat)
    card = ModelCard(
        run=record.model_copy(update={"paths": None}),
        zoo=TrainingZoo.of(zoo.manifest),
        labels=list(task.labels),
        classes=_class_names(task, classes),
        num_train=num_train(record, zoo),
        num_parameters=num_parameters(record, zoo, task),
        scales=Scales.of(ScaleReference.fit([train_set.weights])),
        monitor=task.monitor,
        validation={k.removeprefix("val_"): v for k, v in best.items() if k.startswith("val_")},
        test=TestMetrics.of(result) if result else None,
    )
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
    """Write the model of a run to a file, and print the effect of rounding on validation.

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
    changed = f", changed predictions: {num_changed}" if model.card.classes else ""
    print(
        f"model {file}: {file.stat().st_size / 1e6:.1f} MB; {task.monitor} on {len(val_set)} "
        f"validation networks: {metrics[0]:.4g} before rounding, {metrics[1]:.4g} after rounding"
        f"{changed}"
    )
    return exported


def check_file_name(file: Path) -> None:
    """Check that the file of a model can be written.

    Raises:
        ValueError: If its name has another suffix, or it is a folder.
        OSError: If it cannot be created.
    """
    if file.is_dir():
        raise UserError(f"{file} is a folder. Choose the name of a file for the model.")
    if file.suffix != SUFFIX:
        raise UserError(
            f"The name of a model's file must end with {SUFFIX}, but it is {file}. Choose another "
            "name."
        )
    check_can_make(file)


def _predictive(run: RunDir, task: AnyTask, *, aligned: bool) -> Task:
    """Return the task of a run if its model predicts labels from weights alone.

    Raises:
        UserError: If the model does not predict labels from weights alone.
    """
    reason = None
    if isinstance(task, NetworkTask):
        reason = "its outputs are networks"
    elif task.num_views > 1:
        reason = "it learns an embedding, and its labels are predicted by a linear regression"
    elif aligned:
        reason = "its input networks must be aligned to its zoo"
    elif not isinstance(task, Classification) and task.out_features != len(task.labels):
        reason = (
            f"its {task.out_features} outputs are neither classes nor the labels "
            f"{', '.join(task.labels)}"
        )
    if reason:
        raise UserError(
            f"The run in {run.path} is not a classification or regression from weights alone: "
            f"{reason}. Load its PyTorch module with dws.load_trained instead."
        )
    assert not isinstance(task, NetworkTask)
    return task


def _class_names(task: Task, names: Sequence[str] | None) -> list[str] | None:
    if not isinstance(task, Classification):
        if names is not None:
            raise UserError(
                "Only classifications have names of classes, but this run predicts "
                f"{', '.join(task.labels)}. Omit the names."
            )
        return None
    if names is None:
        return [str(number) for number in range(task.num_classes)]
    names = [name.strip() for name in names]
    is_valid = all(name and name.isprintable() for name in names)
    if not is_valid or not task.num_classes == len(names) == len(set(names)):
        raise UserError(
            f"The run has {task.num_classes} classes, but the names are {names}. Give one distinct "
            "name of printable characters per class, in the order of the labels."
        )
    return names


def _read(file: Path, *, name: str) -> PretrainedModel:
    """Read a file written by ``PretrainedModel.save``.

    Raises:
        UserError: If the file is damaged, of another kind, or written by a newer version of dws.
    """
    content = file.read_bytes()
    remedy = "Restore the file that dws-export wrote, or export the run again."
    try:
        tensors = load_tensors(content)
        metadata = _metadata(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{file} is damaged, or not a safetensors file ({error}). {remedy}"
        ) from error
    if not {"sha256", "card"} <= metadata.keys():
        raise UserError(
            f"{file} has no model card, so it was not written by dws-export. Choose a file written "
            "by dws-export. Input networks are arguments of dws-predict, not values of --model."
        )
    plain = metadata["card"]
    if metadata["sha256"] != _checksum(plain, tensors):
        raise UserError(f"{file} is damaged: its checksum does not match. {remedy}")
    card = _card(plain, file)
    task = build_task(card.run.task)
    _check_consistent(card, task, tensors, file)
    model = build_model(card.run, card.spec, task, None)
    assert isinstance(model, WeightSpaceModel)
    state = {key.removeprefix(MODEL): t for key, t in tensors.items() if key.startswith(MODEL)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        target, reason = card.run.model["_target_"], " ".join(str(error).split())
        raise UserError(
            f"The weights in {file} do not fit {target} of this version of dws: {reason:.400}. "
            "Export the run again."
        ) from error
    names = [f"{RECONSTRUCTION}{field}" for field in Units._fields]
    units = Units(*(tensors[each] for each in names)) if names[0] in tensors else None
    return PretrainedModel(name, card, model.eval(), units)


def _metadata(content: bytes) -> dict[str, Any]:
    """Read the metadata of dws from the header of a safetensors file, after 8 bytes of length."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    return dict(json.loads(header.get("__metadata__", {}).get(METADATA, "{}")))


def _card(content: object, file: Path) -> ModelCard:
    """Validate the model card of a file.

    Raises:
        UserError: If it is not a model card, or was written by a newer version of dws.
    """
    what = f"model card in {file}"
    check_version(content, file, newest=FORMAT_VERSION)
    plain = check_content(content, dict[str, Any], what=what)
    run = to_record(plain.get("run"), file)
    card = check_content({**plain, "run": _plain(run)}, ModelCard, what=what)
    return card.model_copy(update={"run": run})


def _plain(run: RunRecord) -> dict[str, Any]:
    """Convert a run record to plain values, as in its ``config.yaml``."""
    return dict(map_text(run.model_dump(mode="json", by_alias=True), with_escapes))


def _check_consistent(
    card: ModelCard, task: AnyTask, tensors: Mapping[str, Tensor], file: Path
) -> None:
    """Check that the parts of a file belong together.

    Raises:
        UserError: If a tensor is not finite, or names or scales do not match the task or the
            networks.
    """
    num_classes = task.num_classes if isinstance(task, Classification) else None
    scales, num_scales = card.scales, 2 * card.spec.num_layers
    problems = {
        f"{name} has entries that are not finite": bool(tensor.isfinite().all())
        for name, tensor in tensors.items()
    }
    problems |= {
        "the task does not predict labels": not isinstance(task, NetworkTask),
        f"{card.classes} are not the names of {num_classes} classes": (
            (len(card.classes) if card.classes else None) == num_classes
        ),
        f"the networks have {num_scales} scales, in contrast to the card": (
            {num_scales}
            == {len(scales.floor), len(scales.mean), len(scales.precision)}
            == {num_scales, *map(len, scales.precision)}
        ),
    }
    for problem, is_right in problems.items():
        if not is_right:
            raise UserError(f"{file} is inconsistent: {problem}. Export the run again.")


def _as_stored(key: str, tensor: Tensor) -> Tensor:
    """Convert weight matrices to float16; other tensors keep their dtype.

    Raises:
        UserError: If entries are not finite, or are too large for float16.
    """
    if not bool(tensor.isfinite().all()):
        raise UserError(f"{key} has entries that are not finite. Train the model again.")
    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    stored = tensor.to(torch.float16)
    if not bool(stored.isfinite().all()):
        raise UserError(
            f"{key} has entries up to {float(tensor.abs().max()):.3g}, which float16 cannot "
            "represent. Train the model again with weight decay."
        )
    return stored


def _checksum(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of the card and all tensors, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(card).encode())
    for name in sorted(tensors):
        tensor = tensors[name].cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _to_cpu(value: object) -> object:
    return value.detach().cpu() if isinstance(value, Tensor) else value
