"""Baseline of the embeddings: the standardised weights without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from safetensors.torch import load, save
from torch import Tensor

from dws.evaluation.measures import describe_embedding
from dws.evaluation.result import EmbeddingScores
from dws.evaluation.tsne import is_map, tsne
from dws.report.own_files import OwnFiles
from dws.report.thumbnails import spread_evenly
from dws.tasks import Task
from dws.weightspace import Standardize
from dws.zoo import Zoo

MAX_TRAIN = 10_000  # maximum number of training networks to which the linear probe is fitted


@dataclass(frozen=True)
class RawWeights:
    """Standardised weights of a test split as an embedding.

    Attributes:
        tsne: Their t-SNE, (n, 2); None if it is undefined, or only the scores are known.
        embedding: Scores of predicting labels from the weights.
        zoo: Hash of the zoo's signals and settings; empty if only the scores are known.
        files: Content of the report's files with t-SNE and scores, by name.
    """

    tsne: Tensor | None
    embedding: EmbeddingScores
    zoo: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def measure(cls, zoo: Zoo, task: Task, own: OwnFiles, name: str, digest: str) -> RawWeights:
        """Compute t-SNE and scores, or read them from the files of the last report.

        Args:
            zoo: The zoo.
            task: Computes the targets.
            own: Files of the last report; nothing is written.
            name: Name of ``files``, without suffix.
            digest: Hash of the zoo's signals and settings.

        Raises:
            ValueError: If the weights cannot be read or standardised.
        """
        tsne_file, scores_file = f"{name}.safetensors", f"{name}.json"
        files = own.read([tsne_file, scores_file])
        if files is None:
            train, test = zoo.split("train"), zoo.split("test")
            # evenly spaced, because the rows of combined zoos are ordered
            rows = spread_evenly(len(train), MAX_TRAIN)
            networks = train.weights()[torch.tensor(rows)]
            standardize = Standardize(zoo.spec)
            standardize.fit(networks)
            train_weights, test_weights = (
                standardize(each).flatten().squeeze(-1) for each in (networks, test.weights())
            )
            targets = [task.targets(train.labels)[rows], task.targets(test.labels)]
            computed = describe_embedding(
                train_weights, targets[0], test_weights, targets[1], test.column("signal_id")
            )
            files = {
                tsne_file: save({"tsne": tsne(test_weights)}),
                scores_file: (json.dumps(computed, indent=1) + "\n").encode(),
            }
        points = load(files[tsne_file])["tsne"]
        scores = EmbeddingScores.model_validate_json(files[scores_file])
        return cls(points if is_map(points) else None, scores, digest, files)
