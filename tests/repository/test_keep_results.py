"""Results in ``outputs/results`` are replaced completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import keep_results


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A report with one documented table, and kept files of an earlier report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keep_results, "readme_table", lambda: "new")
    Path("README.md").write_text(f"Above.\n{keep_results.BEGIN}old{keep_results.END}\nBelow.\n")
    Path("docs").mkdir()
    Path("docs/results.md").write_text("<!-- table: small/sine -->\n<!-- table: other/ssl -->\n")
    tables = Path("report/tables")
    tables.mkdir(parents=True)
    for name in ("sine", "overview", "runs", "zoos", "unused"):
        (tables / f"{name}.csv").write_text("new")
    Path("report/results.json").write_text(f'"{tmp_path}/runs"')
    kept = Path("outputs/results/small")
    kept.mkdir(parents=True)
    (kept / "sine.csv").write_text("old")
    return Path("report")


def keep(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["keep_results", str(report), "small"])
    keep_results.main()


def test_tables_shown_in_the_documentation_are_kept(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(report, monkeypatch)
    kept = Path("outputs/results/small")
    assert {file.stem for file in kept.glob("*.csv")} == {"sine", "overview", "runs", "zoos"}
    assert (kept / "sine.csv").read_text() == "new"
    assert (kept / "results.json").read_text() == '"runs"'


def test_only_the_results_table_of_the_readme_is_replaced(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(report, monkeypatch)
    text = Path("README.md").read_text()
    assert text.startswith("Above.\n<!-- results -->")
    assert text.endswith("<!-- end of results -->\nBelow.\n")
    assert "new" in text
    assert "old" not in text


@pytest.mark.parametrize("missing", ["results.json", "tables/sine.csv"])
def test_incomplete_report_replaces_nothing(
    missing: str, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (report / missing).unlink()
    before = Path("README.md").read_text()
    with pytest.raises(SystemExit, match=f"lacks report/{missing}"):
        keep(report, monkeypatch)
    assert Path("README.md").read_text() == before
    assert Path("outputs/results/small/sine.csv").read_text() == "old"
