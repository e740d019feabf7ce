"""What stands in the README and in ``outputs/results`` is replaced as a whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts import keep_results


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A report of one table that the README asks for, and what was kept of an earlier one."""
    monkeypatch.chdir(tmp_path)
    Path("README.md").write_text(
        "Above.\n<!-- results of small: sine -->\nold\n" + keep_results.END
    )
    tables = Path("report/tables")
    tables.mkdir(parents=True)
    (tables / "sine.md").write_text("new\n")
    (tables / "sine.csv").write_text("new")
    Path("report/results.json").write_text(f'"{tmp_path}/runs"')
    kept = Path("outputs/results/small")
    kept.mkdir(parents=True)
    (kept / "sine.csv").write_text("old")
    return Path("report")


def keep(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["keep_results", str(report), "small"])
    keep_results.main()


def test_tables_go_where_the_readme_wants_them(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(report, monkeypatch)
    text = Path("README.md").read_text()
    assert text.startswith("Above.\n<!-- results of small: sine -->")
    assert "new" in text
    assert "old" not in text
    assert Path("outputs/results/small/sine.csv").read_text() == "new"
    assert Path("outputs/results/small/results.json").read_text() == '"runs"'


@pytest.mark.parametrize("missing", ["results.json", "tables/sine.md"])
def test_nothing_is_lost_to_a_report_that_is_not_whole(
    missing: str, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (report / missing).unlink()
    before = Path("README.md").read_text()
    with pytest.raises(SystemExit, match=f"expected a report with report/{missing}, got none"):
        keep(report, monkeypatch)
    assert Path("README.md").read_text() == before
    assert Path("outputs/results/small/sine.csv").read_text() == "old"
