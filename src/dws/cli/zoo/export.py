"""``dws-zoo export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dws.cli.zoo.arguments import ZooPath


def export(
    path: ZooPath,
    target: Annotated[Path, typer.Argument(help="New folder, or new file for parquet.")],
    format: Annotated[Literal["dwsnets", "parquet"], typer.Option()],
    label: Annotated[
        str | None, typer.Option(help="dwsnets: name of the label to export (label).")
    ] = None,
) -> None:
    """Export a zoo to the format of another project, or to Parquet."""
    from dws.zoo import Zoo  # deferred: imports torch
    from dws.zoo.exchange import export_zoo

    zoo = Zoo.open(path)
    written = export_zoo(zoo, target, format=format, label=label)
    listed = "" if written == target else f"; {written} lists the files"
    print(f"exported {len(zoo):,} {zoo.manifest.noun} of {path} to {target}{listed}")
