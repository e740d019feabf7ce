"""``dws-zoo``: inspect, verify, render, align, merge, combine, import and export zoos."""

from __future__ import annotations

import typer

from dws.cli.app import TRACEBACKS, Command, Version, run
from dws.cli.zoo.align import align
from dws.cli.zoo.combine import combine
from dws.cli.zoo.export import export
from dws.cli.zoo.import_ import import_
from dws.cli.zoo.info import info
from dws.cli.zoo.merge import merge
from dws.cli.zoo.render import render
from dws.cli.zoo.verify import verify

EXAMPLES = """\b
Examples:
  dws-zoo info outputs/zoos/mnist
  dws-zoo verify outputs/zoos/mnist
  dws-zoo render outputs/zoos/mnist --rows 0 1 2 3 --magnify 4 --output digits.png
  dws-zoo align outputs/zoos/mnist
  dws-zoo merge outputs/zoos/mnist.parts/* outputs/zoos/mnist
  dws-zoo combine outputs/zoos/mnist outputs/zoos/mnist_fast outputs/zoos/mnist_mixed
  dws-zoo import --format dwsnets dataset/mnist_splits.json outputs/zoos/published
  dws-zoo import --format nfn siren_mnist_wts outputs/zoos/nfn
  dws-zoo export --format dwsnets outputs/zoos/mnist dataset/mnist
  dws-zoo export --format parquet outputs/zoos/mnist mnist.parquet
"""

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
for function in (info, verify, render, align, import_, merge, combine, export):
    app.command(function.__name__.strip("_"), cls=Command)(function)


@app.callback(epilog=f"{EXAMPLES}\n{TRACEBACKS}")
def zoo(version: Version = False) -> None:
    """Inspect, verify, render, align, merge, combine, import and export zoos."""


def main() -> None:
    """Entry point."""
    run(app)
