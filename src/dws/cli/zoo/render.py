"""``dws-zoo render``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dws.cli.zoo.arguments import ZooPath


def render(
    path: ZooPath,
    rows: Annotated[
        list[int] | None, typer.Option(help="Rows to render, such as 0 1 2 (first 8).")
    ] = None,
    magnify: Annotated[int, typer.Option(help="Points along an axis for each fitted point.")] = 1,
    output: Annotated[Path, typer.Option(help="The picture to write.")] = Path("render.png"),
) -> None:
    """Render INRs from their weights."""
    from dws.zoo import Zoo  # loads torch, for seconds
    from dws.zoo.figures import plot_rows

    zoo = Zoo.open(path)
    chosen = rows or range(min(8, len(zoo)))
    plot_rows(output, zoo, chosen, magnify=magnify)
    print(f"{len(chosen)} INRs of {zoo.path} are rendered in {output}")
