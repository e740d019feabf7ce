"""What the report knows of tasks: titles, tables, and the values of Navon et al. (ICML 2023).

A task that is not listed, such as a user's own, gets a table of all its metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dws.io.names import distinct_file_name


@dataclass(frozen=True)
class Family:
    """Tasks whose test results stand in one table.

    Attributes:
        name: Of the table's files.
        section: Title of the section of the page.
        title: Of the table.
        metrics: Titles of metrics that the table has beside the monitored one, by name; None for
            all, and the monitored one on validation.
        by_size: Whether the table has a column for each number of training networks.
        source: The paper whose methods are listed even if they were not run; empty for none.
    """

    name: str
    section: str
    title: str
    metrics: Mapping[str, str] | None = None
    by_size: bool = False
    source: str = ""


@dataclass(frozen=True)
class TaskInfo:
    """What the report says of a task.

    Attributes:
        title: In text and above columns.
        family: Which table its results are in.
        metric: The monitored metric, as an axis names it; empty for the name that results have.
        published: Mean and standard deviation over three seeds, by method, as they are printed.
        unit: Of these.
        in_paper: Whether the family's source has this task.
    """

    title: str
    family: Family
    metric: str = ""
    published: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    unit: str = ""
    in_paper: bool = True


PAPER = "Navon et al., Equivariant Architectures for Learning in Deep Weight Spaces, ICML 2023"
CLASSIFICATION = Family(
    "classification",
    "Classification of images",
    "Test accuracy of image classification",
    metrics={},
    source=PAPER,
)
EMBEDDING = Family(
    "ssl",
    "Self-supervised embedding",
    "Mean squared error of a linear regression from the frozen embedding to a and b",
    metrics={"mse_amplitude": "amplitude", "mse_frequency": "frequency"},
    source=PAPER,
)
REGRESSION = Family(
    "sine",
    "Regression of a sine's frequency",
    "Test mean squared error of the frequency b of sin(bx), by number of training networks",
    metrics={},
    by_size=True,
    source=PAPER,
)
FAMILIES = (CLASSIFICATION, EMBEDDING, REGRESSION)

TASKS: dict[str, TaskInfo] = {
    "mnist": TaskInfo(
        "MNIST",
        CLASSIFICATION,
        unit=" %",
        published={
            "mlp": (17.55, 0.01),
            "mlp_permutation_augmentation": (29.26, 0.18),
            "mlp_alignment": (58.98, 0.52),
            "inr2vec": (23.69, 0.10),
            "transformer": (26.57, 0.18),
            "dwsnet": (85.71, 0.57),
        },
    ),
    "fashion_mnist": TaskInfo(
        "Fashion-MNIST",
        CLASSIFICATION,
        unit=" %",
        published={
            "mlp": (19.91, 0.47),
            "mlp_permutation_augmentation": (22.76, 0.13),
            "mlp_alignment": (47.79, 1.03),
            "inr2vec": (22.33, 0.41),
            "transformer": (26.97, 0.33),
            "dwsnet": (67.06, 0.29),
        },
    ),
    "cifar10": TaskInfo("CIFAR-10", CLASSIFICATION, in_paper=False),
    "ssl": TaskInfo(
        "self-supervised embedding",
        EMBEDDING,
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
}
METHODS = tuple(TASKS["mnist"].published)  # of the paper, in its order


def describe(task: str, title: str | None = None) -> TaskInfo:
    """What is known of a task, or what can be said of any."""
    title = title or task
    family = Family(
        distinct_file_name("task", task), title, f"{title}: metrics of the test networks"
    )
    return TASKS.get(task) or TaskInfo(title, family, in_paper=False)


# standard deviations over all INRs of the released zoos, layer by layer
ZOO_STD: dict[str, dict[str, tuple[float, ...]]] = {
    "mnist": {"weight": (0.0628, 0.0183, 0.1179), "bias": (0.0213, 0.0110, 0.0999)},
    "fashion_mnist": {"weight": (0.0782, 0.0324, 0.1345), "bias": (0.0286, 0.0167, 0.0960)},
}
