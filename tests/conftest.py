"""What the tests share."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dws.inr import FitConfig, SirenConfig
from dws.runtime import compiler_found
from dws.signals import SineSignals
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, ZooConfig, build_zoo

needs_compiler = pytest.mark.skipif(not compiler_found(), reason="needs g++ and Python's headers")
torch.set_num_threads(1)  # pytest-xdist runs one worker a core


def random_batch(
    spec: WeightSpaceSpec,
    size: int = 4,
    channels: int = 1,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> WeightBatch:
    """Standard normal weights."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(size, spec.num_params, channels, generator=generator, dtype=dtype)
    return WeightBatch.from_flat(spec, flat)


def randomise(module: torch.nn.Module, *, seed: int = 0) -> torch.nn.Module:
    """Draw every parameter anew: biases and norms that start at 0 and 1 hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter.shape[-1] if parameter.ndim > 1 else 1
            parameter.normal_(generator=generator).div_(fan_in**0.5)
    return module


def readme_code(containing: str) -> dict[str, Any]:
    """Names that a Python block of the README defines when it is run."""
    text = (Path(__file__).parents[1] / "README.md").read_text()
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if containing in c)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


SMALL_SIGNALS = {"num_points": 50, "num_train": 40, "num_val": 8, "num_test": 8}
SMALL_INR = SirenConfig(hidden=(8, 8))
SMALL_FIT = FitConfig(num_steps=30, learning_rate=1e-3)


def write_result(folder: Path, **changes: object) -> None:
    """A whole ``result.json``, of MNIST and an MLP but for the changes."""
    folder.mkdir(parents=True)
    result = {
        "task": "mnist",
        "model": "mlp",
        "num_train": 100,
        "seed": 0,
        "settings_hash": "abc",
        "zoo": "0123",
        "zoo_path": "zoo",
        "labels": ["label"],
        "num_test": 50,
        "test_interval": [0.4, 0.6],
        "test_permuted": {"accuracy": 0.5},
        "embedding": {"neighbours": 0.3, "linear_probe": 0.4},
        "origin": {"command": "dws-train", "code": "abc", "machine": "here", "torch": "2"},
        "pictures": [],
        "best_epoch": 1,
        "num_epochs": 2,
        "higher_is_better": True,
        "reads": "standardized",
        "metric": "accuracy",
        "test": {"accuracy": 0.5},
        "validation": {"accuracy": 0.6},
        "num_parameters": 1234,
        "networks_per_second": 10.0,
        "train_seconds": 60.0,
    }
    (folder / "result.json").write_text(json.dumps({**result, **changes}))


@pytest.fixture(scope="session")
def sine_zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """56 INRs of sines in three shards."""
    path: Path = tmp_path_factory.mktemp("zoos") / "sine"
    return build_zoo(
        path,
        SineSignals(**SMALL_SIGNALS),
        zoo=ZooConfig(shard_size=20),
        inr=SMALL_INR,
        fit=SMALL_FIT,
    )
