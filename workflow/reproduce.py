"""What ``make reproduce-all`` and ``make reproduce-plan`` call.

    python workflow/reproduce.py plan|run [NAME...]

The variables are those of the environment, where make has put them. The names are of variables on
its command line, which have to be known.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dws.cli.errors import user_errors

IGNORED = ("BIN", "CONSTRAINTS", "MAKE", "PYTHON", "SHELL")  # variables of the Makefile


def main(action: str, names: Sequence[str]) -> None:
    """Say what is left; run it."""
    from selection import Selection, Variables

    given = {name: os.environ[name] for name in Variables.model_fields if name in os.environ}
    unknown = {name: "" for name in names if name not in (*Variables.model_fields, *IGNORED)}
    selection = Selection({**unknown, **given})
    from remaining import describe, jobs_left, report_is_complete  # loads torch, for seconds

    print(describe(selection), flush=True)
    if action == "plan" or (not jobs_left(selection) and report_is_complete(selection)):
        return
    from snakemake.cli import main as snakemake

    file = str(Path(__file__).with_name("Snakefile"))
    cores = str(selection.num_threads * selection.variables.JOBS)
    config = ["--config", *as_config(given)] if given else []
    snakemake(["--snakefile", file, "--cores", cores, *config])


def as_config(given: Mapping[str, str]) -> list[str]:
    """Values of Snakemake's ``--config``, which takes 1_0 for a number and strips quotes."""
    return [f"{name}= {json.dumps(value, ensure_ascii=False)} " for name, value in given.items()]


if __name__ == "__main__":
    with user_errors():
        main(sys.argv[1], sys.argv[2:])
