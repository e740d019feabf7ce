"""``dws-zoo export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dws.cli.zoo.arguments import ZooPath


def export(
    path: ZooPath,
    target: Annotated[Path, typer.Argument(help="New folder, for parquet a new file.")],
    format: Annotated[Literal["dwsnets", "parquet"], typer.Option()],
    label: Annotated[str | None, typer.Option(help="dwsnets: the label to write (label).")] = None,
) -> None:
    """Write a zoo for another project."""
    from dws.zoo import Zoo  # loads torch, for seconds
    from dws.zoo.exchange import export_zoo

    zoo = Zoo.open(path)
    written = export_zoo(zoo, target, format=format, label=label)
    listed = "" if written == target else f", listed in {written}"
    print(f"{len(zoo):,} {zoo.manifest.noun} of {path} are in {target}{listed}")
