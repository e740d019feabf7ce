"""``dws-predict``: predict from the weights of networks with a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dws.cli.app import NO_PLUGINS, TRACEBACKS, Command, Plugins, Version, run
from dws.pretrained import shipped_models

EXAMPLES = """\b
Examples:
  dws-predict outputs/zoos/mnist --split test
  dws-predict network.pth folder_of_networks --draw pictures
  dws-predict outputs/zoos/mnist --format csv --output predictions.csv
  dws-predict outputs/zoos/sine --model outputs/runs/sine/dwsnet/seed0-a37f4bf0
"""
Format = Literal["text", "csv", "json"]
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=Command, epilog=f"{EXAMPLES}\n{TRACEBACKS}")
def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="A zoo, a file with a state dict (torch.save or safetensors), or a folder of such "
            "files.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Name of a model that ships with dws, file written by dws-export, or folder of a "
            "run.",
            autocompletion=lambda: list(shipped_models()),
        ),
    ] = "mnist-sign",
    format: Annotated[
        Format | None,
        typer.Option(
            help="Format of the output; by default csv or json if the output file has this suffix, "
            "else text. text contains one line per network: name, class and "
            "probability, separated by tabs. csv and json also contain the probabilities of all "
            "classes."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write instead of standard output.")
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(
            help="Folder for pictures, which show the rendering of each INR above the image that "
            "the model reconstructs from its weights."
        ),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Split of the zoos; all networks by default."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad",
            help="Skip files that cannot be read or do not fit the model, and list them.",
        ),
    ] = False,
    zoo_path: Annotated[
        Path | None,
        typer.Option(
            help="For the folder of a run: the folder of its zoo, if it was moved after the "
            "training."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device: auto, cpu or cuda.")] = "auto",
    plugin: Plugins = NO_PLUGINS,
    version: Version = False,
) -> None:
    """Predict properties of networks from their weights, such as the digit that an INR shows.

    A warning lists networks that are far from the training networks of the model.
    """
    from dws.experiment import load  # deferred: imports torch
    from dws.experiment.predicting import predict_inputs
    from dws.targets import allow_plugins

    allow_plugins(*plugin)
    loaded = load(model, zoo_path=zoo_path, device=device)
    predict_inputs(
        loaded, inputs, format=format, output=output, draw=draw, split=split, skip_bad=skip_bad
    )


def main() -> None:
    """Entry point."""
    run(app)
