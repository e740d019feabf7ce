"""Base of the commands that use typer instead of Hydra."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import dws
from dws.cli.errors import command_name, exit_with, user_errors

TRACEBACKS = "HYDRA_FULL_ERROR=1 in the environment shows the traceback of every error."


class Command(TyperCommand):
    """Command that reports errors in one line and accepts several values after a list option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments; ``--grid 28 28`` is equivalent to ``--grid 28 --grid 28``."""
        lists = {name for param in self.params if param.multiple for name in param.opts}
        expanded: list[str] = []
        option = ""
        for argument in args:
            is_further = option and _is_number(argument) and expanded[-1] != option
            expanded += [option, argument] if is_further else [argument]
            if argument in lists:
                option = argument
            elif not _is_number(argument):
                option = ""
        return super().parse_args(ctx, expanded)

    def invoke(self, ctx: Any) -> Any:
        """Call the command's function and report its errors."""
        with user_errors():
            return super().invoke(ctx)


def run(app: typer.Typer) -> None:
    """Run an application; wrong usage ends it with a one-line message and exit status 2."""
    try:
        status = app(prog_name=command_name(), standalone_mode=False)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else command_name()
        message = " ".join(error.format_message().split())
        exit_with(f"{message} (see {path} --help)", status=2)
    if status:
        raise SystemExit(status)


def _print_version(value: bool) -> None:
    if value:
        print(f"{command_name()} {dws.__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


NO_PLUGINS: list[str] = []
Plugins = Annotated[
    list[str],
    typer.Option(
        "--plugin",
        help="Package or module whose classes a model may use, which executes its code. Repeat the "
        "option for several packages.",
        show_default=False,
    ),
]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
