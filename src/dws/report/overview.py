"""All runs in one table."""

from __future__ import annotations

from collections.abc import Sequence

from dws.report.results import Group
from dws.report.tables import Table


def overview(groups: Sequence[Group]) -> Table:
    """All runs, one row for each group."""
    header = (
        *(
            "task",
            "trained on",
            "model",
            "parameters",
            "epochs",
            "seeds",
            "metric",
            "validation",
            "test",
        ),
        *("networks/s", "minutes"),
    )
    rows = [
        (
            group["task"],
            f"{group['num_train']:,}",
            group["model"],
            f"{group['num_parameters']:,}",
            f"{group.mean(lambda result: result['num_epochs']):.0f}",
            str(len(group.results)),
            group["metric"],
            group.measured("validation"),
            group.measured("test"),
            f"{group.mean(lambda result: result['networks_per_second']):,.0f}",
            f"{group.mean(lambda result: result['train_seconds']) / 60:.1f}",
        )
        for group in groups
    ]
    return Table("overview", "All runs, mean ± standard deviation over seeds", header, rows)
