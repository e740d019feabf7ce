"""``dws-export``: a run to one file, from which ``dws-predict`` and ``dws.load`` predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dws.cli.app import TRACEBACKS, Command, Version, run

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=Command, epilog=TRACEBACKS)
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    file: Annotated[
        Path, typer.Argument(help="The file to write or replace, such as mine.safetensors.")
    ],
    classes: Annotated[
        str | None,
        typer.Option(help="Names of the classes, separated by commas, in the order of the labels."),
    ] = None,
    zoo_path: Annotated[
        Path | None,
        typer.Option(help="The zoo's folder if it is no longer where the training found it."),
    ] = None,
    version: Version = False,
) -> None:
    """Write the model of a run to one file, with its model card."""
    from dws.experiment import Run  # loads torch, for seconds

    names = classes.split(",") if classes else None
    Run.open(run_folder).export(file, classes=names, zoo_path=zoo_path)


def main() -> None:
    """Entry point."""
    run(app)
