"""Export of zoos to Parquet, with one row per network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from dws.errors import UserError
from dws.io.atomic import open_atomically
from dws.io.folders import check_can_make
from dws.signals import SPLITS
from dws.zoo.store import Zoo, ZooSplit


def export_parquet(zoo: Zoo, file: Path) -> None:
    """Write a zoo as one Parquet file, with one row per network in the order of the zoo.

    The columns are ``split`` and the columns of the shards (see ``dws.zoo.store``). Weights and
    biases are flattened to float32 lists of fixed length, inputs before outputs. The file's
    metadata contain the manifest as JSON under the key ``dws``. Only one shard at a time is kept in
    memory.

    Args:
        zoo: The zoo.
        file: The new file; it must not exist.

    Raises:
        ValueError: If the file exists, or pyarrow is not installed.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(
            "--format parquet needs pyarrow, which is not installed. Install it with: "
            "pip install 'dwsnets[parquet]'"
        ) from error
    if file.exists():
        raise UserError(f"{file} already exists. Choose a new file.")
    check_can_make(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"dws": json.dumps(zoo.manifest.content())}
    schema = _table(ZooSplit(zoo, 0, 1), "train").schema.with_metadata(metadata)
    bar = tqdm(total=len(zoo), unit="network", desc=f"exporting {zoo.path.name}")
    with bar, open_atomically(file) as stream, pq.ParquetWriter(stream, schema) as writer:
        for split in SPLITS:
            for piece in zoo.split(split).pieces():
                writer.write_table(_table(piece, split).replace_schema_metadata(metadata))
                bar.update(len(piece))


def _table(rows: ZooSplit, split: str) -> Any:
    """Rows of a zoo as an Arrow table."""
    import pyarrow as pa

    weights = rows.weights()
    columns = {"split": pa.array([split] * len(rows))}
    columns |= {name: pa.array(rows.column(name).numpy()) for name in rows.zoo.manifest.columns}
    for name, label in rows.labels.items():
        is_half = label.dtype == torch.bfloat16  # not supported by NumPy
        columns[f"label.{name}"] = pa.array((label.float() if is_half else label).numpy())
    for kind, tensors in (("weight", weights.weights), ("bias", weights.biases)):
        for i, tensor in enumerate(tensors):
            values = pa.array(tensor.flatten().float().numpy())
            columns[f"{kind}.{i}"] = pa.FixedSizeListArray.from_arrays(values, tensor[0].numel())
    return pa.table(columns)
