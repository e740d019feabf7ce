"""``dws-predict``: the weights of networks to classes, by a model that ships with dws or yours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dws.cli.app import TRACEBACKS, Command, Version, run
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
            help="Zoos, files with a state dict (torch.save or safetensors), or folders of such "
            "files.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            help="Name of a model that ships with dws, a file that dws-export wrote, or the folder "
            "of a run.",
            autocompletion=lambda: list(shipped_models()),
        ),
    ] = "mnist-sign",
    format: Annotated[
        Format,
        typer.Option(
            help="text has one line for each network: name, class and probability, separated by "
            "tabs. csv and json have all probabilities too."
        ),
    ] = "text",
    output: Annotated[
        Path | None, typer.Option(help="The file to write instead of standard output.")
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option(
            help="Folder for pictures: what each INR shows, above what the model reconstructs from "
            "its weights."
        ),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="Which networks of zoos to predict; all by default."),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave out files that cannot be read or do not fit."),
    ] = False,
    zoo_path: Annotated[
        Path | None,
        typer.Option(
            help="If the model is a run: its zoo's folder, if it is no longer where the training "
            "found it."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    version: Version = False,
) -> None:
    """Predict from the weights of networks, such as which digit an INR shows.

    A warning names networks that are far from those that the model was trained on.
    """
    from dws.experiment import load  # loads torch, for seconds
    from dws.experiment.predicting import predict_inputs

    loaded = load(model, zoo_path=zoo_path, device=device)
    predict_inputs(
        loaded, inputs, format=format, output=output, draw=draw, split=split, skip_bad=skip_bad
    )


def main() -> None:
    """Entry point."""
    run(app)
