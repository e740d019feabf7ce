"""Test accuracy of metanets on INRs that were fitted in another way than those of their training.

Run from the repository's root, after ``dws-fit-inrs zoo=mnist scale=small``:
``python -m scripts.study_transfer mnist``. Each metanet is trained twice: on the zoo of
``fit=authors``, and on a mixture of this zoo with other fits of some of its training images. Both
are tested on fits of the same test images: with the mean and standard deviation of the weights of
the training networks, by which a model scales its input, and with those of the tested networks. A
row for each metanet and fit is appended to a CSV file. Zoos are stored in ``outputs/transfer`` and
runs in ``outputs/small/runs``; an interrupted study resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from oracles.plain_siren import PlainSiren
from safetensors.torch import load_file, save
from scripts.study_fit import append, read
from torch import Tensor

import dws
from dws.config import compose_settings
from dws.experiment import Run
from dws.inr import init_siren
from dws.io.atomic import write_atomically
from dws.signals import ImageSignals
from dws.training import Model
from dws.training.inference import in_batches
from dws.weightspace import WeightBatch
from dws.zoo import Workers, Zoo, ZooConfig, build_zoo, combine_zoos
from dws.zoo.dwsnets import to_state_dict

OUTPUT = Path("scripts/bench/transfer.csv")
MODELS = ("dwsnet", "dwsnet_sign", "probe")
FITS: dict[str, list[str]] = {
    "authors, another seed": ["zoo.seed=1"],
    "accurate": ["fit=accurate"],
    "fast": ["fit=fast"],
    "fingerprint": ["fit=fingerprint"],
    "init=siren": ["inr.init=siren"],
}
MIXED = ("accurate", "fast", "init=siren")  # with authors; the other fits are in no training
NUM_IMAGES = {"train": 500, "val": 100, "test": 600}
NUM_PLAIN = 200  # INRs fitted one at a time, as they take long
PRUNED = 0.2  # fraction of the weights of each matrix


class SameImages(ImageSignals):
    """Images of another zoo, up to ``NUM_IMAGES`` of each split."""

    def __init__(self, zoo: Zoo, root: str | Path, num_images: Mapping[str, int]) -> None:
        record = zoo.manifest.signals.content()
        super().__init__(record["name"], root=root, seed=record["seed"], num_val=record["num_val"])
        generator = torch.Generator().manual_seed(0)
        self.ids = {}
        for name, count in num_images.items():
            ids = zoo.split(name).column("signal_id")
            self.ids[name] = ids[torch.randperm(len(ids), generator=generator)[:count]]

    def split(self, limit: int | None) -> dict[str, Tensor]:
        """Return the same images for every limit."""
        return self.ids


def fit_zoo(base: Zoo, fit: str, folder: Path) -> Zoo:
    """Fit some images of a zoo with other settings."""
    name = base.manifest.signals.name
    settings = compose_settings("fit_inrs", [f"zoo={name}", *FITS[fit]])
    # fits that are in no mixture need test networks only, but no split may be empty
    num_images = NUM_IMAGES if fit in MIXED else {**NUM_IMAGES, "train": 8, "val": 8}
    return build_zoo(
        folder,
        SameImages(base, settings.zoo.signals["root"], num_images),
        zoo=ZooConfig(seed=settings.zoo.seed),
        inr=settings.inr,
        fit=settings.fit,
        engine=Workers(),
    )


def fit_plain(
    base: Zoo, file: Path, root: str | Path, *, default_init: bool
) -> tuple[WeightBatch, Tensor]:
    """Fit test images one at a time by PyTorch's autograd and Adam.

    Args:
        base: The zoo whose test images and settings are used.
        file: File of the networks; they are loaded if it exists.
        root: Data folder, see ``ImageSignals``.
        default_init: Start from the initial weights of ``torch.nn.Linear``, which are larger.

    Returns:
        Networks and labels.
    """
    signals = SameImages(base, root, NUM_IMAGES)
    ids = signals.ids["test"][:NUM_PLAIN]
    if not file.is_file():
        torch.manual_seed(0)
        flat = []
        for seed, index in enumerate(ids.split(1), start=10**6):  # no seed of a zoo
            net = PlainSiren(base.spec, base.inr.omega_0)
            if not default_init:
                initial = to_state_dict(init_siren(base.spec, [seed]))
                net.load_state_dict({k.replace("seq", "layers"): w for k, w in initial.items()})
            flat.append(_fit_one(net, base, signals, index))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, save({"flat": torch.cat(flat)}))
    networks = WeightBatch.from_flat(base.spec, load_file(file)["flat"])
    return networks, signals.labels(ids)["label"]


def _fit_one(net: PlainSiren, base: Zoo, signals: ImageSignals, index: Tensor) -> Tensor:
    fit = base.manifest.fit or {}
    optimizer = torch.optim.Adam(net.parameters(), lr=fit["learning_rate"])
    target = signals.values(index)[0]
    for _ in range(fit["num_steps"]):
        loss = (net(signals.coordinates) - target).square().mean()
        if float(loss.detach()) < fit["stop_mse"]:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.weights().flatten()


def pruned(networks: WeightBatch) -> WeightBatch:
    """Set the smallest weights of each matrix to 0."""
    weights = []
    for w in networks.weights:
        size = w.abs()
        threshold = size.flatten(1).quantile(PRUNED, dim=1)
        weights.append(torch.where(size > threshold[:, None, None, None], w, 0.0))
    return WeightBatch(tuple(weights), networks.biases)


def study(name: str, models: list[str], *, seed: int, output: Path) -> None:
    """Append the rows of each metanet without rows."""
    base = Zoo.open(Path("outputs/small/zoos", name))
    folder = Path("outputs/transfer", name)
    zoos = {
        fit: fit_zoo(base, fit, folder / fit.replace(", ", "-").replace(" ", "_")) for fit in FITS
    }
    settings: Mapping[str, Any] = {"scale": "small", "wandb": "disabled"}
    root = compose_settings("fit_inrs", [f"zoo={name}"]).zoo.signals["root"]
    plain = {
        kind: fit_plain(base, folder / f"{file}.safetensors", root, default_init=is_default)
        for kind, file, is_default in (
            ("authors, one at a time", "plain", False),
            ("init of torch.nn.Linear, one at a time", "plain_default_init", True),
        )
    }
    networks = {**test_networks(base, zoos), **plain}
    mixture = combine_zoos([base, *(zoos[fit] for fit in MIXED)], folder / "mixture")
    columns = ("zoo", "training", "model", "seed")
    complete = {(*(row[name] for name in columns), row["fit"]) for row in read(output)}
    for training, zoo in (("authors", base), ("mixture", mixture)):
        for model in models:
            key = (name, training, model, str(seed))
            missing = [fit for fit in networks if (*key, fit) not in complete]
            if not missing:
                continue
            run = dws.train(name, model, zoo=zoo, seed=seed, settings=settings)
            for fit in missing:
                weights, labels = networks[fit]
                row = {
                    **dict(zip(columns, key, strict=True)),
                    "num_train": len(zoo.split("train")),
                    "fit": fit,
                    "num_test": len(labels),
                    "accuracy": f"{accuracy(run.load(), weights, labels):.4f}",
                    "accuracy_rescaled": f"{accuracy(rescaled(run, weights), weights, labels):.4f}",
                }
                print(row, flush=True)
                append(output, row)


@torch.no_grad()
def accuracy(model: Model, networks: WeightBatch, labels: Tensor) -> float:
    """Accuracy of a trained model."""
    predicted = in_batches(model, networks, 128).argmax(dim=1)
    return float((predicted == labels).double().mean())


def rescaled(run: Run, networks: WeightBatch) -> Model:
    """Load a trained model that scales its input by statistics of other networks."""
    model = run.load()
    model.fit(networks)
    return model


def test_networks(base: Zoo, zoos: Mapping[str, Zoo]) -> dict[str, tuple[WeightBatch, Tensor]]:
    """Test networks of each fit and their labels; all show the same images."""
    split = base.split("test")
    ids = next(iter(zoos.values())).split("test").column("signal_id")
    rows = (split.column("signal_id") == ids[:, None]).int().argmax(dim=1)
    authors, labels = split.weights()[rows], split.labels["label"][rows]
    return {
        "authors": (authors, labels),
        **{
            fit: (zoo.split("test").weights(), zoo.split("test").labels["label"])
            for fit, zoo in zoos.items()
        },
        "authors, float16": (authors.to(torch.float16).to(torch.float32), labels),
        f"authors, {PRUNED:.0%} pruned": (pruned(authors), labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zoo", choices=("mnist", "fashion_mnist"))
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    study(arguments.zoo, arguments.models, seed=arguments.seed, output=arguments.output)


if __name__ == "__main__":
    main()
