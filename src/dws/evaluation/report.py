"""One page with every table and picture, and the same tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader

from dws.evaluation import sections
from dws.evaluation.evidence import Evidence
from dws.files import write_atomically, write_json

SUFFIXES = (".csv", ".md", ".png", ".svg", ".tex")  # of tables and pictures


def write_report(evidence: Evidence, folder: Path) -> Path:
    """Write ``index.html``, ``tables/``, ``pictures/`` and ``results.json`` to a folder.

    Args:
        evidence: What to report.
        folder: Where to. Tables and pictures of an earlier report there are removed.

    Returns:
        The page.
    """
    pictures, tables = folder / "pictures", folder / "tables"
    for made in (pictures, tables):
        made.mkdir(parents=True, exist_ok=True)
        for earlier in (file for file in made.iterdir() if file.suffix in SUFFIXES):
            earlier.unlink()
    parts = [
        sections.classification(evidence),
        sections.contrastive(evidence),
        sections.regression(evidence, pictures),
        sections.learning_from_more(evidence, pictures),
        sections.other_settings(evidence),
        sections.symmetry(evidence),
        sections.embeddings(evidence, pictures),
        sections.learning(evidence, pictures),
        sections.zoos(evidence),
        sections.runs(evidence),
    ]
    for table in (table for part in parts for table in part.tables):
        for suffix, text in {
            "md": table.document(),
            "tex": table.latex(),
            "csv": table.csv(),
        }.items():
            write_atomically(tables / f"{table.name}.{suffix}", text.encode())
    results = {
        "scale": evidence.scale,
        "results": [result for group in evidence.groups for result in group.results],
        "zoos": evidence.zoos,
        "raw_weights": {task: raw.embedding for task, raw in evidence.raw.items()},
    }
    write_json(folder / "results.json", results)
    environment = Environment(loader=PackageLoader("dws.evaluation", "."), autoescape=True)
    page = environment.get_template("report.html.j2").render(
        sections=[part for part in parts if part.tables or part.pictures], scale=evidence.scale
    )
    write_atomically(folder / "index.html", page.encode())
    return folder / "index.html"
