"""Measure which networks exceed the distance limit of a pretrained model.

Run from the repository's root, with the training zoo of the model and zoos that were fitted in
other ways: ``python -m scripts.study_scales mnist-sign ZOO fast=ZOO``. Writes
``scripts/bench/scales.json``. Of the training zoo, only the validation and test splits are
measured, because the limit is computed from the training split. Of the other zoos, the first 2000
networks are measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from scripts.timing import machine
from torch import Tensor

import dws
from dws.inr import init_siren
from dws.io.content import write_json
from dws.weightspace import WeightBatch
from dws.zoo import Zoo, ZooSplit

OUTPUT = Path("scripts/bench/scales.json")
FACTORS = (0.5, 0.8, 1.25, 1.5, 2.0)
NUM_UNTRAINED = 1000
MOST = 2000  # largest number of networks of another zoo


def row(
    model: dws.PretrainedModel, title: str, networks: WeightBatch, classes: Tensor | None
) -> dict[str, object]:
    """Measure the distances of networks, and the accuracy if their classes are known."""
    distance = model.distance(networks)
    is_above = distance > model.card.scales.limit
    is_right = None if classes is None else model.predict(networks).argmax(dim=1) == classes
    return {
        "networks": title,
        "number": networks.batch_size,
        "median_distance": round(float(distance.median()), 1),
        "above_the_limit_percent": percent(is_above),
        "accuracy_percent": "" if is_right is None else percent(is_right),
    }


def percent(found: Tensor) -> float:
    """Share of networks in percent."""
    return round(100 * float(found.double().mean()), 1)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("zoo", help="Training zoo of the model.")
    parser.add_argument("others", nargs="*", help="Other zoos, as TITLE=PATH.")
    given = parser.parse_args()
    model = dws.load(given.model)
    zoo = Zoo.open(given.zoo)
    held_out = ZooSplit(zoo, zoo.split("val").start, len(zoo))
    weights = held_out.weights()
    rows = [row(model, "validation and test splits", weights, None)]
    for each in given.others:
        title, _, path = each.rpartition("=")
        other = Zoo.open(path)
        part = ZooSplit(other, 0, min(MOST, len(other)))
        is_alike = other.manifest.signals.name == zoo.manifest.signals.name
        rows.append(row(model, title, part.weights(), part.labels["label"] if is_alike else None))
    for factor in FACTORS:
        scaled = weights.map(lambda t, factor=factor: factor * t)
        rows.append(row(model, f"the held-out networks times {factor:g}", scaled, None))
    untrained = init_siren(model.spec, range(NUM_UNTRAINED), omega_0=zoo.inr.omega_0)
    rows.append(row(model, "untrained", untrained, None))
    limit = {"model": given.model, "limit": round(model.card.scales.limit, 2)}
    write_json(OUTPUT, {**machine(), **limit, "rows": rows})
    print(*rows, sep="\n")


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
