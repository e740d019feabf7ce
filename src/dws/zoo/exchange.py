"""Import and export of zoos by the name of the format."""

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
# options of dws-zoo that apply to one format only
FORMAT_OF_OPTION = {
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
    **format_options: Any,
) -> Zoo:
    """Create a zoo from the files of another project.

    Args:
        source: A folder of ``.pth`` files, or for dwsnets a JSON file with the splits.
        path: Folder of the new zoo.
        format: Format of the files.
        grid: Number of points along each axis at which the signals were sampled; None for 28 x 28.
        domain: Lowest and highest coordinate, once for all inputs or once per input; None for -1
            and 1.
        omega_0: Frequency factor ω0 of the sines.
        output_offset: Constant added to the output; None for 0.5 (dwsnets) or 0 (nfn).
        skip_bad: Skip and list files that cannot be imported instead of raising an error.
        **format_options: Other arguments of ``import_dwsnets`` or ``import_nfn``; None for the
            default.

    Raises:
        UserError: If an option applies to the other format, or for the reasons that
            ``import_dwsnets`` and ``import_nfn`` list.
    """
    offset = OUTPUT_OFFSETS[format] if output_offset is None else output_offset
    all_options = {"grid": grid, "domain": domain, **_check_options(format_options, format)}
    options = {name: value for name, value in all_options.items() if value is not None}
    try:
        inr = SirenConfig(omega_0=omega_0, output_offset=offset)
    except ValidationError as error:
        problem = error.errors()[0]
        option = _option(str(problem["loc"][0]))
        raise UserError(f"{option} {problem['input']}: {problem['msg']}") from error
    if format == "nfn":
        return import_nfn(source, path, inr=inr, skip_bad=skip_bad, **options)
    return import_dwsnets(source, path, inr=inr, skip_bad=skip_bad, **options)


def export_zoo(
    zoo: Zoo, target: Path, *, format: Literal["dwsnets", "parquet"], label: str | None = None
) -> Path:
    """Export a zoo to the format of another project, or to Parquet.

    Args:
        zoo: The zoo.
        target: The new folder, or the new file for parquet.
        format: Format to write.
        label: Name of the label to export to dwsnets; None for ``label``.

    Returns:
        The file to open: the JSON file with the splits for dwsnets, otherwise ``target``.

    Raises:
        UserError: If the target exists, or the format does not support the label.
    """
    options = _check_options({"label": label}, format)
    if format == "dwsnets":
        return export_dwsnets(zoo, target, **options)
    export_parquet(zoo, target)
    return target


def _check_options(options: dict[str, Any], format: str) -> dict[str, Any]:
    """Select the options that are not None.

    Raises:
        UserError: If one of them applies to another format only.
    """
    set_options = {name: value for name, value in options.items() if value is not None}
    for name in set_options:
        if FORMAT_OF_OPTION[name] != format:
            raise UserError(
                f"{_option(name)} applies to --format {FORMAT_OF_OPTION[name]}, not to {format}. "
                "Omit it."
            )
    return set_options


def _option(name: str) -> str:
    """Command-line option of an argument."""
    return "--" + name.replace("_", "-")
