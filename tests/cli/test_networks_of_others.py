"""Zoos written by another program, from training to the report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli.conftest import Command
from torch import Tensor

from dws.io.content import write_json
from dws.io.hashing import sha256
from dws.zoo import Zoo


def rewritten(zoo: Zoo, change: Callable[[str, Tensor], Tensor]) -> Path:
    """A copy of a zoo in ``./zoo`` with changed weights and biases and correct checksums."""
    folder = Path(shutil.copytree(zoo.path, "zoo"))
    shards = sorted(folder.glob("shard-*.safetensors"))
    for shard in shards:
        tensors = load_file(shard)
        networks = {k: change(k, v) for k, v in tensors.items() if k.startswith(("wei", "bias"))}
        save_file(tensors | networks, shard)
    manifest = json.loads((folder / "manifest.json").read_text())
    write_json(folder / "manifest.json", manifest | {"shards": [sha256(s) for s in shards]})
    return folder


def without_biases(name: str, values: Tensor) -> Tensor:
    return torch.zeros_like(values) if name.startswith("bias") else values


CASES = {
    **{
        str(dtype).removeprefix("torch."): lambda name, values, dtype=dtype: values.to(dtype)
        for dtype in (torch.float64, torch.float16, torch.bfloat16)
    },
    "without biases": without_biases,
}


@pytest.mark.parametrize("change", CASES)
@pytest.mark.parametrize(
    ("model", "width"),
    [
        ("dwsnet", "hidden_channels=4"),
        ("dwsnet_sign", "hidden_channels=4"),
        ("mlp", "hidden_features=[8]"),
        ("mlp_alignment", "hidden_features=[8]"),
        ("probe", "hidden_features=[8]"),
    ],
)
def test_zoo_of_another_program_is_trained_on_and_evaluated(
    change: str, model: str, width: str, command: Command, sine_zoo: Zoo
) -> None:
    rewritten(sine_zoo, CASES[change])
    assert "all checksums match" in command("dws-zoo", "verify", "zoo")
    command(
        "dws-train", "task=sine", f"model={model}", f"model.{width}", "zoo.path=zoo", "run_dir=run",
        "trainer.num_epochs=2", "trainer.batch_size=8", "augment.noise=0.1", "wandb=disabled",
    )  # fmt: skip
    assert "test split, 8 networks: mse" in command("dws-evaluate", "run=run")
    assert "report with all tables and figures" in command("dws-report", "runs=run")


def test_zoo_of_another_program_is_exported_and_rendered(command: Command, sine_zoo: Zoo) -> None:
    rewritten(sine_zoo, CASES["bfloat16"])
    command("dws-zoo", "export", "--format", "parquet", "zoo", "zoo.parquet")
    command("dws-zoo", "render", "zoo", "--rows", "0")
    command("dws-zoo", "align", "zoo")
    assert Zoo.open("zoo.aligned").split("val").weights().weights[0].dtype == torch.float32
