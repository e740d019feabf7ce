"""Titles, tables and published values of tasks (Navon et al., ICML 2023).

A task that is not listed, such as a user's own, has a table with all its metrics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dws.evaluation.result import Result
from dws.io.names import distinct_file_name


@dataclass(frozen=True)
class Family:
    """Tasks whose test results are in the same table.

    Attributes:
        name: Name of the table's files.
        section: Title of the section.
        title: Title of the table.
        metrics: Titles of further metrics in the table, by name. None for all metrics and the
            monitored validation metric.
        by_size: Whether the table has one column per number of training networks.
        is_of_paper: Whether the methods of Navon et al. (ICML 2023) have a separate table.
    """

    name: str
    section: str
    title: str
    metrics: Mapping[str, str] | None = None
    by_size: bool = False
    is_of_paper: bool = False


@dataclass(frozen=True)
class TaskInfo:
    """Title, table and published values of a task.

    Attributes:
        title: Title in text and above columns.
        family: The table of the results.
        metric: Label of the monitored metric on axes; empty for its name in results.
        published: Published mean and standard deviation over seeds, by method, as printed. The
            deviation is None if it is not published.
        published_title: Title of the column of published values.
        unit: Unit of published values.
        source: Source of published values.
    """

    title: str
    family: Family
    metric: str = ""
    published: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    published_title: str = "published"
    unit: str = ""
    source: str = ""


PAPER = "Navon et al., Equivariant Architectures for Learning in Deep Weight Spaces, ICML 2023"
LATER_METHODS = (
    f"{PAPER}; for later methods Zhou et al. 2023, Kofinas et al. 2024 and Kalogeropoulos et al. "
    "2024"
)
CLASSIFICATION = Family(
    "classification",
    "Classification of images",
    "Test accuracy of image classification",
    metrics={},
    is_of_paper=True,
)
EMBEDDING = Family(
    "ssl",
    "Self-supervised embedding",
    "Mean squared error of a linear regression from the frozen embedding to a and b",
    metrics={"mse_amplitude": "amplitude", "mse_frequency": "frequency"},
    is_of_paper=True,
)
REGRESSION = Family(
    "sine",
    "Regression of a sine's frequency",
    "Test mean squared error of the frequency b of sin(bx), by number of training networks",
    metrics={},
    by_size=True,
    is_of_paper=True,
)
EDITING = Family(
    "editing",
    "Editing of images by their INRs",
    "Test mean squared error per pixel between the rendered edit and the edited original",
    metrics={},
)
ADAPTATION = Family(
    "adaptation",
    "Adaptation of classifiers to corrupted images",
    "Test accuracy on corrupted images, for pairs of classes and images that training has not seen",
    metrics={"loss": "cross-entropy"},
)
ADAPTATION_SOURCE = f"{PAPER}, which does not publish its classifiers and corruptions"
ADAPTATION_PUBLISHED = {
    "No adaptation": (60.92, 0.41),
    "mlp": (64.33, 0.36),
    "mlp_permutation_augmentation": (64.69, 0.56),
    "mlp_alignment": (67.66, 0.90),
    "inr2vec": (65.69, 0.41),
    "transformer": (61.37, 0.13),
    "dwsnet": (71.36, 0.38),
}
IMAGES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
EDITS = {"dilate": "dilation", "erode": "erosion", "contrast": "contrast", "blur": "blur"}
EDITS_PUBLISHED = (
    "Zhou et al. 2023 (NFN), Kalogeropoulos et al. 2024 (ScaleGMN) and arXiv 2602.01083, for the "
    "zoo of Navon et al. (ICML 2023); there models of eightfold capacity have 1.36 ± 0.03 (DWSNet) "
    "and 1.06 ± 0.13 (GMN)"
)

TASKS: dict[str, TaskInfo] = {
    "mnist": TaskInfo(
        "MNIST",
        CLASSIFICATION,
        unit=" %",
        source=LATER_METHODS,
        published={
            "mlp": (17.55, 0.01),
            "mlp_permutation_augmentation": (29.26, 0.18),
            "mlp_alignment": (58.98, 0.52),
            "inr2vec": (23.69, 0.10),
            "transformer": (26.57, 0.18),
            "dwsnet": (85.71, 0.57),
            "nfn": (78.5, None),
            "nfn_hnp": (79.1, None),
            "ng_gnn": (91.4, None),
            "scalegmn": (96.57, None),
            "scalegmn_b": (96.59, None),
            "ng_gnn_probes": (94.7, None),
            "ng_t_probes": (97.3, None),
        },
    ),
    "fashion_mnist": TaskInfo(
        "Fashion-MNIST",
        CLASSIFICATION,
        unit=" %",
        source=LATER_METHODS,
        published={
            "mlp": (19.91, 0.47),
            "mlp_permutation_augmentation": (22.76, 0.13),
            "mlp_alignment": (47.79, 1.03),
            "inr2vec": (22.33, 0.41),
            "transformer": (26.97, 0.33),
            "dwsnet": (67.06, 0.29),
            "nfn": (68.2, None),
            "nfn_hnp": (68.9, None),
            "ng_gnn": (68.0, None),
            "scalegmn": (80.46, None),
            "scalegmn_b": (80.78, None),
            "ng_gnn_probes": (74.2, None),
            "ng_t_probes": (74.8, None),
        },
    ),
    "cifar10": TaskInfo("CIFAR-10", CLASSIFICATION),
    "ssl": TaskInfo(
        "self-supervised embedding",
        EMBEDDING,
        source=PAPER,
        published={
            "mlp": (7.39, 0.19),
            "mlp_permutation_augmentation": (5.65, 0.01),
            "mlp_alignment": (4.47, 0.15),
            "inr2vec": (3.86, 0.32),
            "transformer": (5.11, 0.12),
            "dwsnet": (1.39, 0.06),
        },
    ),
    "sine": TaskInfo("sine regression", REGRESSION, metric="MSE of b"),  # published as a plot
    **{
        f"{edit}_{zoo}": TaskInfo(f"{zoo_title}, {title}", EDITING, metric="MSE")
        for zoo, zoo_title in IMAGES.items()
        for edit, title in EDITS.items()
    },
    "adapt": TaskInfo(
        "Fashion-MNIST, adaptation",
        ADAPTATION,
        metric="accuracy",
        unit=" %",
        source=ADAPTATION_SOURCE,
        published=ADAPTATION_PUBLISHED,
        published_title="published, CIFAR-10",
    ),
    "adapt_cifar10": TaskInfo(
        "CIFAR-10, adaptation",
        ADAPTATION,
        metric="accuracy",
        unit=" %",
        source=ADAPTATION_SOURCE,
        published=ADAPTATION_PUBLISHED,
    ),
    "dilate_mnist": TaskInfo(
        "MNIST, dilation",
        EDITING,
        metric="MSE",
        unit=" ×10⁻²",
        source=EDITS_PUBLISHED,
        published={
            "dwsnet": (2.29, 0.01),
            "nfn": (2.55, None),
            "gmn": (1.96, 0.02),
            "scalegmn": (1.99, 0.02),
            "scalegmn_b": (1.89, None),
            "ng_gnn_probes": (2.06, None),
            "ng_t_probes": (1.75, None),
        },
    ),
}


def describe(task: str, results: Sequence[Result] = ()) -> TaskInfo:
    """Title, table and published values of a task; from its results if it is not in ``TASKS``."""
    if task in TASKS:
        return TASKS[task]
    title = next((result.title for result in results if result.title), task)
    family = Family(
        distinct_file_name("task", task), title, f"{title}: metrics of the test networks"
    )
    published = next((result.published for result in results if result.published), {})
    unit = {result.units.get(result.metric, "") for result in results} - {""}
    source = next((result.source for result in results if result.source), "")
    unit_text = f" {unit.pop()}" if unit else ""
    return TaskInfo(title, family, published=published, unit=unit_text, source=source)


# standard deviations over all INRs of the released zoos, for each layer
ZOO_STD: dict[str, dict[str, tuple[float, ...]]] = {
    "mnist": {"weight": (0.0628, 0.0183, 0.1179), "bias": (0.0213, 0.0110, 0.0999)},
    "fashion_mnist": {"weight": (0.0782, 0.0324, 0.1345), "bias": (0.0286, 0.0167, 0.0960)},
}
