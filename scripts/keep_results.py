"""Keep a report's tables and pictures in the repository, for the documentation and the README.

Run from the repository's root: ``python -m scripts.keep_results outputs/small/report small``.
Pages of the documentation name the tables that they show: ``<!-- table: small/sine -->`` stands
for ``outputs/results/small/sine.csv``. These tables, what they are made of, and pictures are copied
from the report, and the README's table of results is written anew.
Pictures that are there and that the report does not have stay, for a report with ``kept=`` results.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.docs_hooks import TABLES, readme_table

KEPT = Path("outputs/results")
DOCS = Path("docs")
README = Path("README.md")
BEGIN, END = "<!-- results -->\n", "\n<!-- end of results -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what dws-report wrote")
    parser.add_argument("name", help="of the folder in outputs/results")
    arguments = parser.parse_args()
    shown = [found for page in DOCS.rglob("*.md") for found in TABLES.finditer(page.read_text())]
    wanted = {found["name"] for found in shown if found["folder"] == arguments.name}
    if not wanted:
        raise SystemExit(f"No page in {DOCS} names a table <!-- table: {arguments.name}/... -->.")
    tables = [f"tables/{name}.csv" for name in sorted(wanted | {"overview", "runs", "zoos"})]
    needed = [arguments.report / file for file in ("results.json", *tables)]
    if missing := [str(file) for file in needed if not file.is_file()]:
        raise SystemExit(f"The report lacks {', '.join(sorted(missing))}.")

    kept = KEPT / arguments.name
    kept.mkdir(parents=True, exist_ok=True)
    for table in kept.glob("*.csv"):
        table.unlink()
    for pattern in (*tables, "pictures/*.svg", "pictures/tsne-mnist-*", "results.json"):
        for file in sorted(arguments.report.glob(pattern)):
            content = file.read_bytes()
            if file.suffix in (".csv", ".json"):  # where the repository lies is of no use elsewhere
                content = content.replace(f"{Path.cwd()}/".encode(), b"")
            (kept / file.name).write_bytes(content)
    print(f"{kept} holds {len(list(kept.iterdir()))} files")
    write_readme()


def write_readme() -> None:
    """Put the table of results into the README."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n{readme_table()}\n{END}{after}")


if __name__ == "__main__":
    main()
