"""``dws-fit-inrs``: signals to a zoo."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.experiment.fitting import fit_inrs


def main() -> None:
    """Entry point."""
    run_hydra("fit_inrs", lambda given, *, command: fit_inrs(given))
