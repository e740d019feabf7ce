"""Validation accuracy of metanets on INRs that were fitted with different settings.

Run from the repository's root: ``python -m scripts.study_reading fashion_mnist``. The same images
are fitted with each setting. DWSNet and the sign-equivariant network are trained on 2,500 of the
INRs with their recipes. A row for each run is appended to a CSV file. Zoos and runs are stored in
``outputs/reading``; an interrupted study resumes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.study_fit import append, read

import dws

OUTPUT = Path("scripts/bench/fit_reading.csv")
# 2,500 signals for training, 834 for validation, and 556 for testing, which are not used
SIGNALS = {"zoo.limit": 3890, "zoo.signals.num_val": 15000}
COSINE = {"fit.schedule": "cosine", "fit.betas": [0.9, 0.97]}
SETTINGS: dict[str, Mapping[str, Any]] = {
    "authors": {},
    "authors, beta2 0.99": {"fit.betas": [0.9, 0.99]},
    "cosine 4e-3, 1000 steps": {**COSINE, "fit.learning_rate": 4e-3, "fit.num_steps": 1000},
    "cosine 4e-3, 2000 steps": {**COSINE, "fit.learning_rate": 4e-3, "fit.num_steps": 2000},
    "cosine 2.5e-3, 2500 steps": {**COSINE, "fit.learning_rate": 2.5e-3, "fit.num_steps": 2500},
    "cosine 1e-3, 2500 steps": {**COSINE, "fit.learning_rate": 1e-3, "fit.num_steps": 2500},
    "cosine 2e-3, 2500 steps": {**COSINE, "fit.learning_rate": 2e-3, "fit.num_steps": 2500},
}
MODELS = ("dwsnet_sign", "dwsnet")
NUM_EPOCHS = 30


def study(name: str, settings: list[str], *, num_seeds: int, output: Path) -> None:
    """Append a row for each setting, model and seed without one."""
    complete = {(row["zoo"], row["fit"], row["model"], row["seed"]) for row in read(output)}
    for setting in settings:
        folder = Path("outputs/reading", name, setting.replace(" ", "_").replace(",", ""))
        zoo = dws.fit_zoo(name, path=folder / "zoo", settings={**SIGNALS, **SETTINGS[setting]})
        quality = zoo.manifest.train_psnr
        assert quality is not None  # None for imported zoos only
        for seed in range(num_seeds):
            for model in MODELS:
                if (name, setting, model, str(seed)) in complete:
                    continue
                run = dws.train(
                    name,
                    model,
                    zoo=zoo,
                    seed=seed,
                    run_dir=folder / f"{model}-seed{seed}",
                    settings={"trainer.num_epochs": NUM_EPOCHS, "wandb": "disabled"},
                )
                row = {
                    "zoo": name,
                    "fit": setting,
                    "psnr_median": f"{quality.median:.2f}",
                    "model": model,
                    "seed": seed,
                    "num_train": len(zoo.split("train")),
                    "num_val": len(zoo.split("val")),
                    "val_accuracy": f"{run.best_metric():.4f}",
                }
                print(row, flush=True)
                append(output, row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("zoo", choices=("mnist", "fashion_mnist"))
    parser.add_argument("--settings", nargs="*", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--num-seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    study(
        arguments.zoo,
        arguments.settings,
        num_seeds=arguments.num_seeds,
        output=arguments.output,
    )


if __name__ == "__main__":
    main()
