"""Tables as Markdown, LaTeX and CSV, and the format of their numbers."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import mean, stdev

from tabulate import tabulate


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        name: Of its files.
        title: What it shows, in a line.
        header: Of each column.
        rows: As many cells each.
        note: What a reader has to know.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """For the terminal."""
        return tabulate(self.rows, self.header, tablefmt="github", disable_numparse=True)

    def document(self) -> str:
        """For a README: title, Markdown table with names as they are, note."""
        rows = [
            [" ".join(escape(cell, quote=False).replace("|", "\\|").splitlines()) for cell in row]
            for row in self.rows
        ]
        table = replace(self, rows=rows).markdown()
        return "\n\n".join(filter(None, [f"**{self.title}**", table, self.note])) + "\n"

    def latex(self) -> str:
        """For a paper, with the package booktabs."""
        text = tabulate(self.rows, self.header, tablefmt="latex_booktabs", disable_numparse=True)
        return text.replace("→", r"$\to$")

    def csv(self) -> str:
        """For a spreadsheet."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.header, *self.rows])
        return buffer.getvalue()


def spread(
    values: Sequence[float | None],
    *,
    is_share: bool,
    digits: int | None = None,
    with_seeds: bool = False,
) -> str:
    """Mean, and ± only where there is more than one value; shares in percent.

    Values that are not finite, or None, are counted beside the mean of the others.

    Args:
        values: One a seed.
        is_share: Whether they are shares of 1.
        digits: After the point; by default 1 for a share and else 4.
        with_seeds: Say how many seeds there are, as ``(n = 3)``.
    """
    scale, unit, usual = (100, " %", 1) if is_share else (1, "", 4)
    digits = usual if digits is None else digits
    finite = [value for value in values if value is not None and math.isfinite(value)]
    without = len(values) - len(finite)
    kind = "not known" if None in values else "not finite"
    if finite:
        text = f"{scale * mean(finite):.{digits}f}"
        if len(finite) > 1:
            text += f" ± {scale * stdev(finite):.{digits}f}"
        text += unit
    else:
        kinds = {str(value) for value in values}
        text = kind if len(kinds) > 1 or None in values else kinds.pop()
        without = 0
    if with_seeds:
        return f"{text} (n = {len(values)}{f', {without} {kind}' if without else ''})"
    return text + (f" ({without} of {len(values)} {kind})" if without else "")
