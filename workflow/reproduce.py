"""Entry point of ``make reproduce-all``, ``make reproduce-plan`` and ``make demo``.

    python workflow/reproduce.py plan|run|demo [NAME...]

The values of variables are read from the environment, to which make exports them. The arguments are
the names of the variables on make's command line; an unknown name is an error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dws.cli.errors import user_errors

if TYPE_CHECKING:
    from selection import Selection

IGNORED = ("BIN", "CONSTRAINTS", "MAKE", "PYTHON", "SHELL", "TORCH")  # other Makefile variables


def main(action: str, names: Sequence[str]) -> None:
    """Print the remaining jobs, run them unless the action is ``plan``, summarise ``demo``."""
    from selection import DEMO, Selection, Variables

    values = {name: os.environ[name] for name in Variables.model_fields if name in os.environ}
    values = {**(DEMO if action == "demo" else {}), **values}
    unknown = {name: "" for name in names if name not in (*Variables.model_fields, *IGNORED)}
    selection = Selection({**unknown, **values})
    from remaining import describe, jobs_left, report_is_complete  # deferred: imports torch

    print(describe(selection), flush=True)
    if action == "plan":
        return
    if jobs_left(selection) or not report_is_complete(selection):
        run(selection, values)
    if action == "demo":
        from summary import summary

        print(summary(selection, values))


def run(selection: Selection, values: Mapping[str, str]) -> None:
    """Run the remaining jobs with Snakemake.

    Raises:
        SystemExit: If a job fails.
    """
    from snakemake.cli import main as snakemake

    file = str(Path(__file__).with_name("Snakefile"))
    cores = str(selection.num_threads * selection.variables.JOBS)
    config = ["--config", *as_config(values)] if values else []
    try:
        snakemake(["--snakefile", file, "--cores", cores, *config])
    except SystemExit as end:
        if end.code:
            raise


def as_config(values: Mapping[str, str]) -> list[str]:
    """Arguments of Snakemake's ``--config``, quoted, since it parses 1_0 as a number."""
    return [f"{name}= {json.dumps(value, ensure_ascii=False)} " for name, value in values.items()]


if __name__ == "__main__":
    with user_errors():
        main(sys.argv[1], sys.argv[2:])
