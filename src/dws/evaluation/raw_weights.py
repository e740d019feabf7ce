"""The contrast to every embedding: the weights as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from dws.evaluation.measures import describe_embedding
from dws.evaluation.tables import Opened
from dws.evaluation.tsne import is_map, tsne
from dws.files import check_content
from dws.tasks import Task
from dws.weightspace import Standardize
from dws.zoo import Zoo
from dws.zoo.store import ZooSplit

MANY = 10_000  # training networks to which the linear probe is fitted


@dataclass(frozen=True)
class RawWeights:
    """Standardised weights of a test split, seen as an embedding.

    Attributes:
        tsne: Their map to the plane, (n, 2); None if there is none, or only the figures were kept.
        embedding: What ``describe_embedding`` says of them.
        files: What a folder keeps of them, by name.
    """

    tsne: Tensor | None
    embedding: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def measure(cls, zoo: Zoo, task: Task, folder: Path, name: str) -> RawWeights:
        """Compute, or read what was computed before.

        Args:
            zoo: Whose test split.
            task: Whose targets.
            folder: Where ``files`` may be; nothing is written there.
            name: Of the files in it.

        Raises:
            ValueError: If the weights cannot be read or standardised.
        """
        points_file, figures_file = folder / f"{name}.safetensors", folder / f"{name}.json"
        try:
            kept = points_file.read_bytes(), figures_file.read_bytes()
            return cls._read(name, *kept)
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, OSError, SafetensorError) as error:
            print(f"dws: {folder / name}.* cannot be used ({error}) and is computed again")
        train, test = zoo.split("train"), zoo.split("test")
        train = ZooSplit(zoo, train.start, min(train.stop, train.start + MANY))
        standardize = Standardize(zoo.spec)
        standardize.fit(train.weights())
        known, asked = (
            standardize(split.weights()).flatten().squeeze(-1) for split in (train, test)
        )
        targets = [task.targets(split.labels) for split in (train, test)]
        figures = describe_embedding(known, targets[0], asked, targets[1])
        points = save({"tsne": tsne(asked)})
        return cls._read(name, points, (json.dumps(figures, indent=1) + "\n").encode())

    @classmethod
    def _read(cls, name: str, points: bytes, figures: bytes) -> RawWeights:
        """From the content of the files."""
        content = json.loads(figures)
        check_content(content, Opened, what="figures of an embedding")
        mapped = load(points)["tsne"]
        files = {f"{name}.safetensors": points, f"{name}.json": figures}
        return cls(mapped if is_map(mapped) else None, content, files)
