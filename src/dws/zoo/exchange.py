"""Zoos from and for other projects, by the name of the format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from dws.errors import UserError
from dws.inr import SirenConfig
from dws.zoo.dwsnets import export_dwsnets, import_dwsnets
from dws.zoo.nfn import import_nfn
from dws.zoo.parquet import export_parquet
from dws.zoo.store import Zoo

OUTPUT_OFFSETS = {"dwsnets": 0.5, "nfn": 0.0}  # of the released networks
# options of dws-zoo that only one format has
ONLY_FOR = {
    "num_val": "dwsnets",
    "file_name": "dwsnets",
    "root": "dwsnets",
    "prefix": "nfn",
    "split_points": "nfn",
    "label": "dwsnets",
}


def import_zoo(
    source: Path,
    path: Path,
    *,
    format: Literal["dwsnets", "nfn"],
    grid: Sequence[int] | None = None,
    domain: Sequence[float] | None = None,
    omega_0: float = 30.0,
    output_offset: float | None = None,
    skip_bad: bool = False,
    **of_format: Any,
) -> Zoo:
    """Make a zoo of the files of another project.

    Args:
        source: A folder of ``.pth`` files, or for dwsnets a JSON file with splits.
        path: Folder of the new zoo.
        format: Which project's.
        grid: Points along each axis at which the signals were sampled; None for 28 x 28.
        domain: Lowest and highest coordinate of all inputs, or such a pair for each input; None
            for -1 and 1.
        omega_0: ω0 of the sines.
        output_offset: Added to the output; None for 0.5 of dwsnets and 0 of nfn.
        skip_bad: Leave out and print bad files instead of stopping.
        **of_format: Other arguments of ``import_dwsnets`` or ``import_nfn``; None for the default.

    Raises:
        UserError: If an argument is for the other format, or on the complaints of these functions.
    """
    offset = OUTPUT_OFFSETS[format] if output_offset is None else output_offset
    of_all = {"grid": grid, "domain": domain, **_given(of_format, format)}
    given = {name: value for name, value in of_all.items() if value is not None}
    try:
        inr = SirenConfig(omega_0=omega_0, output_offset=offset)
    except ValidationError as error:
        problem = error.errors()[0]
        option = _option(str(problem["loc"][0]))
        raise UserError(f"{option} {problem['input']}: {problem['msg']}") from error
    if format == "nfn":
        return import_nfn(source, path, inr=inr, skip_bad=skip_bad, **given)
    return import_dwsnets(source, path, inr=inr, skip_bad=skip_bad, **given)


def export_zoo(
    zoo: Zoo, target: Path, *, format: Literal["dwsnets", "parquet"], label: str | None = None
) -> Path:
    """Write a zoo for another project.

    Args:
        zoo: What to write.
        target: The new folder, for parquet the new file.
        format: Which project's.
        label: For dwsnets the label to write; None for ``label``.

    Returns:
        The file to open: for dwsnets the JSON file with the splits.

    Raises:
        UserError: If the target exists, or the format cannot have this label.
    """
    given = _given({"label": label}, format)
    if format == "dwsnets":
        return export_dwsnets(zoo, target, **given)
    export_parquet(zoo, target)
    return target


def _given(options: dict[str, Any], format: str) -> dict[str, Any]:
    """The options that are not None.

    Raises:
        UserError: If one of them is for another format.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if ONLY_FOR[name] != format:
            raise UserError(
                f"{_option(name)} is for --format {ONLY_FOR[name]}, not for {format}; leave it out"
            )
    return given


def _option(name: str) -> str:
    """The option of ``dws-zoo`` that gives an argument."""
    return "--" + name.replace("_", "-")
