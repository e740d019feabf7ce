"""Committed tables are reproduced from the results that are kept with them."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from dws.report.data import ReportData
from dws.report.page import make_sections
from dws.report.raw_weights import RawWeights
from dws.report.results import read_kept, to_frame
from dws.report.tables import Table

KEPT = Path(__file__).parents[3] / "outputs/results"
pytestmark = pytest.mark.skipif(not KEPT.is_dir(), reason="not in the source distribution")
# a later version has other names of settings, and thus other identities
RENAMED = {
    "without augment.until": "augment.until=1.0",
    "without optim.muon_lr": "optim.muon_lr=null",
    "without drawing": "reconstruction.weight=0.0",
}


def made_again(name: str, folder: Path) -> dict[str, Table]:
    kept = read_kept(KEPT / name / "results.json")
    results = to_frame((result, None) for result in kept.results)
    raw = {task: RawWeights(None, scores) for task, scores in kept.raw_weights.items()}
    report = ReportData(results, kept.zoos, raw, kept.scale, make={})
    return {t.name: t for section in make_sections(report, folder) for t in section.tables}


@pytest.mark.parametrize("name", ["small", "phase", "ablation"])
def test_committed_tables_are_reproduced_from_results(name: str, tmp_path: Path) -> None:
    tables = made_again(name, tmp_path)
    files = sorted((KEPT / name).glob("*.csv"))
    assert {file.stem for file in files} <= tables.keys()
    for file in files:
        expected = pd.read_csv(file, dtype=str, keep_default_na=False).replace(RENAMED)
        made = pd.read_csv(io.StringIO(tables[file.stem].csv()), dtype=str, keep_default_na=False)
        assert list(made) == list(expected), file
        rows, expected_rows = (
            sorted(frame.drop(columns="settings", errors="ignore").to_numpy().tolist())
            for frame in (made, expected)
        )  # groups of several settings are ordered by identity
        assert rows == expected_rows, file


def test_committed_tables_keep_their_row_order(tmp_path: Path) -> None:
    tables = made_again("small", tmp_path)
    for file in (KEPT / "small").glob("*.csv"):
        if file.stem != "runs":
            assert tables[file.stem].csv() == file.read_text(), file
