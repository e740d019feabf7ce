"""``dws-playground``: draw a digit in the browser, and have models predict it from weights."""

from __future__ import annotations

from typing import Annotated

import typer

from dws.cli.app import TRACEBACKS, Command, Version, run
from dws.pretrained import shipped_models

MODELS = ["mnist-mlp", "mnist-dwsnet", "mnist-sign"]
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=Command, epilog=TRACEBACKS)
def playground(
    model: Annotated[
        list[str],
        typer.Option(
            help="Name of a model that ships with dws, a file that dws-export wrote, or the folder "
            "of a run; once for each model. By default an MLP, a DWSNet and a SignDWSNet.",
            autocompletion=lambda: list(shipped_models()),
            show_default=False,
        ),
    ] = MODELS,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the page; 0 for any that is free.")
    ] = 8008,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open the page in a browser.")
    ] = True,
    version: Version = False,
) -> None:
    """Draw a digit in the browser, fit a SIREN to it, and predict the digit from its weights.

    Permutations and sign flips of its neurons do not change what the SIREN shows: the page shows
    which models are invariant to them. The page is served by this machine, for this machine only.
    """
    from dws.experiment import load  # loads torch, for seconds
    from dws.playground.server import serve

    serve([load(name) for name in model], port=port, browser=browser)


def main() -> None:
    """Entry point."""
    run(app)
