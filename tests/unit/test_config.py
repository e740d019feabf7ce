"""Every YAML that is shipped composes, and what it names can be built."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path

import pytest
import torch
from dws.schemas import ZooSchema
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn

from dws import config as config_module
from dws.config import build, config_dir, register_schemas, to_plain
from dws.experiment.building import build_reader, build_task
from dws.tasks import Classification
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, ZooConfig

GROUPS = {
    "fit_inrs": ("zoo", "fit", "engine", "scale", "paths"),
    "train": ("task", "model", "optim", "trainer", "augment", "wandb", "scale", "paths"),
}
CHOICES = [
    (name, group, file.stem)
    for name, groups in GROUPS.items()
    for group in groups
    for file in sorted(Path(config_dir(), group).glob("*.yaml"))
]
EXPERIMENTS = [
    "/".join(file.with_suffix("").parts[-2:])
    for file in sorted(Path(config_dir(), "experiment").glob("*/*.yaml"))
]


@pytest.mark.parametrize(("name", "group", "choice"), CHOICES)
def test_every_choice_composes_and_fits_its_schema(name: str, group: str, choice: str) -> None:
    register_schemas()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        config = compose(name, [f"{group}={choice}"])
    OmegaConf.to_object(config)  # runs the checks of the settings' classes


@pytest.mark.parametrize("model", [c for n, g, c in CHOICES if g == "model"])
@pytest.mark.parametrize("task", [c for n, g, c in CHOICES if g == "task"])
def test_every_model_can_be_built_for_every_task(model: str, task: str, sine_zoo: Zoo) -> None:
    register_schemas()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        settings = to_plain(compose("train", [f"model={model}", f"task={task}"]))
    built = build_task(settings)
    reader = build_reader(settings, sine_zoo.spec, built, None).eval()
    outputs = reader(sine_zoo.split("val").weights())
    assert outputs.shape == (8, built.out_features)


class Odd(nn.Module):
    """A metanet whose output is of another shape."""

    def __init__(self, *, forward: tuple[int, ...] = (5,), embed: tuple[int, ...] = (8,)) -> None:
        super().__init__()
        self.shapes = (forward, embed)

    def forward(self, batch: WeightBatch) -> Tensor:
        return torch.zeros(batch.batch_size, *self.shapes[0])

    def embed(self, batch: WeightBatch) -> Tensor:
        return torch.zeros(batch.batch_size, *self.shapes[1])


@pytest.mark.parametrize(
    ("net", "complaint"),
    [
        (Odd(forward=()), r"Odd.forward\(batch\) of two networks .* \(2, 5\), got \(2,\)"),
        (Odd(forward=(6,)), r"Odd.forward\(batch\) .* \(2, 5\), got \(2, 6\)"),
        (Odd(embed=(3, 4)), r"Odd.embed\(batch\) of two networks .* \(2, E\), got \(2, 3, 4\)"),
        (nn.Flatten(), r"an nn.Module with forward\(batch\) and embed\(batch\), got Flatten"),
        (nn.Module(), r"got Module, which is not one"),
    ],
)
def test_what_is_no_metanet_is_refused(
    net: nn.Module, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dws.experiment.building.build", lambda *_, **__: net)
    settings = {"seed": 0, "model": {}}
    with pytest.raises(ValueError, match=complaint):
        build_reader(settings, WeightSpaceSpec((1, 3, 1)), Classification(num_classes=5), None)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_the_cell_that_it_is_named_for(experiment: str, sine_zoo: Zoo) -> None:
    register_schemas()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        config = compose("train", [f"experiment={experiment}", "scale=demo"])
    OmegaConf.to_object(config)
    settings = to_plain(config)
    assert f"{settings['task']['name']}/{settings['model']['name']}" == experiment
    assert settings["trainer"]["num_epochs"] == (10 if experiment.startswith("ssl/") else 15)
    built = build_task(settings)
    reader = build_reader(settings, sine_zoo.spec, built, None).eval()
    assert reader(sine_zoo.split("val").weights()).shape[0] == 8
    drawn = ("mnist/dwsnet_sign", "fashion_mnist/dwsnet_sign")
    assert (settings["drawing"]["weight"] > 0) == (experiment in drawn)
    head = Path(config_dir(), "experiment", f"{experiment}.yaml").read_text()
    assert f"dws-train experiment={experiment}" in head


VALUES = {
    "train": {
        "seed": 7, "run_dir": "mine", "zoo.path": "elsewhere", "zoo.aligned": True,
        "paths.runs": "there", "trainer.num_epochs": 3, "task.num_train": 5, "optim.lr": 0.5,
        "augment.noise": 0.25, "wandb.mode": "disabled", "drawing.weight": 2.0,
        "model.hidden_channels": 6,
    },
    "fit_inrs": {
        "zoo.path": "elsewhere", "zoo.seed": 7, "zoo.limit": 9, "inr.hidden": [3],
        "fit.num_steps": 2, "paths.data": "there",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_an_experiment_file_of_the_user_wins_over_every_default(name: str, tmp_path: Path) -> None:
    content = OmegaConf.create({})
    for key, value in VALUES[name].items():
        OmegaConf.update(content, key, value)
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment/mine.yaml"
    file.write_text(f"# @package _global_\n{OmegaConf.to_yaml(content)}")
    added = [f"hydra.searchpath=[file://{tmp_path}]"]
    register_schemas()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        choice = "experiment=mine" if name == "train" else "+experiment=mine"
        config = compose(name, [*added, choice])
    settings = {key: OmegaConf.select(config, key) for key in VALUES[name]}
    assert settings == VALUES[name]


@pytest.mark.parametrize("zoo", ["sine", "sine_ssl"])
def test_signals_are_built(zoo: str) -> None:
    register_schemas()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        settings = to_plain(compose("fit_inrs", [f"zoo={zoo}", "zoo.seed=5"]))
    assert build(settings["zoo"]["signals"]).seed == 5


def test_every_group_is_tested() -> None:
    folders = {path.name for path in Path(config_dir()).iterdir() if path.is_dir()}
    assert folders == {group for groups in GROUPS.values() for group in groups} | {"experiment"}


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected _target_ to name a class, got dws.nothing"):
        build({"_target_": "dws.nothing.Here"})


class Fussy:
    """A class of ours, as the configuration knows it."""

    def __init__(self, width: int, *, names: Sequence[str] = (), other: Nothing = None) -> None:
        width + other


class Typed(Fussy):
    """Arguments of known types."""

    def __init__(self, width: int, *, shape: tuple[int, ...] = (), path: str | Path = "") -> None:
        super().__init__(width, other="a bug")


@pytest.mark.parametrize(
    ("kind", "arguments", "expected"),
    [
        (Typed, {"width": 1, "colour": 2, "size": 3}, "unknown: colour, size; it takes width, sh"),
        (Typed, {}, "missing a required argument: 'width'"),
        (Typed, {"width": "x"}, "width='x': Input should be a valid integer"),
        (Typed, {"width": 1.5}, "width=1.5: Input should be a valid integer"),
        (Typed, {"width": 1, "shape": 3}, "shape=3: Input should be a valid"),
        (Typed, {"width": 1, "path": 3}, "path=3: Input should be a valid"),
        (Fussy, {"colour": 1}, "unknown: colour"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    kind: type, arguments: dict[str, object], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_module, "class_of", lambda target: kind)
    with pytest.raises(ValueError, match=r"expected arguments of dws.x, got") as error:
        build({"_target_": "dws.x", **arguments})
    assert expected in str(error.value)


@pytest.mark.parametrize("kind", [Typed, Fussy])
def test_a_bug_in_a_class_keeps_its_traceback(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_module, "class_of", lambda target: kind)
    with pytest.raises(TypeError, match="unsupported operand"):
        build({"_target_": "dws.x", "width": 1})


SCHEMAS = [
    schema
    for schema in vars(config_module).values()
    if is_dataclass(schema) and hasattr(schema, "_target_")
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_defaults_of_a_schema_are_those_of_the_class_that_it_is_for(schema: type) -> None:
    settings = vars(schema())
    constructor = pkgutil.resolve_name(settings["_target_"])
    known = inspect.signature(constructor).parameters
    default = {name: p.default for name, p in known.items() if p.default is not p.empty}
    shared = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in settings.items()
        if name in default
    }
    assert shared == {name: default[name] for name in shared}


def test_a_zoo_is_as_its_class_has_it() -> None:
    """Its schema has no ``_target_``, since it holds more than the class."""
    defaults = asdict(ZooConfig())
    schema = vars(ZooSchema())
    assert {name: schema[name] for name in defaults} == defaults
