from __future__ import annotations

import math

import pandas as pd
import pytest

from dws.report.tables import Several, Spread, Table


def test_table_is_written_in_three_formats() -> None:
    frame = pd.DataFrame({"method": ["x_y & <z>", "w"], "a, b": ["50 %", "1.0"]})
    table = Table("t", "title", frame)
    assert [line.split("|")[2].strip() for line in table.markdown().splitlines()[2:]] == [
        "50 %",
        "1.0",
    ]
    assert table.csv() == 'method,"a, b"\nx_y & <z>,50 %\nw,1.0\n'
    latex = table.latex()
    assert "\\toprule" in latex
    assert r"x\_y \& " in latex
    assert r"50 \%" in latex


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5, 0.7, math.nan], "0.6000 ± 0.1414 (1 of 3 not finite)"),
        ([0.5, math.inf, -math.inf], "0.5000 (2 of 3 not finite)"),
        ([math.nan], "nan"),
        ([math.inf, math.inf], "inf"),
        ([math.inf, math.nan], "not finite"),
        ([None, 0.5], "0.5000 (1 of 2 not known)"),
        ([None, None], "not known"),
    ],
)
def test_nonfinite_values_are_counted(values: list[float | None], expected: str) -> None:
    assert str(Spread(values)) == expected


def test_nonfinite_values_are_shown_with_fractions_and_seeds() -> None:
    values = [0.5, 0.7, math.nan]
    text = str(Spread(values, unit="%", with_seeds=True))
    assert text == "60.0 ± 14.1 % (n = 3, 1 not finite)"
    assert str(Spread([0.5, 0.7], unit="rad")) == "0.6000 ± 0.1414 rad"
    assert str(Spread([math.nan] * 2, unit="%", with_seeds=True)) == "nan (n = 2)"


def test_hundredths_are_formatted_as_hundredths() -> None:
    cell = Spread([0.0251, 0.0255], unit="×10⁻²")
    assert str(cell) == "2.53 ± 0.03 ×10⁻²"
    table = Table("t", "title", pd.DataFrame({"here": [cell]}, dtype=object))
    assert r"2.53 ± 0.03 $\times 10^{-2}$" in table.latex()


def test_multiline_cell_is_one_markdown_row() -> None:
    table = Table("t", "title", pd.DataFrame({"model": ["a\nb"]}))
    assert "| a b" in table.document()


def test_table_cells_remain_numbers_until_writing() -> None:
    cells = [Several([1234, 5678], " / ", ","), Spread([0.5, 0.7])]
    frame = pd.DataFrame({"parameters": [1_000_000, None], "x": cells}, dtype=object)
    table = Table("t", "title", frame)
    assert table.csv() == 'parameters,x\n"1,000,000","1,234 / 5,678"\n,0.6000 ± 0.1414\n'


def test_columns_with_equal_titles_are_distinct() -> None:
    frame = pd.DataFrame([["a", "b"]], columns=["MNIST", "MNIST"])
    table = Table("t", "title", frame)
    assert table.csv() == "MNIST,MNIST\na,b\n"
    assert "| a" in table.document()
    assert "a & b" in table.latex()
