"""Every YAML that is shipped composes, and what it names can be built."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict, is_dataclass
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_object
from omegaconf import OmegaConf

from dws import config as config_module
from dws.cli.runs import build_reader, build_task
from dws.config import ZooSchema, build, config_dir, register_schemas, to_plain
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


@pytest.mark.parametrize("name", GROUPS)
def test_help_lists_the_choices(name: str) -> None:
    text = Path(config_dir(), f"{name}.yaml").read_text().partition("Choices:\n")[2]
    listed = dict(line.split("=") for line in re.sub(r"\n +\|", "|", text).split("\n\n")[0].split())
    for group, there in listed.items():
        assert set(there.split("|")) == {c for n, g, c in CHOICES if (n, g) == (name, group)}
    alone = {"paths", "optim", "trainer"}  # groups of one choice
    assert listed.keys() == set(GROUPS[name]) - alone


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


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_is_the_cell_that_it_is_named_for(experiment: str, sine_zoo: Zoo) -> None:
    register_schemas()
    with initialize_config_dir(config_dir(), version_base="1.3"):
        config = compose("train", [f"experiment={experiment}", "scale=small"])
    OmegaConf.to_object(config)
    settings = to_plain(config)
    assert f"{settings['task']['name']}/{settings['model']['name']}" == experiment
    assert settings["trainer"]["num_epochs"] == (25 if experiment.startswith("ssl/") else 30)
    built = build_task(settings)
    reader = build_reader(settings, sine_zoo.spec, built, None).eval()
    assert reader(sine_zoo.split("val").weights()).shape[0] == 8
    head = Path(config_dir(), "experiment", f"{experiment}.yaml").read_text()
    assert f"dws-train experiment={experiment}" in head


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


SCHEMAS = [
    schema
    for schema in vars(config_module).values()
    if is_dataclass(schema) and hasattr(schema, "_target_")
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
def test_defaults_of_a_schema_are_those_of_the_class_that_it_is_for(schema: type) -> None:
    settings = vars(schema())
    constructor = get_object(settings["_target_"])
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
