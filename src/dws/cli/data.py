"""``dws-data``: fetch and verify a data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from dws.cli.command import user_errors
from dws.signals.download import DATASETS, ensure_dataset


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="dws-data", description="Fetch and verify a data set.")
    parser.add_argument("name", choices=sorted(DATASETS))
    parser.add_argument(
        "--root", type=Path, default=Path("outputs/data"), help="data folder (%(default)s)"
    )
    arguments = parser.parse_args()
    with user_errors():
        folder = ensure_dataset(arguments.name, arguments.root)
        print(f"{DATASETS[arguments.name].title} is verified in {folder}")
