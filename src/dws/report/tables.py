"""Tables of the report, and their formatting as Markdown, LaTeX, CSV and HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from statistics import mean, stdev
from typing import Any

import pandas as pd

from dws.report.methods import method_title

NOT_RUN = "not run"  # a requested result that is missing
NO_RESULT = "–"
METHOD = "method"  # title of the column with names of methods
SPREAD = "mean ± standard deviation over n seeds"
PERMUTED = (
    "the test metric with the hidden neurons of every test network permuted, which does not change "
    "the function of a network. Changed: the share of predicted classes that the permutation "
    "changes, or the mean squared difference of predicted numbers."
)
# format of numbers by column title
FORMATS = {
    "trained on": ",",
    "parameters": ",",
    "epochs": ".0f",
    "INRs": ",",
    "networks/s": ",.0f",
    "minutes": ",.1f",
    "minutes a run": ",.1f",
}

SCALES = {"%": (100, 1), "×10⁻²": (100, 2)}  # factor and number of decimals, by unit

LATEX_BOLD = ("\ue000", "\ue001")  # private characters, which escaping leaves unchanged
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
    """A metric over seeds, formatted as mean ± standard deviation.

    The deviation is omitted for a single value. Values that are not finite or None are excluded
    from the mean, and the text gives their number.

    Attributes:
        values: Value of each seed; None if unknown.
        unit: Unit of the values: "%" for fractions of 1, "×10⁻²" to show hundredths.
        digits: Number of decimals; None for the default of ``SCALES``.
        with_seeds: Whether the text gives the number of seeds, such as ``(n = 3)``.
        is_best: Whether the cell is emphasised.
    """

    values: Sequence[float | None]
    unit: str = ""
    digits: int | None = None
    with_seeds: bool = False
    is_best: bool = False

    @property
    def mean(self) -> float:
        """Mean of the finite values; NaN if there are none."""
        finite = [value for value in self.values if value is not None and math.isfinite(value)]
        return mean(finite) if finite else math.nan

    def rounded(self, value: float) -> str:
        """Format a value with the displayed number of decimals."""
        scale, default = SCALES.get(self.unit, (1, 4))
        return f"{scale * value:.{default if self.digits is None else self.digits}f}"

    def __str__(self) -> str:
        finite = [value for value in self.values if value is not None and math.isfinite(value)]
        num_excluded = len(self.values) - len(finite)
        kind = "not known" if None in self.values else "not finite"
        if finite:
            text = self.rounded(mean(finite))
            if len(finite) > 1:
                text += f" ± {self.rounded(stdev(finite))}"
            text += f" {self.unit}" if self.unit else ""
        else:
            kinds = {str(value) for value in self.values}
            text = kind if len(kinds) > 1 or None in self.values else kinds.pop()
            num_excluded = 0
        if self.with_seeds:
            excluded = f", {num_excluded} {kind}" if num_excluded else ""
            return f"{text} (n = {len(self.values)}{excluded})"
        return text + (f" ({num_excluded} of {len(self.values)} {kind})" if num_excluded else "")


@dataclass(frozen=True)
class Several:
    """Several values in one cell.

    Attributes:
        parts: The values.
        join: Separator.
        format: Format of each value.
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
        name: Name of its files.
        title: Title.
        frame: Cells: numbers, ``Spread``, ``Several`` and text. Missing cells are shown empty, and
            the index is not shown.
        note: Note below the table.
    """

    name: str
    title: str
    frame: pd.DataFrame
    note: str = ""

    @property
    def text(self) -> pd.DataFrame:
        """Formatted cells, with the titles of methods."""
        text = self._cells()
        if METHOD in text:
            text[METHOD] = text[METHOD].map(method_title)
        return text

    def _cells(self) -> pd.DataFrame:
        columns = [
            [_text(cell, FORMATS.get(str(title), "")) for cell in self.frame.iloc[:, number]]
            for number, title in enumerate(self.frame)
        ]
        # built from rows, as column titles may be equal
        rows = list(zip(*columns, strict=True))
        return pd.DataFrame(rows, columns=list(self.frame.columns), dtype=object)

    @property
    def emphasis(self) -> list[list[bool]]:
        """Whether each cell is emphasised, by row."""
        cells = self.frame.to_numpy(dtype=object).tolist()
        return [[isinstance(cell, Spread) and cell.is_best for cell in row] for row in cells]

    def markdown(self) -> str:
        """Format as a Markdown table for the terminal."""
        text = self.text.to_markdown(index=False, tablefmt="github", disable_numparse=True)
        return str(text)

    def document(self) -> str:
        """Format as a Markdown document: title, table with the best results in bold, and note."""

        def plain(text: str) -> str:
            return " ".join(escape(text, quote=False).replace("|", "\\|").splitlines())

        cells = self._with_emphasis("**", "**").map(plain).rename(columns=plain)
        table = cells.to_markdown(index=False, tablefmt="github", disable_numparse=True)
        parts = [f"**{plain(self.title)}**", str(table), plain(self.note)]
        return "\n\n".join(filter(None, parts)) + "\n"

    def latex(self) -> str:
        """Format as LaTeX; needs the package booktabs."""
        text = self._with_emphasis(*LATEX_BOLD).to_latex(index=False, escape=True)
        for symbol, command in LATEX.items():
            text = text.replace(symbol, command)
        return text

    def _with_emphasis(self, before: str, after: str) -> pd.DataFrame:
        """The text, with marks around emphasised cells."""
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
        """Format as CSV, with the names of methods instead of their titles."""
        return self._cells().to_csv(index=False, lineterminator="\n")


@dataclass(frozen=True)
class Column:
    """A column of a table with one row per method.

    Attributes:
        title: Title.
        cells: Cells by method.
        expected: Methods whose results are requested; None if the column contains no results.
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
        """Create a column from the runs of each method.

        Args:
            title: Title.
            runs: Runs of all methods.
            make: Maps the runs of a method to its cell.
            expected: Methods whose results are requested.
        """
        return cls(title, {str(m): make(rows) for m, rows in runs.groupby("model")}, expected)

    def cell(self, method: str) -> Any:
        """The cell of a method; for missing results, whether the result was requested."""
        if method in self.cells or self.expected is None:
            return self.cells.get(method, "")
        return NOT_RUN if method in self.expected else NO_RESULT


def by_method(methods: Sequence[str], columns: Sequence[Column]) -> pd.DataFrame:
    """Combine columns to a frame with one row per method."""
    cells = {n: [column.cell(method) for method in methods] for n, column in enumerate(columns)}
    frame = pd.DataFrame(cells, index=list(methods), dtype=object)
    frame.columns = pd.Index([column.title for column in columns])  # titles may be equal
    frame.insert(0, METHOD, list(methods), allow_duplicates=True)
    return frame


def spread(runs: pd.DataFrame, split: str = "test") -> Spread:
    """The monitored metric over runs that differ in the seed."""
    return Spread(tuple(runs[split]), runs["unit"].iloc[0])


def with_seeds(runs: pd.DataFrame, split: str = "test") -> Spread:
    """The monitored metric over runs that differ in the seed, with the number of seeds."""
    return replace(spread(runs, split), with_seeds=True)


def changes(runs: pd.DataFrame) -> Spread | None:
    """Change of the predictions by a permutation of hidden neurons; None if no run has it."""
    if runs["permutation_change"].isna().all():
        return None
    unit = "%" if runs["result"].iloc[0].confusion else ""
    return Spread([result.permutation_change for result in runs["result"]], unit)


def _text(cell: Any, number_format: str) -> str:
    if isinstance(cell, str | Spread | Several):
        return str(cell)
    return "" if pd.isna(cell) else f"{cell:{number_format}}"
