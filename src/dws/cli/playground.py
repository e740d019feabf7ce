"""``dws-playground``: draw a digit in the browser; models predict it from the weights of an INR."""

from __future__ import annotations

from typing import Annotated

import typer

from dws.cli.app import NO_PLUGINS, TRACEBACKS, Command, Plugins, Version, run
from dws.pretrained import shipped_models

MODELS = ["mnist-mlp", "mnist-dwsnet", "mnist-sign"]
app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command(cls=Command, epilog=TRACEBACKS)
def playground(
    model: Annotated[
        list[str],
        typer.Option(
            help="Name of a model that ships with dws, file written by dws-export, or folder of a "
            "run. Repeat the option for several models. The default is an MLP, a DWSNet and a "
            "SignDWSNet.",
            autocompletion=lambda: list(shipped_models()),
            show_default=False,
        ),
    ] = MODELS,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the server; 0 selects a free port.")
    ] = 8008,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open the page in a browser.")
    ] = True,
    plugin: Plugins = NO_PLUGINS,
    version: Version = False,
) -> None:
    """Draw a digit in the browser, fit a SIREN to it, and predict the digit from its weights.

    Permutations and sign flips of the neurons do not change the function of the SIREN. The page
    shows which models are invariant to them. The server accepts connections from this machine only.
    """
    from dws.experiment import load  # deferred: imports torch
    from dws.playground.server import serve
    from dws.targets import allow_plugins

    allow_plugins(*plugin)
    serve([load(name) for name in model], port=port, browser=browser)


def main() -> None:
    """Entry point."""
    run(app)
