"""What a ``manifest.json`` holds, and whether its parts fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field

from dws.errors import UserError
from dws.io.content import check_content, read_json, read_yaml
from dws.io.record import Record
from dws.signals import SPLITS
from dws.weightspace import WeightSpaceSpec

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
CONFIG = "config.yaml"  # beside it: the settings that the folder belongs to
ALIGNED_TO = "aligned_to"  # key of the manifest of a zoo that ``align_zoo`` made
Size = Annotated[int, Field(ge=1)]
Number = int | float  # as in the file, where 30 and 30.0 have different hashes


class Section(Record):
    """Part of a manifest, whose other keys are kept as they are."""

    model_config = ConfigDict(extra="allow")


class Versioned(Section):
    """What every manifest has had."""

    format_version: int


class Preset(Section):
    """What the settings of the fit are called."""

    name: str


class Signals(Section):
    """What was fitted; other keys are those of ``SignalSource.describe``."""

    name: str


class Sharding(Section):
    """Of ``ZooConfig``."""

    seed: int
    num_views: Size
    shard_size: Size


class Architecture(Section):
    """Of ``SirenConfig``."""

    omega_0: Number
    output_offset: Number


class ClassifierArchitecture(Section):
    """Of ``ClassifierConfig``.

    Attributes:
        activation: Of the hidden levels.
    """

    activation: Literal["relu"]


class Domain(Section):
    """Where the signals are defined.

    Attributes:
        low: Lower end of each input.
        high: Upper end of each input.
        grid: Number of points along each input.
    """

    low: list[Number]
    high: list[Number]
    grid: list[Size]


class AlignedTo(Section):
    """The network that all others of an aligned zoo are aligned to.

    Attributes:
        row: Its row.
        source: Digest of the zoo that was aligned.
    """

    row: int
    source: str


class Quantiles(Section):
    """Of the PSNR in dB or the cross-entropy in nats."""

    q05: float
    median: float
    q95: float


class Plan(Versioned):
    """A zoo whose shards need not be there yet.

    Attributes:
        format_version: Of the file.
        signals: What is fitted.
        zoo: Seed and sizes.
        inr: The architecture of INRs; None if the networks are none.
        classifier: The architecture of classifiers; None if the networks are none.
        fit: How they are fitted; None for imported networks.
        fit_preset: Name of the settings of the fit; None if it is not known.
        dims: Widths of the networks.
        num_rows: Number of networks.
        splits: First row and end of each split.
        labels: Names of the labels.
        domain: Where the signals are defined; None for classifiers.
        aligned_to: Which network all others are aligned to; None if they are not aligned.
    """

    signals: Signals
    zoo: Sharding
    inr: Architecture | None = None
    classifier: ClassifierArchitecture | None = None
    fit: dict[str, Any] | None
    fit_preset: Preset | None = None
    dims: list[Size]
    num_rows: Size
    splits: dict[str, Annotated[list[int], Field(min_length=2, max_length=2)]]
    labels: list[str]
    domain: Domain | None = None
    aligned_to: AlignedTo | None = None

    @property
    def noun(self) -> str:
        """What the networks are, in the plural."""
        return "INRs" if self.inr else "classifiers"

    @property
    def loss_column(self) -> str:
        """Name of the column of the shards that says how well each network fits."""
        return "mse" if self.inr else "cross_entropy"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a shard, beside networks and labels."""
        return ("signal_id", "view", "num_steps", self.loss_column)

    @property
    def num_shards(self) -> int:
        """Number of files of the zoo."""
        return -(-self.num_rows // self.zoo.shard_size)


class Manifest(Plan):
    """A ``manifest.json``.

    Attributes:
        shards: SHA-256 of each shard.
        train_mean: Mean of the weights and biases of each layer, over the training split.
        train_std: Their standard deviation.
        train_psnr: Quantiles over the training split; None for imported networks and classifiers.
        train_cross_entropy: Quantiles over the training split; None for INRs.
        train_num_steps_median: Steps of the fit, median over the training split; None for imported
            networks.
        versions: Of dws and torch, which made the zoo.
    """

    shards: list[str]
    train_mean: dict[str, float]
    train_std: dict[str, float]
    train_psnr: Quantiles | None
    train_cross_entropy: Quantiles | None = None
    train_num_steps_median: int | None
    versions: dict[str, str]


AnyPlan = TypeVar("AnyPlan", bound=Plan)


def split_rows(sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """First row and end of each split, of so many rows; they follow each other as in ``SPLITS``."""
    splits: dict[str, list[int]] = {}
    start = 0
    for name in SPLITS:
        splits[name], start = [start, start + sizes[name]], start + sizes[name]
    return splits


class OtherFormatError(UserError):
    """A zoo of an older or newer format: not damaged, and not to be written over."""


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a zoo.

    Raises:
        FileNotFoundError: If there is none.
        OtherFormatError: If it is of another format.
        ValueError: If it is damaged; the message says what to do.
    """
    file = folder / MANIFEST
    what = f"the manifest of a zoo in {file}"
    try:
        content = read_json(file)
        version = check_content(content, Versioned, what=what).format_version
        if version != FORMAT_VERSION:
            remedy = (
                "update dws" if version > FORMAT_VERSION else f"remove {folder} and fit it again"
            )
            raise OtherFormatError(
                f"expected format version {FORMAT_VERSION} in {file}, got {version}; {remedy}"
            )
        manifest = to_plan(content, Manifest, what=what)
        if len(manifest.shards) != manifest.num_shards:
            raise UserError(
                f"expected {what}, got one that does not fit: {len(manifest.shards)} shards "
                f"instead of {manifest.num_shards}"
            )
    except OtherFormatError:
        raise
    except ValueError as error:
        raise UserError(f"{error}; {how_to_make_again(folder)}") from error
    return manifest


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


def to_plan(content: object, kind: type[AnyPlan], *, what: str) -> AnyPlan:
    """Plain values as a plan or manifest whose widths, domain and splits fit each other.

    Args:
        content: The values.
        kind: ``Plan`` or a class derived from it.
        what: What it should be, and where it is, for the message.

    Raises:
        ValueError: With what does not fit.
    """
    plan = check_content(content, kind, what=what)
    domain = plan.domain
    try:
        spec = WeightSpaceSpec(tuple(plan.dims))
        if (plan.inr is None) == (plan.classifier is None):
            raise UserError("needs one of inr and classifier")
        if (plan.inr is None) != (domain is None):
            raise UserError("needs a domain for INRs, and none for classifiers")
        if domain and {len(domain.low), len(domain.high), len(domain.grid)} != {spec.dims[0]}:
            raise UserError(
                f"a domain that is not one of {spec.dims[0]} inputs: {domain.content()}"
            )
        end = 0
        for split in SPLITS:  # each begins where the one before it ends, so that none overlap
            start, stop = plan.splits.get(split, (0, 0))
            if not end == start < stop <= plan.num_rows:
                raise UserError(f"rows {start} to {stop} for split {split}")
            end = stop
    except ValueError as error:
        raise UserError(f"expected {what}, got one that does not fit: {error}") from error
    return plan
