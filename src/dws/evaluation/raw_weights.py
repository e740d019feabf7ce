"""The contrast to every embedding: the weights as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from dws.evaluation.measures import describe_embedding
from dws.evaluation.tsne import tsne
from dws.files import read_json, write_atomically, write_json
from dws.tasks import Task
from dws.weightspace import Standardize
from dws.zoo import Zoo
from dws.zoo.store import ZooSplit, is_whole

MANY = 10_000  # training networks to which the linear probe is fitted


@dataclass(frozen=True)
class RawWeights:
    """Standardised weights of a test split, seen as an embedding.

    Attributes:
        tsne: Their map to the plane, (n, 2); None if only the figures were kept.
        embedding: What ``describe_embedding`` says of them.
    """

    tsne: Tensor | None
    embedding: Mapping[str, Any]

    @classmethod
    def measure(cls, zoo: Zoo, task: Task, folder: Path, name: str) -> RawWeights:
        """Compute, or read what was computed before.

        Args:
            zoo: Whose test split.
            task: Whose targets.
            folder: Keeps the results.
            name: Of the files in it.
        """
        points_file, figures_file = folder / f"{name}.safetensors", folder / f"{name}.json"
        if not (figures_file.is_file() and is_whole(points_file)):
            train, test = zoo.split("train"), zoo.split("test")
            train = ZooSplit(zoo, train.start, min(train.stop, train.start + MANY))
            standardize = Standardize(zoo.spec)
            standardize.fit(train.weights())
            known, asked = (
                standardize(split.weights()).flatten().squeeze(-1) for split in (train, test)
            )
            targets = [task.targets(split.labels) for split in (train, test)]
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(points_file, save({"tsne": tsne(asked)}))
            write_json(figures_file, describe_embedding(known, targets[0], asked, targets[1]))
        return cls(load_file(points_file)["tsne"], read_json(figures_file))
