"""``dws-fit-inrs``: signals to a zoo."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from dws.cli.command import run_hydra
from dws.config import FitInrsSchema, build
from dws.evaluation import figures
from dws.memory import keep_freed_memory
from dws.zoo import ZooConfig, build_zoo


def main() -> None:
    """Entry point."""
    run_hydra("fit_inrs", fit)


def fit(config: DictConfig) -> None:
    """Fit the zoo, say what came out, and draw a few reconstructions."""
    keep_freed_memory()
    settings: FitInrsSchema = OmegaConf.to_object(config)  # type: ignore[assignment]
    signals = build(settings.zoo.signals)
    zoo = build_zoo(
        settings.zoo.path,
        signals,
        zoo=ZooConfig(
            seed=settings.zoo.seed,
            limit=settings.zoo.limit,
            num_views=settings.zoo.num_views,
            shard_size=settings.zoo.shard_size,
        ),
        inr=settings.inr,
        fit=settings.fit,
    )
    picture = zoo.path / "reconstructions.png"
    if not picture.is_file():
        figures.reconstructions(picture, zoo, signals)
    psnr = zoo.manifest["train_psnr"]
    print(
        f"zoo {zoo.path}: {len(zoo)} INRs of widths {zoo.spec.dims}, training PSNR "
        f"{psnr['median']:.1f} dB ({psnr['q05']:.1f} to {psnr['q95']:.1f}), "
        f"{zoo.manifest['train_num_steps_median']} steps (medians); see {picture}"
    )
