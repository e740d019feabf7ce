"""Implementation of ``dws-fit-inrs``: fit a zoo of networks."""

from __future__ import annotations

import errno
import shlex
from dataclasses import asdict
from typing import Any

from dws.errors import UserError
from dws.inr import SirenConfig, classifier_apply
from dws.io.folders import hold_folder
from dws.runtime import find_device, keep_freed_memory
from dws.settings import FitInrsSettings
from dws.signals import BinaryTasks, SignalSource
from dws.targets import allow_plugins, build
from dws.zoo import Workers, Zoo, ZooConfig, ZooSplit, build_part, build_zoo
from dws.zoo.figures import plot_reconstructions

NUM_CHECKED = 128  # number of classifiers whose accuracy is measured, and of images for each
POOR_ACCURACY = 0.75  # of classifiers; chance is 0.5
POOR_PSNR = 15  # dB; for most signals, the PSNR of a constant function


def fit_inrs(settings: FitInrsSettings) -> Zoo | None:
    """Fit a zoo, print its statistics, and plot a few reconstructions of INRs.

    Args:
        settings: All settings.

    Returns:
        The zoo, or None if only a part of it was fitted (``zoo.part``).

    Raises:
        ValueError: If the folder contains a zoo with other settings, another process is writing to
            it, or settings are incompatible with each other.
    """
    keep_freed_memory()
    allow_plugins(*settings.plugins)
    architecture = settings.zoo.classifier
    if architecture and settings.inr != SirenConfig():
        raise UserError(
            f"inr=... applies to INRs, but zoo={settings.zoo.name} has classifiers. Set "
            "zoo.classifier.hidden or zoo.classifier.shared_init instead."
        )
    signals = build(
        settings.zoo.signals,
        what="a source of binary tasks" if architecture else "a source of signals",
        methods=["split", "examples" if architecture else "values", "labels", "describe"],
    )
    common: dict[str, Any] = {
        "zoo": ZooConfig(
            seed=settings.zoo.seed,
            limit=settings.zoo.limit,
            num_views=settings.zoo.num_views,
            shard_size=settings.zoo.shard_size,
        ),
        "inr": None if architecture else settings.inr,
        "classifier": architecture,
        "fit": settings.fit,
        "preset": preset_name(settings),
        "engine": build(settings.engine, what="an engine", methods=["run"]),
    }
    if isinstance(common["engine"], Workers):  # other engines may run on other machines
        find_device(settings.fit.device, option="fit.device")
    path, part, num_parts = settings.zoo.path, settings.zoo.part, settings.zoo.num_parts
    if part is None and num_parts != 1:
        raise UserError(
            f"zoo.num_parts={num_parts} needs zoo.part. Set it to a value from 0 to "
            f"{num_parts - 1}."
        )
    if part is not None:
        folder = build_part(path, signals, part=part, num_parts=num_parts, **common)
        print(
            f"part {part} of {num_parts} is complete: {folder}; when all parts are complete, run: "
            f"dws-zoo merge {shlex.quote(str(folder.parent))}/* {shlex.quote(path)}"
        )
        return None
    zoo = build_zoo(path, signals, **common)
    if isinstance(signals, BinaryTasks):
        _print_accuracy(zoo, signals)
        return zoo
    see = _plot(zoo, signals)
    psnr = zoo.manifest.train_psnr
    assert psnr is not None  # None for imported zoos only
    print(
        f"zoo {zoo.path}: {len(zoo)} INRs of widths {zoo.spec.dims}, training PSNR "
        f"{psnr.median:.1f} dB ({psnr.q05:.1f} to {psnr.q95:.1f}), "
        f"{zoo.manifest.train_num_steps_median} steps (medians){see}"
    )
    if psnr.median < POOR_PSNR:
        print(
            f"dws: warning: a PSNR below {POOR_PSNR} dB means that these INRs represent their "
            "signals poorly; signal values should be in about [-1, 1]; try other values of "
            "inr.omega_0, fit.num_steps or fit.learning_rate"
        )
    return zoo


def _print_accuracy(zoo: Zoo, tasks: BinaryTasks) -> None:
    """Print the accuracy of some training classifiers on images that they were not fitted to."""
    train = zoo.split("train")
    checked = ZooSplit(zoo, train.start, min(train.start + NUM_CHECKED, train.stop))
    inputs, targets = tasks.held_out_examples(checked.column("signal_id"), NUM_CHECKED)
    is_right = (classifier_apply(checked.weights(), inputs) > 0) == (targets > 0.5)
    accuracy = float(is_right.float().mean())
    loss = zoo.manifest.train_cross_entropy
    assert loss is not None  # None for imported zoos only
    print(
        f"zoo {zoo.path}: {len(zoo)} classifiers of widths {zoo.spec.dims}, training cross-entropy "
        f"{loss.median:.3f} ({loss.q05:.3f} to {loss.q95:.3f}), "
        f"{zoo.manifest.train_num_steps_median} steps (medians), held-out accuracy {accuracy:.1%} "
        f"({len(checked)} classifiers, {NUM_CHECKED} images each)"
    )
    if accuracy < POOR_ACCURACY:
        print(
            f"dws: warning: an accuracy below {POOR_ACCURACY:.0%} means that these classifiers "
            "have hardly learned their tasks; try more fit.num_steps, another fit.learning_rate "
            "or a larger zoo.signals.size"
        )


def _plot(zoo: Zoo, signals: SignalSource) -> str:
    """Plot reconstructions, once; returns the file's name, or the reason for its absence."""
    picture = zoo.path / "reconstructions.png"
    if not picture.is_file():
        try:
            with hold_folder(zoo.path, wait=True):
                if not picture.is_file():
                    plot_reconstructions(picture, zoo, signals)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            return f"; no {picture.name}: {zoo.path} is not writable ({error.strerror})"
    return f"; see {picture}"


def preset_name(settings: FitInrsSettings) -> str:
    """Name of the preset of the zoo that equals the settings of the fit, otherwise "custom"."""
    for name, preset in settings.zoo.presets.items():
        if all(getattr(settings.fit, key) == value for key, value in asdict(preset).items()):
            return name
    return "custom"
