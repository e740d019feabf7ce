"""``dws-zoo render``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dws.cli.zoo.arguments import ZooPath


def render(
    path: ZooPath,
    rows: Annotated[
        list[int] | None, typer.Option(help="Rows to render, such as 0 1 2 (the first 8).")
    ] = None,
    magnify: Annotated[
        int, typer.Option(help="Resolution along each axis, relative to the fitted grid.")
    ] = 1,
    output: Annotated[Path, typer.Option(help="Image file to write.")] = Path("render.png"),
) -> None:
    """Render INRs as images, from their weights alone."""
    from dws.zoo import Zoo  # deferred: imports torch
    from dws.zoo.figures import plot_rows

    zoo = Zoo.open(path)
    chosen = rows or range(min(8, len(zoo)))
    plot_rows(output, zoo, chosen, magnify=magnify)
    print(f"rendered {len(chosen)} INRs of {zoo.path} to {output}")
