"""Tables of the report: numbers in data frames, and their text as Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import mean, stdev
from typing import Any

import pandas as pd

from dws.report.methods import method_title

NOT_RUN = "not run"  # though it was asked for
NO_RESULT = "–"
METHOD = "method"  # title of the column with names of methods
SPREAD = "mean ± standard deviation over n seeds"
# by column title; other numbers are written as they are
FORMATS = {
    "trained on": ",",
    "parameters": ",",
    "epochs": ".0f",
    "INRs": ",",
    "networks/s": ",.0f",
    "minutes": ",.1f",
    "minutes a run": ",.1f",
}

SCALES = {"%": (100, 1), "×10⁻²": (100, 2)}  # factor and digits, by unit

LATEX_BOLD = ("\ue000", "\ue001")  # which nothing else contains and nothing escapes
LATEX = {
    "→": r"$\to$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "×10⁻²": r"$\times 10^{-2}$",
    LATEX_BOLD[0]: r"\textbf{",
    LATEX_BOLD[1]: "}",
}


@dataclass(frozen=True)
class Spread:
    """A metric over seeds; as text its mean, with ± deviation if there is more than one value.

    Values that are not finite, or None, are counted beside the mean of the others.

    Attributes:
        values: One a seed; None where it is not known.
        unit: Of the values; "%" of shares of 1, "×10⁻²" of what is shown in hundredths.
        digits: After the point; by default those of ``SCALES``.
        with_seeds: Whether the text says how many seeds there are, as ``(n = 3)``.
        is_best: Whether it is to be emphasised.
    """

    values: Sequence[float | None]
    unit: str = ""
    digits: int | None = None
    with_seeds: bool = False
    is_best: bool = False

    @property
    def mean(self) -> float:
        """Of the finite values; NaN if there is none."""
        finite = [value for value in self.values if value is not None and math.isfinite(value)]
        return mean(finite) if finite else math.nan

    def rounded(self, value: float) -> str:
        """A value with as many digits as are shown."""
        scale, usual = SCALES.get(self.unit, (1, 4))
        return f"{scale * value:.{usual if self.digits is None else self.digits}f}"

    def __str__(self) -> str:
        finite = [value for value in self.values if value is not None and math.isfinite(value)]
        without = len(self.values) - len(finite)
        kind = "not known" if None in self.values else "not finite"
        if finite:
            text = self.rounded(mean(finite))
            if len(finite) > 1:
                text += f" ± {self.rounded(stdev(finite))}"
            text += f" {self.unit}" if self.unit else ""
        else:
            kinds = {str(value) for value in self.values}
            text = kind if len(kinds) > 1 or None in self.values else kinds.pop()
            without = 0
        if self.with_seeds:
            return f"{text} (n = {len(self.values)}{f', {without} {kind}' if without else ''})"
        return text + (f" ({without} of {len(self.values)} {kind})" if without else "")


@dataclass(frozen=True)
class Several:
    """Things in one cell.

    Attributes:
        parts: The things.
        join: Text between them.
        format: Of each.
    """

    parts: Sequence[Any]
    join: str
    format: str = ""

    def __str__(self) -> str:
        return self.join.join(f"{part:{self.format}}" for part in self.parts)


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        name: Of its files.
        title: What it shows, in a line.
        frame: Numbers, ``Spread`` and text; cells that are missing stay empty. The index is not
            shown.
        note: What a reader has to know.
    """

    name: str
    title: str
    frame: pd.DataFrame
    note: str = ""

    @property
    def text(self) -> pd.DataFrame:
        """Every cell as it is shown, with the titles of methods."""
        text = self._cells()
        if METHOD in text:
            text[METHOD] = text[METHOD].map(method_title)
        return text

    def _cells(self) -> pd.DataFrame:
        columns = [
            [_text(cell, FORMATS.get(str(title), "")) for cell in self.frame.iloc[:, number]]
            for number, title in enumerate(self.frame)
        ]
        # rows, since titles may be equal
        rows = list(zip(*columns, strict=True))
        return pd.DataFrame(rows, columns=list(self.frame.columns), dtype=object)

    @property
    def emphasis(self) -> list[list[bool]]:
        """Whether each cell is to be emphasised, row by row."""
        cells = self.frame.to_numpy(dtype=object).tolist()
        return [[isinstance(cell, Spread) and cell.is_best for cell in row] for row in cells]

    def markdown(self) -> str:
        """For the terminal."""
        text = self.text.to_markdown(index=False, tablefmt="github", disable_numparse=True)
        return str(text)

    def document(self) -> str:
        """For a README: title, Markdown table with the best in bold, note."""

        def plain(text: str) -> str:
            return " ".join(escape(text, quote=False).replace("|", "\\|").splitlines())

        cells = self._with_emphasis("**", "**").map(plain).rename(columns=plain)
        table = cells.to_markdown(index=False, tablefmt="github", disable_numparse=True)
        parts = [f"**{plain(self.title)}**", str(table), plain(self.note)]
        return "\n\n".join(filter(None, parts)) + "\n"

    def latex(self) -> str:
        """For a paper, with the package booktabs."""
        text = self._with_emphasis(*LATEX_BOLD).to_latex(index=False, escape=True)
        for symbol, command in LATEX.items():
            text = text.replace(symbol, command)
        return text

    def _with_emphasis(self, before: str, after: str) -> pd.DataFrame:
        """The text with something around the cells to emphasise."""
        rows = zip(self.text.to_numpy().tolist(), self.emphasis, strict=True)
        marked = [
            [
                f"{before}{cell}{after}" if is_best else cell
                for cell, is_best in zip(*row, strict=True)
            ]
            for row in rows
        ]
        return pd.DataFrame(marked, columns=self.text.columns, dtype=object)

    def csv(self) -> str:
        """For a spreadsheet or a program: methods by the names of their configurations."""
        return self._cells().to_csv(index=False, lineterminator="\n")


@dataclass(frozen=True)
class Column:
    """A column of a table with a row for each method.

    Attributes:
        title: Above it.
        cells: By method.
        expected: Methods whose cells were asked for, if it is a column of results.
    """

    title: str
    cells: Mapping[str, Any]
    expected: Collection[str] | None = None

    @classmethod
    def of(
        cls,
        title: str,
        runs: pd.DataFrame,
        make: Callable[[pd.DataFrame], Any],
        expected: Collection[str] | None = None,
    ) -> Column:
        """A cell for the runs of each method."""
        return cls(title, {str(m): make(rows) for m, rows in runs.groupby("model")}, expected)

    def cell(self, method: str) -> Any:
        """The cell of a method."""
        if method in self.cells or self.expected is None:
            return self.cells.get(method, "")
        return NOT_RUN if method in self.expected else NO_RESULT


def by_method(methods: Sequence[str], columns: Sequence[Column]) -> pd.DataFrame:
    """The columns side by side."""
    cells = {n: [column.cell(method) for method in methods] for n, column in enumerate(columns)}
    frame = pd.DataFrame(cells, index=list(methods), dtype=object)
    frame.columns = pd.Index([column.title for column in columns])  # titles may be equal
    frame.insert(0, METHOD, list(methods), allow_duplicates=True)
    return frame


def spread(runs: pd.DataFrame, split: str = "test") -> Spread:
    """The monitored metric of runs that differ in the seed."""
    return Spread(tuple(runs[split]), runs["unit"].iloc[0])


def with_seeds(runs: pd.DataFrame, split: str = "test") -> Spread:
    """The same, and from how many seeds."""
    return replace(spread(runs, split), with_seeds=True)


def _text(cell: Any, number_format: str) -> str:
    if isinstance(cell, str | Spread | Several):
        return str(cell)
    return "" if pd.isna(cell) else f"{cell:{number_format}}"
