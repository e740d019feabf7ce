"""``dws-zoo merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dws.cli.zoo.arguments import ZooPath


def merge(
    parts: Annotated[list[Path], typer.Argument(help="Folders of all parts.")], path: ZooPath
) -> None:
    """Merge parts that were fitted separately into one zoo."""
    from dws.zoo import merge_parts  # deferred: imports torch

    zoo = merge_parts(parts, path)
    print(f"zoo {zoo.path}: {len(zoo):,} {zoo.manifest.noun} from {len(parts)} parts")
