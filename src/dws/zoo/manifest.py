"""The content of ``manifest.json``, and its validation."""

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
CONFIG = "config.yaml"  # settings that the zoo's folder is bound to
ALIGNED_TO = "aligned_to"  # manifest key of a zoo that ``align_zoo`` created
MLP = "mlp"  # manifest key of networks other than SIRENs and classifiers
NOUNS = {"inr": "INRs", "classifier": "classifiers", MLP: "networks"}  # by kind of network
LOSS_COLUMNS = {"inr": "mse", "classifier": "cross_entropy", MLP: "loss"}
COMBINED = "combined"  # manifest key of a zoo that ``combine_zoos`` created
Size = Annotated[int, Field(ge=1)]
Number = int | float  # not converted: 30 and 30.0 have different hashes


class Section(Record):
    """Section of a manifest. Unknown keys are preserved."""

    model_config = ConfigDict(extra="allow")


class Versioned(Section):
    """The entry that manifests of all format versions have."""

    format_version: int


class Preset(Section):
    """Name of the settings of the fit."""

    name: str


class Signals(Section):
    """Source of the zoo; other keys come from ``SignalSource.describe``."""

    name: str


class Sharding(Section):
    """Section of ``ZooConfig``."""

    seed: int
    num_views: Size
    shard_size: Size


class Architecture(Section):
    """Section of ``SirenConfig``."""

    omega_0: Number
    output_offset: Number


class ClassifierArchitecture(Section):
    """Section of ``ClassifierConfig``.

    Attributes:
        activation: Activation function of the hidden levels.
    """

    activation: Literal["relu"]


class OtherArchitecture(Section):
    """Section of MLPs that are neither SIRENs nor classifiers of dws, see ``write_zoo``.

    Attributes:
        activation: Activation function of the hidden levels.
    """

    activation: str


class Domain(Section):
    """Domain on which the signals are defined.

    Attributes:
        low: Lowest coordinate of each input.
        high: Highest coordinate of each input.
        grid: Number of points along each input.
    """

    low: list[Number]
    high: list[Number]
    grid: list[Size]


class AlignedTo(Section):
    """The reference network of an aligned zoo.

    Attributes:
        row: Row of the reference network.
        source: Digest of the original zoo.
    """

    row: int
    source: str


class CombinedZoo(Section):
    """One of the zoos of which a zoo was combined.

    Attributes:
        source: Digest of the zoo.
        zoo: Its seed and sizes.
        inr: The architecture and initialisation of its INRs; None for classifiers.
        classifier: The architecture and initialisation of its classifiers; None for INRs.
        fit: Settings of its fit; None for imported networks.
    """

    source: str
    zoo: Sharding
    inr: Architecture | None = None
    classifier: ClassifierArchitecture | None = None
    fit: dict[str, Any] | None


class Quantiles(Section):
    """Quantiles of the PSNR in dB, or of the cross-entropy in nats."""

    q05: float
    median: float
    q95: float


class Plan(Versioned):
    """The manifest entries that do not depend on the fitted networks.

    Attributes:
        format_version: Version of the file format.
        signals: Source of the zoo.
        zoo: Seed and sizes.
        inr: The architecture of INRs; None for other networks.
        classifier: The architecture of classifiers; None for other networks.
        mlp: The architecture of other networks; None for INRs and classifiers.
        fit: Settings of the fit; None for imported networks and for different fits.
        fit_preset: Name of the settings of the fit; None if unknown.
        dims: Widths of the networks.
        num_rows: Number of networks.
        splits: First row (inclusive) and last row (exclusive) of each split.
        labels: Names of the labels.
        domain: Domain of the signals; None for networks other than INRs.
        aligned_to: Reference network of an aligned zoo; None for other zoos.
        combined: The zoos of which a zoo was combined; None for other zoos.
    """

    signals: Signals
    zoo: Sharding
    inr: Architecture | None = None
    classifier: ClassifierArchitecture | None = None
    mlp: OtherArchitecture | None = None
    fit: dict[str, Any] | None
    fit_preset: Preset | None = None
    dims: list[Size]
    num_rows: Size
    splits: dict[str, Annotated[list[int], Field(min_length=2, max_length=2)]]
    labels: list[str]
    domain: Domain | None = None
    aligned_to: AlignedTo | None = None
    combined: list[CombinedZoo] | None = None

    @property
    def noun(self) -> str:
        """The kind of networks, in the plural."""
        return NOUNS[self.kind]

    @property
    def kind(self) -> str:
        """Name of the section of the architecture."""
        return "inr" if self.inr else "classifier" if self.classifier else MLP

    @property
    def loss_column(self) -> str:
        """Name of the shard column with the final loss of each fit."""
        return LOSS_COLUMNS[self.kind]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the shard columns besides weights and labels."""
        return ("signal_id", "view", "num_steps", self.loss_column)

    @property
    def num_shards(self) -> int:
        """Number of shards of the zoo."""
        return -(-self.num_rows // self.zoo.shard_size)


class Manifest(Plan):
    """A ``manifest.json``.

    Attributes:
        shards: SHA-256 of each shard.
        train_mean: Mean of the weights and of the biases of each layer, over the training split.
        train_std: Standard deviation of the weights and of the biases of each layer.
        train_psnr: Quantiles over the training split; None for imported networks and classifiers.
        train_cross_entropy: Quantiles over the training split; None for INRs.
        train_num_steps_median: Median number of steps of a fit in the training split; None for
            imported networks.
        versions: Versions of dws and torch that created the zoo.
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
    """First row (inclusive) and last row (exclusive) of each split, in the order of ``SPLITS``.

    Args:
        sizes: Number of rows of each split.
    """
    splits: dict[str, list[int]] = {}
    start = 0
    for name in SPLITS:
        splits[name], start = [start, start + sizes[name]], start + sizes[name]
    return splits


class OtherFormatError(UserError):
    """Error for a zoo of an older or newer format, which must not be overwritten."""


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a zoo.

    Raises:
        FileNotFoundError: If the manifest does not exist.
        OtherFormatError: If it has another format version.
        ValueError: If it is damaged.
    """
    file = folder / MANIFEST
    what = f"zoo manifest in {file}"
    try:
        content = read_json(file)
        version = check_content(content, Versioned, what=what).format_version
        if version != FORMAT_VERSION:
            remedy = (
                "Update dws." if version > FORMAT_VERSION else f"Remove {folder} and fit it again."
            )
            raise OtherFormatError(
                f"{file} has format version {version}, but this version of dws supports "
                f"{FORMAT_VERSION}. {remedy}"
            )
        manifest = to_plan(content, Manifest, what=what)
        if len(manifest.shards) != manifest.num_shards:
            raise UserError(
                f"Invalid {what}: {len(manifest.shards)} shards instead of {manifest.num_shards}"
            )
    except OtherFormatError:
        raise
    except ValueError as error:
        raise UserError(f"{error}. {repair_advice(folder)}") from error
    return manifest


def repair_advice(folder: Path) -> str:
    """How to repair a zoo with a damaged file, depending on the settings in its folder."""
    try:
        settings = read_yaml(folder / CONFIG)
    except (OSError, ValueError):
        settings = None
    if not isinstance(settings, Mapping):
        return f"Remove {folder} and fit or import the zoo again."
    if ALIGNED_TO in settings:
        return f"Remove {folder}. The command that needs it creates it again."
    if COMBINED in settings:
        return "Rerun the dws-zoo combine command that created the zoo."
    if settings.get("fit") is None:
        return "Rerun the dws-zoo import command or the call of write_zoo that created the zoo."
    return "Run dws-fit-inrs with the zoo's settings to repair it."


def to_plan(content: object, kind: type[AnyPlan], *, what: str) -> AnyPlan:
    """Convert plain values to a plan or manifest; checks that its entries are consistent.

    Args:
        content: The values.
        kind: ``Plan`` or a class derived from it.
        what: Name of the content for the error message, such as "zoo manifest in FILE".

    Raises:
        ValueError: If an entry is missing, invalid or inconsistent. The message names it.
    """
    plan = check_content(content, kind, what=what)
    domain = plan.domain
    try:
        spec = WeightSpaceSpec(tuple(plan.dims))
        if [plan.inr, plan.classifier, plan.mlp].count(None) != 2:
            raise UserError("needs one of inr, classifier and mlp")
        if (plan.inr is None) != (domain is None):
            raise UserError("needs a domain for INRs, and none for other networks")
        if domain and {len(domain.low), len(domain.high), len(domain.grid)} != {spec.dims[0]}:
            raise UserError(
                f"the domain must have {spec.dims[0]} inputs, as the networks, got "
                f"{domain.content()}"
            )
        end = 0
        for split in SPLITS:  # splits are contiguous and do not overlap
            start, stop = plan.splits.get(split, (0, 0))
            if not end == start < stop <= plan.num_rows:
                raise UserError(f"rows {start} to {stop} for split {split}")
            end = stop
    except ValueError as error:
        raise UserError(f"Invalid {what}: {error}") from error
    return plan
