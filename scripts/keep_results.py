"""Copy tables and pictures of a report to the repository, for documentation and README.

Run from the repository's root: ``python -m scripts.keep_results outputs/small/report small``.
Pages of the documentation name the tables that they show: ``<!-- table: small/sine -->`` refers to
``outputs/results/small/sine.csv``. These tables, the results behind them, and pictures are copied
from the report. The table of results in the README is updated. Existing pictures that the report
lacks are not removed. A report with ``kept=`` results draws pictures of the other runs only; name
the pictures to copy from it: ``--pictures 'edits-*' learning-dilate_mnist.svg``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from scripts.docs_hooks import TABLES, readme_table

RESULTS = Path("outputs/results")
DOCS = Path("docs")
PICTURES = ("*.svg", "tsne-mnist-*", "edits-*")
README = Path("README.md")
BEGIN, END = "<!-- results -->\n", "\n<!-- end of results -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="folder of the report")
    parser.add_argument("name", help="name of the folder in outputs/results")
    parser.add_argument("--pictures", nargs="*", default=PICTURES, help="patterns of file names")
    arguments = parser.parse_args()
    markers = [match for page in DOCS.rglob("*.md") for match in TABLES.finditer(page.read_text())]
    shown = {match["name"] for match in markers if match["folder"] == arguments.name}
    if not shown:
        raise SystemExit(f"No page in {DOCS} names a table <!-- table: {arguments.name}/... -->.")
    tables = [f"tables/{name}.csv" for name in sorted(shown | {"overview", "runs", "zoos"})]
    needed = [arguments.report / file for file in ("results.json", *tables)]
    if missing := [str(file) for file in needed if not file.is_file()]:
        raise SystemExit(f"The report lacks {', '.join(sorted(missing))}.")

    target = RESULTS / arguments.name
    target.mkdir(parents=True, exist_ok=True)
    for table in target.glob("*.csv"):
        table.unlink()
    pictures = [f"pictures/{pattern}" for pattern in arguments.pictures]
    for pattern in (*tables, *pictures, "results.json"):
        for file in sorted(arguments.report.glob(pattern)):
            content = file.read_bytes()
            if file.suffix in (".csv", ".json"):  # makes paths relative to the repository
                content = content.replace(f"{Path.cwd()}/".encode(), b"")
            (target / file.name).write_bytes(content)
    print(f"{target} contains {len(list(target.iterdir()))} files")
    write_readme()


def write_readme() -> None:
    """Update the table of results in the README."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n{readme_table()}\n{END}{after}")


if __name__ == "__main__":
    main()
