"""The web page of a report, and its tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from jinja2 import Environment, PackageLoader

from dws.evaluation.result import FORMAT_VERSION
from dws.io.folders import hold_folder
from dws.report import calibration, headline, provenance, sections
from dws.report.data import ReportData
from dws.report.embeddings import embedding_figure
from dws.report.own_files import OwnFiles
from dws.report.results import RESULTS, Kept
from dws.report.section import Section
from dws.report.tasks import PAPER

PAGE = "index.html"
RECORD = ".dws-report.json"
RAW_WEIGHTS = "raw-weights"


def files_of_reports(folder: Path) -> OwnFiles:
    """The files of an earlier report in a folder, which a new report may replace or remove.

    Raises:
        ValueError: If other files are in the way of a report.
    """
    remedy = (
        "choose another folder with report=DIR. If an earlier version of dws-report wrote the "
        "files, move the whole folder"
    )
    own = OwnFiles(folder, RECORD, cache=RAW_WEIGHTS, remedy=remedy)
    own.check([RESULTS, PAGE])
    return own


def write_report(report: ReportData, own: OwnFiles) -> Path:
    """Write ``index.html``, ``tables/``, ``pictures/``, ``raw-weights/`` and ``results.json``.

    Args:
        report: Data of the report.
        own: Files of an earlier report in the folder, from ``files_of_reports``.

    Returns:
        The file of the page.

    Raises:
        ValueError: If files that no report wrote are in the way; nothing is written then.
    """
    files = _render(report)
    own.check(files)
    with hold_folder(own.folder):
        own.write(files)
    return own.folder / PAGE


def make_sections(report: ReportData, pictures: Path) -> list[Section]:
    """Create all sections of the page, without empty ones.

    Args:
        report: Data of the report.
        pictures: Folder to which figures are written.
    """
    optional = (embedding_figure(report, task, pictures) for task in report.tasks)
    figures = [figure for figure in optional if figure]
    infos = map(report.describe, report.tasks_in_scope)
    families = {info.family.name: info.family for info in infos}
    parts = [
        headline.main_figure(figures[0] if figures else None),
        headline.main_table(report),
        headline.data_efficiency(report, pictures),
        *(sections.results_of(report, family) for family in families.values()),
        sections.edits(report, pictures),
        sections.training_set_sizes(report),
        sections.other_settings(report),
        sections.symmetry(report),
        calibration.calibration(report, pictures),
        sections.other_zoos(report),
        sections.embeddings(report, figures[1:]),
        sections.learning_curves(report, pictures),
        provenance.zoos(report),
        provenance.all_runs(report),
        provenance.every_run(report),
    ]
    return [part for part in parts if not part.is_empty]


def _render(report: ReportData) -> dict[str, bytes]:
    """Content of all files of the report by name; the page is the last."""
    files = {name: c for raw in report.raw.values() for name, c in raw.files.items()}
    with tempfile.TemporaryDirectory() as temporary:
        pictures = Path(temporary)
        parts = make_sections(report, pictures)
        files |= {f"pictures/{f.name}": f.read_bytes() for f in sorted(pictures.iterdir())}
    for table in (table for part in parts for table in part.tables):
        for suffix, text in {
            "md": table.document(),
            "tex": table.latex(),
            "csv": table.csv(),
        }.items():
            files[f"tables/{table.name}.{suffix}"] = text.encode()
    kept = Kept(
        format_version=FORMAT_VERSION,
        scale=report.scale,
        results=list(report.runs["result"]),
        zoos=dict(report.zoos),
        raw_weights={task: raw.embedding for task, raw in report.raw.items()},
    )
    files[RESULTS] = (json.dumps(kept.model_dump(), indent=1) + "\n").encode()
    environment = Environment(loader=PackageLoader("dws.report", "."), autoescape=True)
    environment.filters["with_narrow_breaks"] = _with_narrow_breaks
    page = environment.get_template("report.html.j2").render(
        sections=parts,
        scale=report.scale,
        is_of_paper=any(report.describe(task).source.startswith(PAPER) for task in report.tasks),
        omitted=report.omitted,
    )
    files[PAGE] = page.encode()
    return files


def _with_narrow_breaks(cell: str) -> str:
    """Replace spaces by unbreakable ones, except before the number of seeds."""
    return re.sub(r" (?!\(n = )", "\u00a0", cell)
