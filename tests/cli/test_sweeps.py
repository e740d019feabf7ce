"""Sweeps of ``dws-train``: searches with Optuna and parallel jobs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

from dws.config import config_dir
from dws.experiment import Run
from dws.experiment.building import build_task
from dws.zoo import Zoo

GOLDEN = Path(__file__).parents[1] / "golden/zoo"
SMALL = (
    "model.hidden_features=[8]", "trainer.num_epochs=1", "trainer.batch_size=3", "wandb=disabled",
)  # fmt: skip
SEARCHES = sorted(file.stem for file in Path(config_dir(), "hparams_search").glob("*_lr*.yaml"))
# dws-train with Hydra plugins hidden whose names contain the first argument.
WITHOUT = """
import pkgutil, sys
hidden, walk = sys.argv.pop(1), pkgutil.walk_packages
pkgutil.walk_packages = lambda *a, **k: (m for m in walk(*a, **k) if hidden not in m.name)
sys.argv[0] = "dws-train"
from dws.cli.train import main
main()
"""


def train(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("dws-train")
    return subprocess.run(
        [program, *arguments], cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_search_finds_its_best_run(tmp_path: Path) -> None:
    grid = (1e-3, 3e-2, 1e-1)
    choice = f"optim.lr=choice({','.join(map(str, grid))})"
    done = train(
        tmp_path, "-m", "hparams_search=sine_lr", "model=mlp", f"zoo.path={GOLDEN}", *SMALL, choice
    )
    assert done.returncode == 0, done.stderr
    runs = [Run.open(path) for path in (tmp_path / "outputs/runs/sine/mlp").iterdir()]
    metrics = {run.record().optim.lr: run.best_metric() for run in runs}
    assert sorted(metrics) == list(grid)
    (file,) = (tmp_path / "outputs/searches/sine-mlp").glob("optimization_results.yaml")
    found = yaml.safe_load(file.read_text())
    assert found["best_value"] == min(metrics.values())
    assert found["best_params"] == {"optim.lr": min(metrics, key=lambda lr: metrics[lr])}
    assert f"Best value: {found['best_value']}" in done.stdout
    assert len(set(metrics.values())) == len(grid)


@pytest.mark.parametrize("name", SEARCHES)
def test_shipped_searches_optimise_the_monitored_metric(name: str) -> None:
    with initialize_config_dir(config_dir(), version_base="1.3"):
        config: Any = compose("train", [f"hparams_search={name}"], return_hydra_config=True)
    task = build_task(dict(config.task))
    assert config.hydra.sweeper.direction == ("maximize" if task.higher_is_better else "minimize")
    assert config.hydra.sweeper.params["optim.lr"].startswith("choice(")
    assert (config.seed, config.trainer.num_epochs) == (0, 10)


@pytest.mark.parametrize(
    ("hidden", "setting", "extra"),
    [
        ("optuna", "hparams_search=sine_lr", "sweep"),
        ("joblib", "hydra/launcher=joblib", "slurm"),
        ("submitit", "hydra/launcher=submitit_slurm", "slurm"),
    ],
)
def test_missing_hydra_plugin_names_the_extra_to_install(
    hidden: str, setting: str, extra: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, hidden, "-m", setting, "seed=0,1"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"pip install 'dwsnets[{extra}]'" in line


def test_parallel_jobs_share_the_aligned_zoo(tmp_path: Path, sine_zoo: Zoo) -> None:
    shutil.copytree(sine_zoo.path, tmp_path / "zoo")
    done = train(
        tmp_path, "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "task=sine",
        "model=mlp_alignment", "seed=0,1", "zoo.path=zoo", *SMALL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Zoo.open(tmp_path / "zoo.aligned").find_problems() == []
    runs = [Run.open(path) for path in (tmp_path / "outputs/runs/sine/mlp_alignment").iterdir()]
    assert sorted(run.record().seed for run in runs) == [0, 1]
    assert [run for run in runs if not run.best_metric() > 0] == []
