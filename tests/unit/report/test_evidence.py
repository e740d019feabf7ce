from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.conftest import write_result

from dws.report import sections
from dws.report.evidence import Evidence
from dws.report.results import group_by_seed, load_results


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["accuracy", "mse"])
def test_a_cell_is_not_chosen_for_a_metric_that_is_not_finite(
    metric: str, bad: float, tmp_path: Path
) -> None:
    for number, value in enumerate((bad, 0.5, bad)):
        splits = {split: {metric: value} for split in ("validation", "test", "test_permuted")}
        write_result(
            tmp_path / str(number), settings_hash=str(number), metric=metric,
            higher_is_better=metric == "accuracy", **splits,
        )  # fmt: skip
    groups = group_by_seed(load_results(tmp_path))
    for order in (groups, groups[::-1]):
        evidence = Evidence(order, zoos={}, raw={}, scale="small", make="")
        chosen = evidence.cell("mnist", "mlp")
        assert chosen is not None
        assert chosen["settings_hash"] == "1"
        (table,) = sections.other_settings(evidence).tables
        assert len(table.rows) == 3
