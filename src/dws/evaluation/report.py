"""One page with every table and picture, and the same tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from jinja2 import Environment, PackageLoader

from dws.evaluation import sections
from dws.evaluation.evidence import Evidence
from dws.evaluation.own_files import OwnFiles
from dws.files import hold_folder

RECORD = ".dws-report.json"


def write_report(evidence: Evidence, folder: Path) -> Path:
    """Write ``index.html``, ``tables/``, ``pictures/`` and ``results.json`` to a folder.

    Args:
        evidence: What to report.
        folder: Where to. Files of an earlier report there are replaced or removed, and no others.

    Returns:
        The page.

    Raises:
        ValueError: If files that no report wrote are in the way; nothing is written then.
    """
    files = _render(evidence)
    cache = {
        f"raw-weights/{name}": content
        for raw in evidence.raw.values()
        for name, content in raw.files.items()
    }
    own = OwnFiles(
        folder,
        RECORD,
        remedy=(
            " (a report of an earlier version: the whole folder), or choose another folder with "
            "report=DIR"
        ),
    )
    for name, place in own.in_the_way(cache).items():  # damaged: what was read from it is not
        print(f"dws: {place} is damaged, so its content was computed again; remove that file")
        del cache[name]
    own.check(files)
    with hold_folder(folder):
        own.write(cache | files)
    return folder / "index.html"


def _render(evidence: Evidence) -> dict[str, bytes]:
    """The content of every file of the report, the page last."""
    with tempfile.TemporaryDirectory() as temporary:
        pictures = Path(temporary)
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
        files = {f"pictures/{f.name}": f.read_bytes() for f in sorted(pictures.iterdir())}
    for table in (table for part in parts for table in part.tables):
        for suffix, text in {
            "md": table.document(),
            "tex": table.latex(),
            "csv": table.csv(),
        }.items():
            files[f"tables/{table.name}.{suffix}"] = text.encode()
    results = {
        "scale": evidence.scale,
        "results": [result for group in evidence.groups for result in group.results],
        "zoos": evidence.zoos,
        "raw_weights": {task: raw.embedding for task, raw in evidence.raw.items()},
    }
    files["results.json"] = (json.dumps(results, indent=1) + "\n").encode()
    environment = Environment(loader=PackageLoader("dws.evaluation", "."), autoescape=True)
    page = environment.get_template("report.html.j2").render(
        sections=[part for part in parts if part.tables or part.pictures],
        scale=evidence.scale,
        left_out=evidence.left_out,
    )
    files["index.html"] = page.encode()
    return files
