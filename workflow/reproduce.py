"""Entry point of ``make reproduce-all`` and ``make reproduce-plan``.

    python workflow/reproduce.py plan|run [NAME...]

The values of variables are read from the environment, to which make exports them. The arguments are
the names of the variables on make's command line; an unknown name is an error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dws.cli.errors import user_errors

IGNORED = ("BIN", "CONSTRAINTS", "MAKE", "PYTHON", "SHELL")  # other variables of the Makefile


def main(action: str, names: Sequence[str]) -> None:
    """Print the remaining jobs, and run them unless the action is ``plan``."""
    from selection import Selection, Variables

    values = {name: os.environ[name] for name in Variables.model_fields if name in os.environ}
    unknown = {name: "" for name in names if name not in (*Variables.model_fields, *IGNORED)}
    selection = Selection({**unknown, **values})
    from remaining import describe, jobs_left, report_is_complete  # deferred: imports torch

    print(describe(selection), flush=True)
    if action == "plan" or (not jobs_left(selection) and report_is_complete(selection)):
        return
    from snakemake.cli import main as snakemake

    file = str(Path(__file__).with_name("Snakefile"))
    cores = str(selection.num_threads * selection.variables.JOBS)
    config = ["--config", *as_config(values)] if values else []
    snakemake(["--snakefile", file, "--cores", cores, *config])


def as_config(values: Mapping[str, str]) -> list[str]:
    """Arguments of Snakemake's ``--config``, quoted, since it parses 1_0 as a number."""
    return [f"{name}= {json.dumps(value, ensure_ascii=False)} " for name, value in values.items()]


if __name__ == "__main__":
    with user_errors():
        main(sys.argv[1], sys.argv[2:])
