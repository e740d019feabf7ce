"""``dws-report``: all results below a folder as one table."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from dws.cli.command import run_hydra
from dws.evaluation.tables import load_results, markdown, summarise


def main() -> None:
    """Entry point."""
    run_hydra("report", report)


def report(config: DictConfig) -> None:
    """Print the table and where the pictures are."""
    results = load_results(Path(config.runs))
    print(markdown(summarise(results)))
    print("\npictures:")
    for zoo in sorted({result["zoo_path"] for result in results}):
        print(f"  {zoo}/reconstructions.png")
    for result in results:
        print(f"  {result['folder']}: {', '.join(result['pictures'])}, learning_curve.png")
