"""What a ``manifest.json`` holds, and whether its parts fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from dws.errors import UserError
from dws.io.content import check_content, read_json, read_yaml
from dws.signals import SPLITS
from dws.weightspace import WeightSpaceSpec

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
CONFIG = "config.yaml"  # beside it: the settings that the folder belongs to
ALIGNED_TO = "aligned_to"  # key of the manifest of a zoo that ``align_zoo`` made
Size = Annotated[int, Field(ge=1)]


class Versioned(TypedDict):
    """What every manifest has had."""

    format_version: int


class Preset(TypedDict):
    """What the settings of the fit are called."""

    name: str


class Signals(TypedDict):
    """What was fitted; other keys are those of ``SignalSource.describe``."""

    name: str


class Sharding(TypedDict):
    """Of ``ZooConfig``."""

    seed: int
    num_views: Size
    shard_size: Size


class Architecture(TypedDict):
    """Of ``SirenConfig``."""

    omega_0: float
    output_offset: float


class Domain(TypedDict):
    """Where the signals are defined: ends of each input, points along each."""

    low: list[float]
    high: list[float]
    grid: list[Size]


class Quantiles(TypedDict):
    """Of the PSNR in dB."""

    q05: float
    median: float
    q95: float


class Manifest(TypedDict):
    """What reading relies on in a ``manifest.json``."""

    dims: list[Size]
    num_rows: Size
    splits: dict[str, Annotated[list[int], Field(min_length=2, max_length=2)]]
    labels: list[str]
    domain: Domain
    signals: Signals
    zoo: Sharding
    inr: Architecture
    fit: dict[str, Any] | None
    fit_preset: NotRequired[Preset]
    shards: list[str]
    train_mean: dict[str, float]
    train_std: dict[str, float]
    train_psnr: Quantiles | None
    train_num_steps_median: int | None
    versions: dict[str, str]


def split_rows(sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """First row and end of each split, of so many rows; they follow each other as in ``SPLITS``."""
    splits: dict[str, list[int]] = {}
    start = 0
    for name in SPLITS:
        splits[name], start = [start, start + sizes[name]], start + sizes[name]
    return splits


def num_shards(plan: Mapping[str, Any]) -> int:
    """Files of a zoo, from its plan or manifest."""
    return int(-(-plan["num_rows"] // plan["zoo"]["shard_size"]))


class OtherFormatError(UserError):
    """A zoo of an older or newer format: not damaged, and not to be written over."""


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a zoo, with everything that reading the zoo relies on.

    Raises:
        FileNotFoundError: If there is none.
        OtherFormatError: If it is of another format.
        ValueError: If it is damaged; the message says what to do.
    """
    file = folder / MANIFEST
    what = f"the manifest of a zoo in {file}"
    try:
        manifest = read_json(file)
        check_content(manifest, Versioned, what=what)
        version = manifest["format_version"]
        if version != FORMAT_VERSION:
            remedy = (
                "update dws" if version > FORMAT_VERSION else f"remove {folder} and fit it again"
            )
            raise OtherFormatError(
                f"expected format version {FORMAT_VERSION} in {file}, got {version}; {remedy}"
            )
        check_content(manifest, Manifest, what=what)
        check_layout(manifest, what=what)
        if len(manifest["shards"]) != (expected := num_shards(manifest)):
            raise UserError(
                f"expected {what}, got one that does not fit: {len(manifest['shards'])} shards "
                f"instead of {expected}"
            )
    except OtherFormatError:
        raise
    except ValueError as error:
        raise UserError(f"{error}; {how_to_make_again(folder)}") from error
    return dict(manifest)


def how_to_make_again(folder: Path) -> str:
    """Which command repairs a zoo with a damaged file, as the settings in its folder tell."""
    try:
        settings = read_yaml(folder / CONFIG)
    except (OSError, ValueError):
        settings = None
    if not isinstance(settings, Mapping):
        return f"remove {folder} and fit or import the zoo again"
    if ALIGNED_TO in settings:
        return f"remove {folder}, and the command that needs it makes it again"
    if settings.get("fit") is None:
        return "the dws-zoo import command that made the zoo makes it again"
    return "dws-fit-inrs with the zoo's settings makes it again"


def check_layout(plan: Mapping[str, Any], *, what: str) -> None:
    """Make sure that widths, domain and splits of a plan or manifest fit each other.

    Args:
        plan: With ``dims``, ``domain``, ``splits`` and ``num_rows``.
        what: What it should be, and where it is, for the message.

    Raises:
        ValueError: With what does not fit.
    """
    try:
        spec, domain = WeightSpaceSpec(tuple(plan["dims"])), plan["domain"]
        if {len(domain[key]) for key in ("low", "high", "grid")} != {spec.dims[0]}:
            raise UserError(f"a domain that is not one of {spec.dims[0]} inputs: {domain}")
        end = 0
        for split in SPLITS:  # each begins where the one before it ends, so that none overlap
            start, stop = plan["splits"].get(split, (0, 0))
            if not end == start < stop <= plan["num_rows"]:
                raise UserError(f"rows {start} to {stop} for split {split}")
            end = stop
    except ValueError as error:
        raise UserError(f"expected {what}, got one that does not fit: {error}") from error
