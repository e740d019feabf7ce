"""Selection of exchange formats by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dws.errors import UserError
from dws.zoo import Zoo, exchange
from dws.zoo.exchange import export_zoo, import_zoo


@pytest.mark.parametrize(("format", "offset"), [("dwsnets", 0.5), ("nfn", 0.0)])
def test_each_format_has_its_default_output_offset(
    format: Any, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(exchange, f"import_{format}", lambda *_, **given: calls.append(given))
    import_zoo(Path("a"), Path("b"), format=format, grid=[5], num_val=None, prefix=None)
    (given,) = calls
    assert given.pop("inr").output_offset == offset
    assert given == {"grid": [5], "skip_bad": False}


@pytest.mark.parametrize(
    ("format", "option", "name"),
    [("nfn", {"num_val": 3}, "--num-val"), ("dwsnets", {"split_points": (1, 2)}, "--split-points")],
)
def test_option_of_another_format_is_rejected(
    format: Any, option: dict[str, Any], name: str
) -> None:
    with pytest.raises(UserError, match=f"{name} applies to --format"):
        import_zoo(Path("a"), Path("b"), format=format, **option)


@pytest.mark.parametrize(
    ("option", "name"),
    [({"omega_0": -1.0}, "--omega-0 -1.0"), ({"output_offset": float("inf")}, "--output-offset")],
)
def test_option_out_of_range_is_named(option: dict[str, Any], name: str) -> None:
    with pytest.raises(UserError, match=name):
        import_zoo(Path("a"), Path("b"), format="nfn", **option)


def test_parquet_contains_all_labels(sine_zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--label applies to --format dwsnets"):
        export_zoo(sine_zoo, tmp_path / "zoo.parquet", format="parquet", label="frequency")
    file = export_zoo(sine_zoo, tmp_path / "zoo.parquet", format="parquet")
    assert file.is_file()
