"""``dws-zoo combine``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dws.cli.zoo.arguments import ZooPath


def combine(
    zoos: Annotated[list[Path], typer.Argument(help="Folders of at least two zoos.")],
    path: ZooPath,
) -> None:
    """Combine zoos of the same signals, such as fits with different settings, into one zoo."""
    from dws.zoo import Zoo, combine_zoos  # deferred: imports torch

    zoo = combine_zoos([Zoo.open(zoo) for zoo in zoos], path)
    print(f"zoo {zoo.path}: {len(zoo):,} {zoo.manifest.noun} from {len(zoos)} zoos")
