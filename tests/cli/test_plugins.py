"""Classes and configs of plugins: supported uses and rejected ones."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Command
from tests.conftest import code_blocks

import dws
from dws import targets
from dws.config import compose_settings
from dws.zoo import Zoo

EXAMPLE = Path(__file__).parents[2] / "examples/chirps"
TINY_FIT = ("fit.num_steps=20", "fit.compile=never")
TRAIN = (
    "task=sine", "model=mlp", "trainer.num_epochs=1", "trainer.batch_size=8", "wandb=disabled",
    "run_dir=new",
)  # fmt: skip


# --- the example ----------------------------------------------------------------------------------


def readme_block(language: str) -> str:
    """The first code block of a language in the README of the example."""
    found = re.search(rf"```{language}\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    assert found
    return found[1]


def run(arguments: list[str], folder: Path, *paths: Path) -> str:
    """Run a program in a folder with additional folders on the path; returns its output."""
    program = Path(sys.executable).with_name(arguments[0])
    path = os.pathsep.join([*map(str, paths), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [program, *arguments[1:]], cwd=folder, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(source: Path, site: Path) -> Path:
    """Install a project into a separate folder, without the network."""
    copy = shutil.copytree(
        source, site.with_name("source")
    )  # builds write files into the source folder
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(["python", "-m", "pip", "install", "-q", *options, f"--target={site}", str(copy)], copy)
    return site


def test_example_runs_from_zoo_to_report_as_documented(tmp_path: Path) -> None:
    site = installed(EXAMPLE, tmp_path / "site")
    _, fit, train, evaluate, report = (
        shlex.split(line, comments=True)
        for line in readme_block("").replace("scale=demo", "scale=debug").splitlines()
    )
    run([*fit, *TINY_FIT], tmp_path, site)
    printed = run([*train, "wandb=disabled"], tmp_path, site)
    folder = tmp_path / evaluate[1].removeprefix("run=").replace("/demo/", "/debug/")
    (folder,) = folder.parent.glob(f"{folder.name.removesuffix('...')}*")
    assert f"next: dws-evaluate run={folder.relative_to(tmp_path)}\n" in printed
    assert "log_error" in run(["dws-evaluate", f"run={folder}"], tmp_path, site)
    assert "chirp_rate" in run(report, tmp_path, site)

    assert "chirps.Reflect" in (folder / "config.yaml").read_text()
    result = json.loads((folder / "result.json").read_text())
    assert result["pictures"] == ["tsne.png", "outcome.png"]
    page = tmp_path / "outputs/debug/report"
    (row,) = csv.DictReader((page / "tables/task-chirp_rate.csv").read_text().splitlines())
    assert row["method"] == "gated"
    assert row["test log_error"] == f"{result['test']['log_error']:.4f} (n = 1)"
    assert row["test within_10_percent"].endswith("% (n = 1)")
    for name in ("headline", "symmetry", "embeddings"):
        (header, _, *_) = (page / f"tables/{name}.csv").read_text().splitlines()
        assert "Chirp rate" in header
    text = (page / "index.html").read_text()
    assert "test networks of Chirp rate" in text  # t-SNE
    assert "Chirp rate: validation log_error by epoch" in text
    assert "Chirp rate, gated, seed 0: outcome" in text
    assert (
        "data:image/png"
        in json.loads(text.split('"application/json">')[1].split("</script>")[0])["thumbnails"][
            "source"
        ]
    )
    assert "Chirp rate: metrics of the test networks" in text
    assert "Navon" not in text  # because no task of the paper was run


def test_example_runs_from_a_script_without_installation(tmp_path: Path) -> None:
    script = readme_block("python").replace("limit=400", "limit=30").replace('"demo"', '"debug"')
    script += "print(model(zoo.split('test').weights()).shape, result['test'])"
    script = script.replace("limit=30", "limit=30, settings={'fit.num_steps': 20}")
    printed = run(["python", "-c", script], tmp_path, EXAMPLE)
    assert printed.splitlines()[-1].startswith("torch.Size([3, 1]) {'log_error': ")


@pytest.fixture
def nothing_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plugin is allowed or installed; plugins allowed by a test are reset after it."""
    monkeypatch.setattr(targets, "_allowed", set())
    monkeypatch.setattr(targets, "installed_plugins", lambda: ())


@pytest.mark.usefixtures("nothing_allowed")
def test_commands_find_a_package_on_the_path(
    command: Command, complaint: Command, tmp_path: Path
) -> None:
    flags = ("--config-dir", str(EXAMPLE / "chirps/configs"))
    fit = ("zoo=chirps", "zoo.limit=30", "zoo.path=zoo", *TINY_FIT)
    assert "plugins=[chirps]" in complaint("dws-fit-inrs", *flags, *fit)
    command("dws-fit-inrs", *flags, *fit, "plugins=[chirps]")
    train = ("task=chirp_rate", "model=gated", "zoo.path=zoo", "scale=debug", "wandb=disabled")
    printed = command("dws-train", *flags, "plugins=[chirps]", *train, "run_dir=run")
    assert "next: dws-evaluate run=run 'plugins=[chirps]'" in printed

    recorded = dws.Run.open("run").record().notes.origin.command
    name, *arguments = shlex.split(recorded)
    assert "run run is already complete" in command(name, *arguments)
    again = ("--config-dir", "run", "--config-name", "config", "run_dir=again")
    command("dws-train", *again)
    assert dws.Run.open("again").best_metric() == dws.Run.open("run").best_metric()


@pytest.mark.usefixtures("nothing_allowed")
def test_plugin_metanet_is_trained_on_a_builtin_task(command: Command, sine_zoo: Zoo) -> None:
    dws.allow_plugins("chirps")
    command(
        "dws-train", "task=sine", "model=gated", f"zoo.path={sine_zoo.path}", "scale=debug",
        "wandb=disabled", "run_dir=run",
    )  # fmt: skip
    assert dws.load_trained("run").net.__class__.__module__ == "chirps.network"


@pytest.mark.usefixtures("nothing_allowed")
def test_plugin_recipe_is_used_and_can_be_overridden() -> None:
    dws.allow_plugins("chirps")
    choice = ["task=chirp_rate", "model=gated"]
    assert compose_settings("train", choice).optim.lr == 2e-2
    assert compose_settings("train", [*choice, "optim.lr=0.5"]).optim.lr == 0.5


# --- rejected uses --------------------------------------------------------------------------------

PACKAGE = '''
import os
import subprocess

import torch
from torch import nn
from torch.nn.functional import mse_loss

from dws.tasks import Regression
from dws.weightspace import WeightBatch


class Net(nn.Module):
    def __init__(self, spec, *, out_features, width=4):
        super().__init__()
        self.first = nn.Linear(spec.num_params, width)
        self.second = nn.Linear(width, out_features)

    def embed(self, batch):
        return self.first(batch.flatten().squeeze(-1)).relu()

    def forward(self, batch):
        return self.second(self.embed(batch))


class Wide(Net):
    def forward(self, batch):
        return super().forward(batch).repeat(1, 3)


class Bare(nn.Module):
    def __init__(self, spec, *, out_features):
        super().__init__()


class Half:
    labels = ("frequency",)
    num_views = out_features = 1
    monitor = "mse"

    def targets(self, labels):
        return labels["frequency"]


class Counts(Regression):
    """Whole numbers that are no classes, and two outputs for one label."""

    out_features = 2

    def targets(self, labels):
        return labels["frequency"].round().long()

    def output_layer(self, train_targets):
        return nn.Identity()

    def loss(self, outputs, targets):
        return mse_loss(outputs[:, 0], targets.float())

    def scores(self, outputs, targets):
        return (outputs[:, 0] - targets).square()

    def metrics(self, outputs, targets):
        return {"mse": float(self.scores(outputs, targets).mean())}


class Idle:
    """No augmentation."""


class Halves:
    def __call__(self, batch, generator):
        return batch[:1]


class Tensors:
    def __call__(self, batch, generator):
        return batch.flatten()


class Doubles:
    def __call__(self, batch, generator):
        return batch.to(torch.float64)
'''


@pytest.fixture
def mypackage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_allowed: None
) -> Iterator[None]:
    """An importable package that is not allowed."""
    site = tmp_path / "site"
    (site / "mypackage").mkdir(parents=True)
    (site / "mypackage/__init__.py").write_text(PACKAGE)
    (site / "mypackage/broken.py").write_text("raise RuntimeError('no such licence')")
    monkeypatch.syspath_prepend(site)
    yield
    for name in ("mypackage", "mypackage.broken"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("mypackage")
@pytest.mark.parametrize(
    ("target", "facts"),
    [
        ("os.system", ("os.system", "neither in dws nor in a plugin")),
        ("subprocess.Popen", ("subprocess.Popen", "neither in dws nor in a plugin")),
        ("mypackage.os.system", ("mypackage.os.system", "plugins=[mypackage]")),
        ("mypackage.Net", ("mypackage.Net", "plugins=[mypackage]", "allow_plugins('mypackage')")),
        ("mypackages.Net", ("mypackages.Net", "plugins=[mypackages]")),
        ("dws.report.pictures.os.system", ("not a class of dws or of a plugin",)),
        ("dws.experiment.origin.subprocess.Popen", ("not a class of dws or of a plugin",)),
        ("dws.zoo:build_zoo", ("dws.zoo:build_zoo",)),
    ],
)
@pytest.mark.parametrize("group", ["model", "task"])
def test_code_of_packages_that_are_not_allowed_never_runs(
    group: str, target: str, facts: tuple[str, ...], complaint: Command, sine_zoo: Zoo
) -> None:
    given = (f"{group}._target_={target}", f"+{group}.command='touch ran'")
    line = complaint("dws-train", *TRAIN, f"zoo.path={sine_zoo.path}", *given)
    assert [fact for fact in facts if fact not in line] == []
    assert not Path("new").exists()
    assert not Path("ran").exists()
    assert "mypackage" not in sys.modules


@pytest.mark.usefixtures("mypackage")
@pytest.mark.parametrize(
    ("group", "target", "facts"),
    [
        ("model", "mypackage.os.system", ("not a class of dws or of a plugin",)),
        ("model", "mypackage.subprocess.Popen", ("not a class of dws or of a plugin",)),
        ("model", "mypackage.Nte", ("mypackage.Nte cannot be imported", "spelling")),
        ("model", "mypackage.broken.Net", ("RuntimeError: no such licence",)),
        ("model", "mypackage.Wide", ("Wide.forward", "(2, 1)", "(2, 3)")),
        ("model", "mypackage.Bare", ("mypackage.Bare is not a metanet", "embed")),
        ("model", "mypackage.Idle", ("mypackage.Idle is not a metanet", "embed")),
        (
            "task",
            "mypackage.Half",
            ("mypackage.Half is not a task", "loss, metrics, output_layer, scores"),
        ),
    ],
)
def test_errors_in_an_allowed_package_are_one_line(
    group: str, target: str, facts: tuple[str, ...], complaint: Command, sine_zoo: Zoo
) -> None:
    without = f"~{group}.{'hidden_features' if group == 'model' else 'label'}"
    given = ("plugins=[mypackage]", f"{group}._target_={target}", without)
    line = complaint("dws-train", *TRAIN, f"zoo.path={sine_zoo.path}", *given)
    assert [fact for fact in facts if fact not in line] == []
    assert not Path("new").exists()


@pytest.mark.usefixtures("mypackage")
@pytest.mark.parametrize(
    ("target", "facts"),
    [
        ("os.system", ("neither in dws nor in a plugin",)),
        ("mypackage.Idle", ("mypackage.Idle", "__call__(batch, generator)")),
        ("mypackage.Halves", ("Halves returned a WeightBatch of 1 networks", "of 2 networks")),
        ("mypackage.Tensors", ("Tensors returned a Tensor",)),
        ("mypackage.Doubles", ("Doubles", "float64", "float32")),
    ],
)
def test_invalid_augmentation_is_rejected(
    target: str, facts: tuple[str, ...], complaint: Command, sine_zoo: Zoo
) -> None:
    given = ("plugins=[mypackage]", f"augment.extra=[{{_target_: {target}}}]")
    line = complaint("dws-train", *TRAIN, f"zoo.path={sine_zoo.path}", *given)
    assert [fact for fact in facts if fact not in line] == []
    assert not Path("new").exists()


@pytest.mark.usefixtures("mypackage")
@pytest.mark.parametrize("key", ["zoo.signals", "engine"])
@pytest.mark.parametrize("target", ["os.system", "subprocess.Popen", "mypackage.os.system"])
def test_fit_constructs_only_allowed_classes(key: str, target: str, complaint: Command) -> None:
    line = complaint("dws-fit-inrs", "zoo=sine", "zoo.path=new", f"{key}._target_={target}")
    assert target in line
    assert not Path("new").exists()


@pytest.mark.usefixtures("mypackage")
@pytest.mark.parametrize(
    "package", ["mypackages", "mypackage.nets", "my-package", "mypackage.broken.x"]
)
def test_nonexistent_package_is_rejected(package: str, complaint: Command, sine_zoo: Zoo) -> None:
    given = (f"plugins=[{package}]", f"zoo.path={sine_zoo.path}")
    assert f"there is no package {package}" in complaint("dws-train", *TRAIN, *given)
    assert not Path("new").exists()


@pytest.mark.usefixtures("mypackage")
def test_run_of_a_disallowed_plugin_says_how_to_allow_it(
    command: Command, complaint: Command, sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("model._target_=mypackage.Net", "~model.hidden_features", "model.name=mine")
    zoo = f"zoo.path={sine_zoo.path}"
    command("dws-train", *TRAIN, zoo, *given, "plugins=[mypackage]")
    monkeypatch.setattr(targets, "_allowed", set())
    line = complaint("dws-evaluate", "run=new")
    assert "mypackage.Net" in line
    assert "plugins=[mypackage]" in line
    assert not Path("new/result.json").exists()
    with pytest.raises(ValueError, match=r"dws\.allow_plugins\('mypackage'\)"):
        dws.load_trained("new")
    export = ("dws-export", "new", "new.safetensors")
    assert "dws-export and dws-playground: --plugin mypackage" in complaint(*export)
    command(*export, "--plugin", "mypackage")
    monkeypatch.setattr(targets, "_allowed", set())
    predict = ("dws-predict", str(sine_zoo.path), "--model", "new.safetensors")
    assert "--plugin mypackage" in complaint(*predict)
    assert len(command(*predict, "--plugin", "mypackage").splitlines()) == len(sine_zoo)
    assert "test split, 8 networks" in command("dws-evaluate", "run=new", "plugins=[mypackage]")
    assert dws.load_trained("new")(sine_zoo.split("test").weights()).shape == (8, 1)


@pytest.mark.usefixtures("mypackage")
def test_report_contains_runs_of_disallowed_tasks(
    command: Command, complaint: Command, sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = f"zoo.path={sine_zoo.path}"
    given = ("task._target_=mypackage.Counts", "task.name=counts", "plugins=[mypackage]")
    command("dws-train", *TRAIN, zoo, *given)
    command("dws-evaluate", "run=new", "plugins=[mypackage]")
    result = json.loads(Path("new/result.json").read_text())
    assert result["pictures"] == ["tsne.png"]  # no other figures for two outputs of one label
    assert result["confusion"] is None

    monkeypatch.setattr(targets, "_allowed", set())
    line = complaint("dws-report", "runs=new", "report=page")
    assert "written without 1 part" in line
    assert "plugins=[mypackage]" in line
    page = Path("page/index.html").read_text()
    assert "counts: metrics of the test networks" in page
    assert "counts,mlp,40" in Path("page/tables/runs.csv").read_text()
    command("dws-report", "runs=new", "report=page", "plugins=[mypackage]")
    assert "Omitted from this page" not in Path("page/index.html").read_text()


# --- entry points ---------------------------------------------------------------------------------


def test_entry_point_may_name_a_package_or_a_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "other-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    points = "[dws.plugins]\none = first\ntwo = second.part\nthree = third:Net\n"
    (metadata / "entry_points.txt").write_text(points)
    monkeypatch.syspath_prepend(tmp_path)
    assert {"first", "second.part", "third"} <= set(targets.installed_plugins.__wrapped__())


@pytest.mark.usefixtures("mypackage")
def test_broken_plugin_does_not_affect_other_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = ("gone", "mypackage.broken.nets", "not a name")
    monkeypatch.setattr(targets, "installed_plugins", lambda: broken)
    assert compose_settings("train", ["task=sine"]).task["name"] == "sine"


def test_allowing_plugins_does_not_import_torch() -> None:
    script = "import sys, dws; dws.allow_plugins('scipy'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.usefixtures("mypackage")
@pytest.mark.parametrize("package", ["subprocess", "mypackage"])
def test_config_file_of_a_foreign_run_does_not_allow_packages(
    package: str, command: Command, complaint: Command, sine_zoo: Zoo
) -> None:
    """The file names the class to construct and must not also grant the permission."""
    command("dws-train", *TRAIN, f"zoo.path={sine_zoo.path}")
    config = Path("new/config.yaml")
    target = {"subprocess": "subprocess.Popen", "mypackage": "mypackage.Net"}[package]
    foreign = config.read_text().replace("plugins: []", f"plugins: [{package}]")
    foreign = foreign.replace("_target_: dws.metanets.MLP", f"_target_: {target}")
    foreign = foreign.replace("hidden_features:", "args:")
    config.write_text(foreign)
    again = ("dws-train", "--config-dir", "new", "--config-name", "config", "run_dir=again")
    line = complaint(*again)
    assert f"names the plugin {package}" in line
    assert f"plugins=[{package}]" in line
    assert "mypackage" not in sys.modules
    if package == "subprocess":
        assert "cannot be plugins" in complaint(*again, "plugins=[subprocess]")
    assert not Path("again").exists()


@pytest.mark.usefixtures("mypackage")
def test_only_classes_with_task_methods_are_constructed(complaint: Command, sine_zoo: Zoo) -> None:
    given = ("task._target_=dws.signals.ImageSignals", "~task.label", "+task.root=fetched")
    line = complaint("dws-train", *TRAIN, f"zoo.path={sine_zoo.path}", *given)
    assert "dws.signals.ImageSignals is not a task" in line
    assert not Path("fetched").exists()


@pytest.mark.usefixtures("mypackage")
def test_changed_class_default_is_detected(
    command: Command, complaint: Command, sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("plugins=[mypackage]", "model._target_=mypackage.Net", "~model.hidden_features")
    train = ("dws-train", *TRAIN, f"zoo.path={sine_zoo.path}", *given)
    command(*train)
    monkeypatch.setattr(sys.modules["mypackage"].Net.__init__, "__kwdefaults__", {"width": 9})
    assert "model.width: 4 (existing) vs 9 (requested)" in complaint(*train)
    assert dws.load_trained("new").net.first.out_features == 4


@pytest.mark.usefixtures("nothing_allowed")
def test_documented_loss_of_a_user_is_trained(
    command: Command, digit_zoo: Zoo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocks = code_blocks("docs/guides/extending.md", "")
    (module,) = (block for block in blocks if block.startswith("# mytasks.py"))
    (tmp_path / "mytasks.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    command(
        "dws-train", "task=mnist", "task._target_=mytasks.SmoothClassification", "model=mlp",
        "task.name=mnist_smooth", "plugins=[mytasks]", f"zoo.path={digit_zoo.path}", "scale=debug",
        "wandb=disabled", "run_dir=run",
    )  # fmt: skip
    assert "accuracy" in command("dws-evaluate", "run=run", "plugins=[mytasks]")
