"""All shipped YAML files compose, and recipes and experiments have the intended values."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from itertools import product
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn

from dws.cli.command import options_first
from dws.config import compose_settings, config_dir, to_settings
from dws.experiment.building import build_model, build_task
from dws.experiment.fitting import preset_name
from dws.settings import TrainSettings
from dws.signals import SineSignals
from dws.targets import build
from dws.tasks import Classification, NetworkTask
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo

GROUPS = {
    "fit_inrs": ("zoo", "fit", "engine", "scale", "paths"),
    "train": (
        "task", "model", "optim", "trainer", "augment", "wandb", "scale", "paths", "experiment",
    ),
}  # fmt: skip
CHOICES = [
    (name, group, file.stem)
    for name, groups in GROUPS.items()
    for group in groups
    for file in sorted(Path(config_dir(), group).glob("*.yaml"))
]
MODELS = [choice for _, group, choice in CHOICES if group == "model"]
TASKS = [choice for _, group, choice in CHOICES if group == "task"]
RECIPES = sorted(Path(config_dir(), "recipe").rglob("*.yaml"))


def train_settings(*overrides: str) -> TrainSettings:
    settings: TrainSettings = compose_settings("train", overrides)
    return settings


# --- shipped configurations -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "group", "choice"), CHOICES)
def test_every_choice_composes_and_validates(name: str, group: str, choice: str) -> None:
    others = ["zoo=fashion_classifiers"] if (group, choice) == ("fit", "ours") else []
    compose_settings(name, [f"{group}={choice}", *others])


@pytest.mark.parametrize(
    ("task", "model"),
    sorted({*product(("mnist", "edit"), MODELS), *product(TASKS, ("dwsnet",))}),
)
def test_every_model_can_be_built(model: str, task: str, sine_zoo: Zoo) -> None:
    settings = train_settings(f"model={model}", f"task={task}")
    built = build_task(settings.task)
    reader = build_model(settings, sine_zoo.spec, built, None).eval()
    outputs = reader(sine_zoo.split("val").weights())
    assert outputs.shape[0] == 8
    is_of_networks = isinstance(built, NetworkTask)
    least = sine_zoo.spec.num_params if is_of_networks else built.out_features
    assert outputs.shape[1] >= least  # plus reconstructed values


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("nfn", 323_602),
        ("nfn_hnp", 318_680),
        ("scalegmn", 330_494),
        ("scalegmn_b", 329_086),
        ("ng_gnn", 331_466),
        ("ng_t", 376_586),
        ("gmn", 325_390),
    ],
)
def test_default_models_have_similar_numbers_of_parameters(model: str, count: int) -> None:
    settings = train_settings(f"model={model}", "task=mnist")
    spec, task = WeightSpaceSpec((2, 32, 32, 1)), build_task(settings.task)
    net = build_model(settings, spec, task, None).net
    assert sum(p.numel() for p in net.parameters()) == count


def test_every_group_is_tested() -> None:
    folders = {path.name for path in Path(config_dir()).iterdir() if path.is_dir()}
    tested = {group for groups in GROUPS.values() for group in groups}
    assert folders - {"recipe", "hparams_search"} == tested


@pytest.mark.parametrize("group", ["model", "task", "optim", "augment", "trainer", "zoo", "fit"])
def test_config_group_sets_only_its_own_node(group: str) -> None:
    files = list(Path(config_dir(), group).glob("*.yaml"))
    assert files
    assert [file for file in files if "@package" in file.read_text()] == []


def test_config_files_contain_no_measured_results() -> None:
    files = sorted(Path(config_dir()).rglob("*.yaml"))
    comments = [
        f"{file.name}: {comment}"
        for file in files
        for comment in re.findall(r"(?:^|\s)#(.*)", file.read_text())
    ]
    assert len(comments) > 50
    measured = r"\d\s*%|±|\d\s*(min|minutes?|h|hours)\b|\d\s*dB|\bR²"
    assert [comment for comment in comments if re.search(measured, comment)] == []


@pytest.mark.parametrize("zoo", [choice for _, group, choice in CHOICES if group == "zoo"])
def test_every_preset_of_a_zoo_is_a_choice_that_sets_its_values(zoo: str) -> None:
    known = "ours" if zoo.endswith("classifiers") else "authors"
    presets = compose_settings("fit_inrs", [f"zoo={zoo}", f"fit={known}"]).zoo.presets
    assert known in presets
    for name in presets:
        settings = compose_settings("fit_inrs", [f"zoo={zoo}", f"fit={name}"])
        assert preset_name(settings) == name


@pytest.mark.parametrize("zoo", ["sine", "sine_ssl"])
def test_signals_of_every_zoo_are_constructed(zoo: str) -> None:
    settings = compose_settings("fit_inrs", [f"zoo={zoo}", "zoo.seed=5"])
    signals = build(settings.zoo.signals)
    assert isinstance(signals, SineSignals)
    assert signals.seed == 5


# --- recipes --------------------------------------------------------------------------------------

LEARNING_RATES = {  # of every method, for all tasks
    "dwsnet": 2e-2, "dwsnet_550k": 2e-2, "dwsnet_attention": 3e-3, "dwsnet_sign": 3e-3,
    "dwsnet_sign_310k": 3e-3,
    "inr2vec": 3e-3, "inr2vec_550k": 3e-3, "mlp": 1e-3, "mlp_550k": 1e-3, "mlp_alignment": 1e-2,
    "mlp_alignment_550k": 1e-2, "mlp_permutation_augmentation": 1e-2,
    "mlp_permutation_augmentation_550k": 1e-2, "nfn": 3e-3, "nfn_hnp": 3e-3, "probe": 3e-3,
    "transformer": 1e-3, "transformer_550k": 1e-3,
    **dict.fromkeys(
        ["nfn_published", "ng_gnn", "ng_gnn_published", "ng_t", "gmn",
         "scalegmn", "scalegmn_published", "scalegmn_b", "scalegmn_b_published", "ng_gnn_probes",
         "ng_t_probes", "gmn_probes", "scalegmn_probes", "scalegmn_b_probes"], 1e-3,
    ),
}  # fmt: skip
SIGN = ("dwsnet_sign", "dwsnet_sign_310k")
IMAGES = ("mnist", "fashion_mnist", "cifar10")
EDITS = ("edit", "edit_fashion_mnist")
ADAPTATIONS = ("adapt", "adapt_cifar10")
OF_TASKS = ("dwsnet", "probe", *SIGN)  # models whose recipe depends on the task


@pytest.mark.parametrize(
    ("task", "model"),
    sorted({*product(("mnist", "sine"), MODELS), *product(TASKS, OF_TASKS)}),
)
def test_method_is_trained_by_its_recipe(task: str, model: str) -> None:
    settings = train_settings(f"task={task}", f"model={model}")
    sign_on_images = model in SIGN and task in IMAGES
    muon = model in SIGN and task in (*IMAGES, *EDITS)
    adapted = task in ADAPTATIONS and model == "dwsnet"
    assert settings.optim.lr == (2e-3 if adapted else LEARNING_RATES[model])
    assert settings.optim.muon_lr == (1e-2 if muon else None)
    assert settings.optim.weight_decay == (0.1 if muon else 5e-4)
    assert settings.reconstruction.weight == (10.0 if sign_on_images else 0.0)
    assert settings.zoo.aligned == model.startswith("mlp_alignment")
    assert settings.augment.permute == model.startswith("mlp_permutation_augmentation")
    moves = model in (*SIGN, "probe") and task in IMAGES
    assert settings.augment.max_angle == (15.0 if moves else 0.0)
    assert settings.augment.square_symmetries == (task in EDITS)
    assert settings.augment.max_shift == (0.1 if moves or task in EDITS else 0.0)
    assert settings.augment.mask == (0.5 if task == "ssl" else 0.0)
    noise = 0.2 if task == "ssl" else 0.1 if sign_on_images else 0.02 if moves else 0.0
    assert settings.augment.noise == noise
    assert settings.augment.until == (0.8 if sign_on_images else 1.0)
    assert settings.trainer.num_epochs == (25 if task == "ssl" else 20)
    in_float32 = model.startswith(("transformer", "scalegmn_b"))
    assert settings.trainer.precision == ("fp32" if in_float32 else "auto")


def test_contrastive_representation_matches_the_released_code() -> None:
    assert train_settings("task=ssl", "model=dwsnet").model["hidden_channels"] == 16
    assert train_settings("task=sine", "model=dwsnet").model["hidden_channels"] == 32


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("augment=none",), {"augment.noise": 0.0, "augment.max_angle": 0.0, "optim.lr": 3e-3}),
        (("augment=images",), {"augment.noise": 0.02, "augment.until": 1.0}),
        (("augment.noise=0.3",), {"augment.noise": 0.3, "augment.max_angle": 15.0}),
        (("optim=adamw",), {"optim.muon_lr": None, "optim.weight_decay": 5e-4}),
        (("optim.lr=0.5",), {"optim.lr": 0.5, "optim.muon_lr": 1e-2}),
        (("optim.muon_lr=null",), {"optim.muon_lr": None, "optim.weight_decay": 0.1}),
        (("reconstruction.weight=0",), {"reconstruction.weight": 0.0, "augment.noise": 0.1}),
    ],
)
def test_explicit_choice_overrides_the_recipe(
    overrides: tuple[str, ...], expected: dict[str, object]
) -> None:
    settings = train_settings("task=mnist", "model=dwsnet_sign", *overrides)
    values = OmegaConf.create(json.loads(json.dumps(asdict(settings))))
    assert {key: OmegaConf.select(values, key) for key in expected} == expected


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_recipes_refer_to_existing_choices(file: Path) -> None:
    choices = {
        "task": TASKS,
        "model": MODELS,
        "task_model": [f"{t}_{m}" for t in (*TASKS, "images") for m in MODELS],
    }
    assert file.stem in choices[file.parent.name]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_best_experiment_is_the_recipe_with_its_length(name: str) -> None:
    best = train_settings(f"experiment={name}_best")
    recipe = train_settings(f"task={name}", "model=dwsnet_sign", "trainer.num_epochs=20")
    assert best == recipe


# --- user-defined experiments ---------------------------------------------------------------------

VALUES = {
    "train": {
        "seed": 7, "run_dir": "mine", "zoo.path": "elsewhere", "zoo.aligned": True,
        "paths.runs": "there", "trainer.num_epochs": 3, "task.num_train": 5, "optim.lr": 0.5,
        "augment.noise": 0.25, "wandb.mode": "disabled", "reconstruction.weight": 2.0,
        "model.hidden_channels": 6,
    },
    "fit_inrs": {
        "zoo.path": "elsewhere", "zoo.seed": 7, "zoo.limit": 9, "inr.hidden": [3],
        "fit.num_steps": 2, "paths.data": "there",
    },
    "evaluate": {"run": "mine", "batch_size": 3, "wandb.mode": "disabled"},
    "report": {"runs": "mine", "report": "there", "paths.outputs": "elsewhere"},
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_user_experiment_overrides_every_default(name: str, tmp_path: Path) -> None:
    content = OmegaConf.create({})
    for key, value in VALUES[name].items():
        OmegaConf.update(content, key, value)
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment/mine.yaml"
    file.write_text(f"# @package _global_\n{OmegaConf.to_yaml(content)}")
    choice = "experiment=mine" if name == "train" else "+experiment=mine"
    settings = compose_settings(name, [f"hydra.searchpath=[file://{tmp_path}]", choice])
    values = OmegaConf.create(json.loads(json.dumps(asdict(settings))))
    assert {key: OmegaConf.select(values, key) for key in VALUES[name]} == VALUES[name]


def test_command_line_overrides_an_experiment(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("# @package _global_\nseed: 7\n")
    added = [f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"]
    assert compose_settings("train", added).seed == 7
    assert compose_settings("train", [*added, "seed=8"]).seed == 8


# --- invalid settings -----------------------------------------------------------------------------

REFUSED = [
    ("train", "seed=-1"), ("train", "seed=1.5"), ("train", "seed=null"), ("train", "seed=true"),
    ("train", "seed=99999999999999999999"),
    ("train", "optim.lr=nan"), ("train", "optim.lr=fast"), ("train", "optim.schedule=linear"),
    ("train", "trainer.batch_size=1"), ("train", "trainer.device=1"),
    ("train", "reconstruction.resolution=0"), ("train", "zoo.aligned=1"),
    ("train", "task.num_train=0"), ("train", "task.repeat_train=2"), ("train", "plugins=[1]"),
    ("train", "augment.extra=[3]"),
    ("train", "run_dir=2026_11_26"), ("train", "model.name=1e3"), ("train", "wandb.project=true"),
    ("fit_inrs", "fit.stop_mse=-1"), ("fit_inrs", "inr.hidden=[]"), ("fit_inrs", "inr.hidden=8"),
    ("fit_inrs", "zoo.limit=1.5"), ("fit_inrs", "inr.init=other"), ("fit_inrs", "zoo.path=1_0"),
    ("evaluate", "batch_size=0"), ("evaluate", "wandb.mode=perhaps"), ("evaluate", "run=7"),
    ("report", "kept=1"), ("report", "runs=null"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "override"), REFUSED)
def test_setting_of_wrong_type_or_value_is_named(name: str, override: str) -> None:
    key, _, value = override.partition("=")
    more = ["run=x"] if name == "evaluate" else []
    with pytest.raises(ValueError, match=re.escape(key)) as error:
        compose_settings(name, [*more, override])
    shown = {"2026_11_26": "20261126", "1_0": "10", "1e3": "1000.0"}.get(value, value)
    assert shown.strip("[]") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "key",
    ["run_dir", "zoo.path", "paths.outputs", "model.name", "task.name", "task.zoo", "wandb.group"],
)
def test_numeric_text_must_be_quoted(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key}=20261126.* quote it: '{key}=") as error:
        compose_settings("train", [f"{key}=2026_11_26"])
    proposed = re.findall(rf"'({key}=.*)'", str(error.value))
    (quoted,) = (text.replace("...", "2026_11_26") for text in proposed)
    values = OmegaConf.create(json.loads(json.dumps(asdict(compose_settings("train", [quoted])))))
    assert OmegaConf.select(values, key) == "2026_11_26"


@pytest.mark.parametrize("prefix", ["", "+", "++"])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("train", "optim.lrr"), ("train", "nothing"), ("train", "trainer.foo"),
        ("train", "zoo.limit"), ("train", "scale.foo"), ("train", "wandb.entity"),
        ("fit_inrs", "fit.lr"), ("fit_inrs", "inr.omega0"), ("fit_inrs", "zoo.foo"),
        ("evaluate", "runs"), ("evaluate", "wandb.x"), ("report", "run"),
    ],
)  # fmt: skip
def test_unknown_setting_is_named(name: str, key: str, prefix: str) -> None:
    more = ["run=x"] if name == "evaluate" else []
    with pytest.raises(ValueError, match=re.escape(key)):
        compose_settings(name, [*more, f"{prefix}{key}=1"])


def test_all_invalid_settings_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"optim\.lr=-1") as error:
        compose_settings("train", ["optim.lr=-1", "seed=x", "trainer.num_epochs=0"])
    assert {"seed=x", "trainer.num_epochs=0"} <= set(re.split(r"[:;] ?", str(error.value)))


@pytest.mark.parametrize(
    "override",
    [
        "augment=[permute,images]",
        "model=[mlp,dwsnet]",
        "zoo=[]",
        "+augment@augment=[permute,images]",
    ],
)
def test_only_one_choice_of_a_group_is_accepted(override: str) -> None:
    name = "fit_inrs" if override.startswith("zoo") else "train"
    with pytest.raises(ValueError, match=re.escape(f"got {override}")):
        compose_settings(name, [override])


def test_several_experiments_are_merged() -> None:
    both = "experiment=[mnist_best,fashion_mnist_best]"
    assert compose_settings("train", [both]).task["name"] == "fashion_mnist"


def test_externally_composed_settings_are_validated() -> None:
    with initialize_config_dir(config_dir(), version_base="1.3"):
        config = compose("train", ["optim.lr=0"])
    with pytest.raises(ValueError, match=r"optim\.lr=0"):
        to_settings(config, "train", overrides=[])


# --- user-defined metanets ------------------------------------------------------------------------


class Odd(nn.Module):
    """A metanet with an output of wrong shape."""

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
        (Odd(forward=()), r"Odd.forward\(batch\) returned \(2,\) for .* \(2, 5\)"),
        (Odd(forward=(6,)), r"Odd.forward\(batch\) returned \(2, 6\) for .* \(2, 5\)"),
        (Odd(embed=(3, 4)), r"Odd.embed\(batch\) returned \(2, 3, 4\) for .* \(2, E\)"),
        (nn.Flatten(), r"Flatten is not an nn.Module .* forward\(batch\) and embed\(batch\)"),
        (nn.Module(), r"Module is not an nn.Module"),
    ],
)
def test_invalid_metanet_is_rejected(
    net: nn.Module, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dws.experiment.building.build", lambda *_, **__: net)
    settings = train_settings("task=sine")
    with pytest.raises(ValueError, match=complaint):
        build_model(settings, WeightSpaceSpec((1, 3, 1)), Classification(num_classes=5), None)


@pytest.mark.parametrize(
    ("overrides", "num_epochs"),
    [
        (["task=ssl"], 25),
        (["task=ssl", "trainer=default"], 20),
        (["task=mnist", "scale=authors"], 100),
    ],
)
def test_explicit_trainer_overrides_the_recipe(overrides: list[str], num_epochs: int) -> None:
    assert compose_settings("train", overrides).trainer.num_epochs == num_epochs


def test_options_may_follow_settings() -> None:
    given = ["task=sine", "--config-dir", "mine", "-m", "seed=0", "--cfg", "job"]
    expected = ["--config-dir", "mine", "-m", "--cfg", "job", "task=sine", "seed=0"]
    assert options_first(given) == expected
    assert options_first(["seed=0", "--info"]) == ["--info=all", "seed=0"]
    assert options_first(["seed=0", "--info", "defaults"]) == ["--info=defaults", "seed=0"]
    assert options_first(["a=1", "--config-d", "x", "b=2"]) == ["--config-dir", "x", "a=1", "b=2"]
