"""One page with every table and picture, and the same tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from jinja2 import Environment, PackageLoader

from dws.evaluation.result import FORMAT_VERSION
from dws.io.folders import hold_folder
from dws.report import headline, provenance, sections
from dws.report.embeddings import embedding_figure
from dws.report.evidence import Evidence
from dws.report.own_files import OwnFiles
from dws.report.results import Kept
from dws.report.section import Section
from dws.report.tasks import PAPER

PAGE = "index.html"
RECORD = ".dws-report.json"
RAW_WEIGHTS = "raw-weights"


def files_of_reports(folder: Path) -> OwnFiles:
    """The files of an earlier report in a folder, which the next one may replace or remove.

    Raises:
        ValueError: If no report can be written there, since other files are in the way.
    """
    remedy = (
        "choose another folder with report=DIR. If an earlier version of dws-report wrote the "
        "files, move the whole folder"
    )
    own = OwnFiles(folder, RECORD, cache=RAW_WEIGHTS, remedy=remedy)
    own.check(["results.json", PAGE])
    return own


def write_report(evidence: Evidence, own: OwnFiles) -> Path:
    """Write ``index.html``, ``tables/``, ``pictures/``, ``raw-weights/`` and ``results.json``.

    Args:
        evidence: What to report.
        own: Files of an earlier report in the folder, from ``files_of_reports``.

    Returns:
        The page.

    Raises:
        ValueError: If files that no report wrote are in the way; nothing is written then.
    """
    files = _render(evidence)
    own.check(files)
    with hold_folder(own.folder):
        own.write(files)
    return own.folder / PAGE


def make_sections(evidence: Evidence, pictures: Path) -> list[Section]:
    """All parts of the page that have content.

    Args:
        evidence: What to report.
        pictures: Folder to which pictures are written.
    """
    found = (embedding_figure(evidence, task, pictures) for task in evidence.tasks)
    figures = [figure for figure in found if figure]
    infos = map(evidence.describe, evidence.tasks_in_scope)
    families = {info.family.name: info.family for info in infos}
    parts = [
        headline.main_figure(figures[0] if figures else None),
        headline.main_table(evidence),
        headline.data_efficiency(evidence, pictures),
        *(sections.results_of(evidence, family) for family in families.values()),
        sections.edits(evidence, pictures),
        sections.learning_from_more(evidence),
        sections.other_settings(evidence),
        sections.symmetry(evidence),
        sections.on_other_zoos(evidence),
        sections.embeddings(evidence, figures[1:]),
        sections.learning(evidence, pictures),
        provenance.zoos(evidence),
        provenance.all_runs(evidence),
        provenance.every_run(evidence),
    ]
    return [part for part in parts if not part.is_empty]


def _render(evidence: Evidence) -> dict[str, bytes]:
    """The content of every file of the report, the page last."""
    files = {name: c for raw in evidence.raw.values() for name, c in raw.files.items()}
    with tempfile.TemporaryDirectory() as temporary:
        pictures = Path(temporary)
        parts = make_sections(evidence, pictures)
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
        scale=evidence.scale,
        results=list(evidence.runs["result"]),
        zoos=dict(evidence.zoos),
        raw_weights={task: raw.embedding for task, raw in evidence.raw.items()},
    )
    files["results.json"] = (json.dumps(kept.model_dump(), indent=1) + "\n").encode()
    environment = Environment(loader=PackageLoader("dws.report", "."), autoescape=True)
    page = environment.get_template("report.html.j2").render(
        sections=parts,
        scale=evidence.scale,
        is_of_paper=any(evidence.describe(task).source == PAPER for task in evidence.tasks),
        left_out=evidence.left_out,
    )
    files[PAGE] = page.encode()
    return files
