"""Keep a report's tables and pictures in the repository, and put its tables into the README.

Run from the repository's root: ``python -m scripts.keep_results outputs/small/report small``.
The README says which tables of which report it has where: they stand between
``<!-- results of small: sine sine-others -->`` and ``<!-- end of results -->``.
These tables, what they are made of, and pictures go to ``outputs/results``.
Pictures that are there and that the report does not have stay, for a report with ``kept=`` results.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

KEPT = Path("outputs/results")
README = Path("README.md")
END = "<!-- end of results -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="what dws-report wrote")
    parser.add_argument("name", help="of the folder in outputs/results")
    arguments = parser.parse_args()
    tables = arguments.report / "tables"
    text = README.read_text()
    places = re.compile(
        rf"(?P<begin><!-- results of {arguments.name}:(?P<names>[^>]*)-->\n).*?{END}", re.DOTALL
    )
    wanted = {name for place in places.finditer(text) for name in place["names"].split()}
    if not wanted:
        raise SystemExit(f"expected <!-- results of {arguments.name}: ... --> in {README}")
    needed = [arguments.report / "results.json", *(tables / f"{name}.md" for name in wanted)]
    if missing := [str(file) for file in needed if not file.is_file()]:
        raise SystemExit(f"expected a report with {', '.join(sorted(missing))}, got none")

    def with_tables(place: re.Match[str]) -> str:
        files = [tables / f"{name}.md" for name in place["names"].split()]
        return "\n".join([place["begin"], *(f.read_text() for f in files), END])

    kept = KEPT / arguments.name
    kept.mkdir(parents=True, exist_ok=True)
    for table in kept.glob("*.csv"):
        table.unlink()
    patterns = [f"tables/{name}.csv" for name in sorted(wanted | {"overview", "runs", "zoos"})]
    for pattern in (*patterns, "pictures/*.svg", "pictures/tsne-mnist-*", "results.json"):
        for file in sorted(arguments.report.glob(pattern)):
            content = file.read_bytes()
            if file.suffix in (".csv", ".json"):  # where the repository lies is of no use elsewhere
                content = content.replace(f"{Path.cwd()}/".encode(), b"")
            (kept / file.name).write_bytes(content)
    README.write_text(places.sub(with_tables, text))
    print(f"{kept} holds {len(list(kept.iterdir()))} files")


if __name__ == "__main__":
    main()
