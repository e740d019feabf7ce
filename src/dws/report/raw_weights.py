"""The contrast to every embedding: the weights as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from safetensors.torch import load, save
from torch import Tensor

from dws.evaluation.measures import describe_embedding
from dws.evaluation.result import EmbeddingScores
from dws.evaluation.tsne import is_map, tsne
from dws.report.own_files import OwnFiles
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
        embedding: How well labels can be predicted from them.
        zoo: Hash of the zoo's signals and settings; empty if only the scores were kept.
        files: Content of the report's files that keep them, by name.
    """

    tsne: Tensor | None
    embedding: EmbeddingScores
    zoo: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def measure(cls, zoo: Zoo, task: Task, own: OwnFiles, name: str, digest: str) -> RawWeights:
        """Compute, or use what the last report computed and recorded.

        Args:
            zoo: Whose test split.
            task: Whose targets.
            own: Files of the last report; nothing is written there.
            name: Name of ``files``, without suffix.
            digest: Hash of the zoo's signals and settings.

        Raises:
            ValueError: If the weights cannot be read or standardised.
        """
        points, figures = f"{name}.safetensors", f"{name}.json"
        files = own.read([points, figures])
        if files is None:
            train, test = zoo.split("train"), zoo.split("test")
            train = ZooSplit(zoo, train.start, min(train.stop, train.start + MANY))
            standardize = Standardize(zoo.spec)
            standardize.fit(train.weights())
            known, asked = (
                standardize(split.weights()).flatten().squeeze(-1) for split in (train, test)
            )
            targets = [task.targets(split.labels) for split in (train, test)]
            described = describe_embedding(
                known, targets[0], asked, targets[1], test.column("signal_id")
            )
            files = {
                points: save({"tsne": tsne(asked)}),
                figures: (json.dumps(described, indent=1) + "\n").encode(),
            }
        mapped = load(files[points])["tsne"]
        scores = EmbeddingScores.model_validate_json(files[figures])
        return cls(mapped if is_map(mapped) else None, scores, digest, files)
