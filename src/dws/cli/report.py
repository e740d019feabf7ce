"""``dws-report``: summarise all results below a folder as tables and a web page."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import ReportSettings


def main() -> None:
    """Entry point."""
    run_hydra("report", report)


def report(settings: ReportSettings, command: str) -> None:
    """Write the report."""
    from dws.experiment.reporting import report_runs  # deferred: imports torch

    report_runs(settings)
