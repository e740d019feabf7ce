"""``python -m dws.cli.plan``: what ``make reproduce-all`` has left to do, and how long it takes."""

from __future__ import annotations

import argparse
import sys

from dws.cli.errors import user_errors


def main() -> None:
    """Entry point: reads the output of ``make --dry-run`` from standard input."""
    parser = argparse.ArgumentParser(description=__doc__, prog="plan")
    parser.add_argument("--jobs", type=int, default=1, help="how many run side by side")
    parser.add_argument("settings", nargs="*", help="of all commands, such as scale=small")
    arguments = parser.parse_args()
    with user_errors():
        from dws.experiment.plan import plan  # loads torch, for seconds

        plan(sys.stdin.read(), arguments.settings, side_by_side=arguments.jobs)


if __name__ == "__main__":
    main()
