"""``dws-report``: all results below a folder as one table and one page."""

from __future__ import annotations

from dws.cli.command import run_hydra
from dws.settings import ReportSettings


def main() -> None:
    """Entry point."""
    run_hydra("report", report)


def report(settings: ReportSettings, command: str) -> None:
    """Report."""
    from dws.experiment.reporting import report_runs  # loads torch, for seconds

    report_runs(settings)
