from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from dws.signals import SPLITS
from dws.zoo import Zoo, export_parquet


def test_parquet_contains_every_number(sine_zoo: Zoo, tmp_path: Path) -> None:
    file = tmp_path / "out/zoo.parquet"
    export_parquet(sine_zoo, file)
    table = pq.read_table(file)
    assert json.loads(table.schema.metadata[b"dws"]) == sine_zoo.manifest.content()
    assert table["split"].to_pylist() == ["train"] * 40 + ["val"] * 8 + ["test"] * 8
    batches = [sine_zoo.split(split).weights() for split in SPLITS]
    for i in range(sine_zoo.spec.num_layers):
        for kind in ("weight", "bias"):
            column = torch.tensor(table[f"{kind}.{i}"].to_pylist())
            here = [batch.weights[i] if kind == "weight" else batch.biases[i] for batch in batches]
            assert torch.equal(column, torch.cat(here).flatten(1))
    for name in ("signal_id", "view", "num_steps", "mse"):
        here = torch.cat([sine_zoo.split(split).column(name) for split in SPLITS])
        assert table[name].to_pylist() == here.tolist()
    assert table["label.frequency"].to_pylist() == sine_zoo.labels["frequency"].tolist()
    assert [f.name for f in file.parent.iterdir()] == ["zoo.parquet"]
    with pytest.raises(ValueError, match="already exists"):
        export_parquet(sine_zoo, file)


def test_missing_pyarrow_names_the_extra_to_install(
    sine_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ValueError, match=r"pip install 'dwsnets\[parquet\]'"):
        export_parquet(sine_zoo, tmp_path / "zoo.parquet")
