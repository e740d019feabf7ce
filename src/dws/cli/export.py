"""``dws-export``: write the model of a run to a file for ``dws-predict`` and ``dws.load``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dws.cli.app import NO_PLUGINS, TRACEBACKS, Command, Plugins, Version, run

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=Command, epilog=TRACEBACKS)
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    file: Annotated[
        Path,
        typer.Argument(help="The file to write or replace; its name must end with .safetensors."),
    ],
    classes: Annotated[
        str | None,
        typer.Option(help="Names of the classes, separated by commas, in the order of the labels."),
    ] = None,
    zoo_path: Annotated[
        Path | None,
        typer.Option(help="The zoo's folder, if it was moved after the training."),
    ] = None,
    plugin: Plugins = NO_PLUGINS,
    version: Version = False,
) -> None:
    """Write the model of a run and its model card to one file."""
    from dws.experiment import Run  # deferred: imports torch
    from dws.targets import allow_plugins

    allow_plugins(*plugin)
    names = None if classes is None else classes.split(",")
    Run.open(run_folder).export(file, classes=names, zoo_path=zoo_path)


def main() -> None:
    """Entry point."""
    run(app)
