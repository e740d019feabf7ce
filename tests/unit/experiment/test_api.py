"""Experiments with the Python API."""

from __future__ import annotations

import inspect
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import dws
from dws.config import compose_settings, config_dir
from dws.errors import UserError
from dws.experiment.fitting import preset_name
from dws.zoo import Zoo

SMALL = {
    "trainer.num_epochs": 2, "trainer.batch_size": 8, "model.hidden_channels": 4,
    "model.num_layers": 2, "wandb": "disabled",
}  # fmt: skip
SCRIPT = """
import inspect
import json
import dws

zoo = dws.fit_zoo("sine", limit=30, settings={"inr.hidden": [4, 4], "fit.num_steps": 5})
run = dws.train("sine", "dwsnet", zoo=zoo, seed=3, settings=SETTINGS)
result = run.evaluate()
model = run.load()
print(json.dumps([len(zoo), str(run.path), result["test"]["mse"],
                  tuple(model(zoo.split("test").weights()).shape)]))
"""


def test_script_fits_trains_evaluates_and_loads(tmp_path: Path) -> None:
    script = SCRIPT.replace("SETTINGS", repr(SMALL))
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    size, run, mse, shape = json.loads(done.stdout.splitlines()[-1])
    assert (size, shape) == (30, [3, 1])
    folder = tmp_path / run
    assert json.loads((folder / "result.json").read_text())["test"]["mse"] == mse
    assert (tmp_path / "outputs/zoos/sine/manifest.json").is_file()


@pytest.fixture
def trained(sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dws.Run:
    monkeypatch.chdir(tmp_path)
    return dws.train("sine", zoo=sine_zoo, settings=SMALL)


def test_recorded_command_finds_its_run_complete(trained: dws.Run) -> None:
    command = shlex.split(trained.record().notes.origin.command)
    assert command[0] == "dws-train"
    program = Path(sys.executable).with_name("dws-train")
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=120)
    assert f"run {trained.path} is already complete" in done.stdout, done.stderr


def test_reopened_run_is_evaluated_once(trained: dws.Run, sine_zoo: Zoo) -> None:
    run = dws.Run.open(trained.path)
    result = run.evaluate()
    assert result == run.evaluate()
    assert run.load()(sine_zoo.split("test").weights()).shape == (8, 1)
    assert not run.load().training


def test_the_same_settings_give_the_same_run(trained: dws.Run, sine_zoo: Zoo) -> None:
    before = trained.last_checkpoint.stat().st_mtime_ns
    again = dws.train("sine", "dwsnet", zoo=sine_zoo.path, settings=SMALL)
    assert again == trained
    assert again.last_checkpoint.stat().st_mtime_ns == before
    assert dws.train("sine", zoo=sine_zoo, seed=1, settings=SMALL).path != trained.path


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"optim.lrr": 1.0}, "lrr"),
        ({"optim.lr": "abc"}, "abc"),
        ({"optim.lr": -1.0}, r"optim\.lr=-1\.0"),
        ({"trainer.num_epochs": 1.5}, "1.5"),
        ({"model": "nope"}, "nope"),
    ],
)
def test_invalid_settings_are_rejected(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        dws.train("sine", settings=settings)


@pytest.mark.parametrize(
    "value", ["2026_11_26", "null", "a,b", "a=b", "${x}", "it's", 'say "x"', "a b", "1e3", "[1]"]
)
def test_text_settings_remain_text(value: str, tmp_path: Path) -> None:
    from dws.experiment.api import _overrides

    composed = compose_settings("train", _overrides({"run_dir": value, "zoo.path": value}, {}))
    assert (composed.run_dir, composed.zoo.path) == (value, value)


def test_nested_values_and_tensors_are_accepted_as_settings() -> None:
    from dws.experiment.api import _overrides

    extra = [{"_target_": "mypackage.Aug", "text": "a, b", "p": 0.5, "on": True, "of": None}]
    given = {"augment.extra": extra, "optim.lr": torch.tensor(0.5)}
    composed = compose_settings("train", _overrides({"seed": None}, given))
    assert list(composed.augment.extra) == extra
    assert composed.optim.lr == 0.5


def test_an_experiment_keeps_its_seed() -> None:
    from dws.experiment.api import train

    assert inspect.signature(train).parameters["seed"].default is None


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"wandb": "onlin"}])
def test_invalid_evaluation_settings_are_one_line(bad: dict[str, object], trained: dws.Run) -> None:
    with pytest.raises(UserError, match=next(iter(bad))) as error:
        trained.evaluate(**bad)
    assert "\n" not in str(error.value)


def test_hydra_state_of_the_caller_is_preserved() -> None:
    with initialize_config_dir(config_dir(), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        assert compose_settings("train", ["seed=5"]).seed == 5
        assert GlobalHydra.instance().hydra is outer
    assert compose_settings("train", ["optim.lr=0.5", "augment.noise=0.25"]).augment.noise == 0.25


def test_importing_dws_does_not_import_torch() -> None:
    script = "import sys, dws; assert 'torch' not in sys.modules; dws.train; print('ok')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "ok\n", done.stderr
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        dws.trian  # noqa: B018


def test_tensors_of_a_loaded_model_are_on_the_cpu(trained: dws.Run) -> None:
    assert {p.device for p in trained.load().parameters()} == {torch.device("cpu")}


def test_fit_zoo_refuses_a_part_before_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="fits whole zoos"):
        dws.fit_zoo("sine", limit=30, settings={"zoo.part": 0, "zoo.num_parts": 2})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("zoo", "preset"), [("sine", "authors"), ("fashion_classifiers", "ours")])
def test_fit_zoo_uses_the_default_fit_of_each_zoo(
    zoo: str, preset: str, sine_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []

    def fit(settings: Any) -> Zoo:
        fitted.append(preset_name(settings))
        return sine_zoo

    monkeypatch.setattr("dws.experiment.api.fit_inrs", fit)
    dws.fit_zoo(zoo)
    assert fitted == [preset]
