"""``dws-data``: download and verify a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dws.cli.app import TRACEBACKS, Command, Version, run

DataSet = Literal["cifar10", "fashion_mnist", "mnist"]
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=Command, epilog=TRACEBACKS)
def data(
    name: Annotated[DataSet, typer.Argument(help="The data set.")],
    root: Annotated[Path, typer.Option(help="Data folder.")] = Path("outputs/data"),
    version: Version = False,
) -> None:
    """Download a data set and verify its checksums."""
    from dws.signals.download import ensure_cifar10, ensure_dataset  # deferred: imports torch

    folder = ensure_cifar10(root) if name == "cifar10" else ensure_dataset(name, root)
    print(f"{name} is complete and verified in {folder}")


def main() -> None:
    """Entry point."""
    run(app)
