"""Shared fixtures and helpers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dws.inr import ClassifierConfig, FitConfig, SirenConfig
from dws.runtime import compiler_found
from dws.signals import BinaryTasks, SineSignals, images, limit_sizes
from dws.weightspace import WeightBatch, WeightSpaceSpec
from dws.zoo import Zoo, ZooConfig, build_zoo
from tests.pictures import SMALL_TASKS, write_pictures

needs_compiler = pytest.mark.skipif(not compiler_found(), reason="needs g++ and Python's headers")
torch.set_num_threads(1)  # pytest-xdist runs one worker per core


def random_batch(
    spec: WeightSpaceSpec,
    size: int = 4,
    channels: int = 1,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> WeightBatch:
    """Networks with standard normal weights."""
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randn(size, spec.num_params, channels, generator=generator, dtype=dtype)
    return WeightBatch.from_flat(spec, flat)


def randomise(module: torch.nn.Module, *, seed: int = 0) -> torch.nn.Module:
    """Randomise every parameter: biases of 0 and norms of 1 hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter.shape[-1] if parameter.ndim > 1 else 1
            parameter.normal_(generator=generator).div_(fan_in**0.5)
    return module


def code_blocks(page: str, language: str) -> list[str]:
    """Code blocks of a language on a page, such as ``README.md`` or ``docs/tutorial.md``."""
    text = (Path(__file__).parents[1] / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run_block(page: str, containing: str, smaller: Mapping[str, str] = {}) -> dict[str, Any]:
    """Run the Python block that contains a text; returns the names that it defines.

    Args:
        page: Path of the page, relative to the repository.
        containing: Text that only this block contains.
        smaller: Replacements of texts in the block that make it faster.
    """
    (code,) = (block for block in code_blocks(page, "python") if containing in block)
    for text, replacement in smaller.items():
        assert text in code
        code = code.replace(text, replacement)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def read_digits() -> WeightBatch:
    """Read one INR of each digit, from the validation split of an MNIST zoo with fit=authors."""
    tensors = load_file(Path(__file__).parent / "golden/digits.safetensors")
    weights, biases = (
        tuple(tensors[f"{kind}.{layer}"].float().unsqueeze(-1) for layer in range(3))
        for kind in ("weight", "bias")
    )
    return WeightBatch(weights, biases)


SMALL_SIGNALS = {"num_points": 50, "num_train": 40, "num_val": 8, "num_test": 8}
SMALL_INR = SirenConfig(hidden=(8, 8))
SMALL_FIT = FitConfig(num_steps=30, learning_rate=1e-3)
SMALL_SIGN_DWSNET = {  # settings of a training of one epoch
    "model.hidden_channels": 4, "model.edge_channels": 2, "model.read_channels": 4,
    "model.num_layers": 1, "model.head_layers": 1, "trainer.num_epochs": 1,
    "trainer.batch_size": 8, "reconstruction.resolution": 4, "wandb": "disabled",
    "trainer.compile": "never",
}  # fmt: skip


def write_result(folder: Path, **changes: object) -> None:
    """Write a complete ``result.json`` of an MLP on MNIST, with changes."""
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


class Pictures:
    """48 random images of 5 x 5 pixels."""

    name = "pictures"
    num_outputs = 1
    grid = (5, 5)
    coordinates = torch.cartesian_prod(*[torch.linspace(-1, 1, 5)] * 2).flip(1)

    def split(self, limit: int | None) -> dict[str, torch.Tensor]:
        sizes = limit_sizes({"train": 32, "val": 8, "test": 8}, limit)
        parts = torch.arange(48).split([32, 8, 8])
        return {name: p[:n] for (name, n), p in zip(sizes.items(), parts, strict=True)}

    def values(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.rand(48, 25, 1, generator=torch.Generator().manual_seed(0))[ids]

    def labels(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"label": ids % 10}

    def describe(self) -> dict[str, object]:
        return {"seed": 0}


@pytest.fixture(scope="session")
def picture_zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """48 INRs of random images."""
    return build_zoo(
        tmp_path_factory.mktemp("zoos") / "pictures",
        Pictures(),
        zoo=ZooConfig(shard_size=20),
        inr=SMALL_INR,
        fit=SMALL_FIT,
    )


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> images.Images:
    """60 random images of 6 x 6 pixels in place of MNIST."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (60, 6, 6, 1), generator=generator, dtype=torch.uint8)
    small = images.Images(pixels, torch.arange(60) % 10, 40, {"sha256": {"file": "0"}})
    monkeypatch.setitem(images.SOURCES, "mnist", lambda root: small)
    return small


@pytest.fixture
def digit_zoo(small_mnist: images.Images, tmp_path: Path) -> Zoo:
    """60 INRs of the images of ``small_mnist``, in a folder ``mnist``."""
    return build_zoo(
        tmp_path / "mnist",
        images.ImageSignals("mnist", root=tmp_path, num_val=10),
        zoo=ZooConfig(shard_size=20),
        inr=SMALL_INR,
        fit=SMALL_FIT,
    )


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


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data folder with small images in place of ``mnist``."""
    return write_pictures(monkeypatch, tmp_path / "data")


@pytest.fixture(scope="session")
def classifier_zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """56 ReLU classifiers of small images in three shards."""
    folder = tmp_path_factory.mktemp("classifiers")
    with pytest.MonkeyPatch.context() as patch:
        return build_zoo(
            folder / "zoo",
            BinaryTasks("mnist", root=write_pictures(patch, folder / "data"), **SMALL_TASKS),
            zoo=ZooConfig(shard_size=20),
            classifier=ClassifierConfig(hidden=(8, 8)),
            fit=FitConfig(num_steps=60, learning_rate=1e-2, stop_mse=0.0),
        )
