"""Keep a report's tables and pictures in the repository, and put its tables into the README.

Run from the repository's root: ``python -m scripts.keep_results outputs/small/report small``.
Pictures that are there and that the report does not have stay, for a report with ``kept=`` results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

KEPT = Path("outputs/results")
README = Path("README.md")
BEGIN, END = "<!-- results: begin -->\n", "<!-- results: end -->\n"
TABLES = ("classification", "sizes-mnist", "ssl", "sine", "symmetry", "embeddings")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what dws-report wrote")
    parser.add_argument("scale", help="names the folder in outputs/results")
    arguments = parser.parse_args()

    text = README.read_text()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"expected {BEGIN.strip()} and {END.strip()} in {README}, got none")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    names = [name + kind for name in TABLES for kind in ("", "-others", "-functions")]
    files = [arguments.report / "tables" / f"{name}.md" for name in names]
    tables = [file.read_text() for file in files if file.is_file()]

    kept = KEPT / arguments.scale
    kept.mkdir(parents=True, exist_ok=True)
    for table in kept.glob("*.csv"):
        table.unlink()
    for pattern in ("tables/*.csv", "pictures/*.svg", "pictures/tsne-mnist-*", "results.json"):
        for file in sorted(arguments.report.glob(pattern)):
            content = file.read_bytes()
            if file.suffix in (".csv", ".json"):  # where the repository lies is of no use elsewhere
                content = content.replace(f"{Path.cwd()}/".encode(), b"")
            (kept / file.name).write_bytes(content)
    README.write_text("".join([before, BEGIN, "\n", "\n".join(tables), "\n", END, after]))
    print(f"{kept} holds {len(list(kept.iterdir()))} files; {README} has {len(tables)} tables")


if __name__ == "__main__":
    main()
