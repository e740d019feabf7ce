"""Fitting as ``dws-fit-inrs`` does it: signals or tasks to a zoo."""

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

NUM_JUDGED = 128  # classifiers, and images of each
POOR_ACCURACY = 0.75  # of classifiers, where guessing has 0.5
POOR_PSNR = 15  # dB: an error as large as that of a constant, for most signals


def fit_inrs(settings: FitInrsSettings) -> Zoo | None:
    """Fit a zoo, say what came out, and draw a few reconstructions of INRs.

    Args:
        settings: All settings.

    Returns:
        The zoo, or None if a part of it was fitted (``zoo.part``).

    Raises:
        ValueError: If the folder holds a zoo with other settings, another process writes there, or
            settings do not fit each other.
    """
    keep_freed_memory()
    allow_plugins(*settings.plugins)
    architecture = settings.zoo.classifier
    if architecture and settings.inr != SirenConfig():
        raise UserError(
            f"inr=... is for INRs, but zoo={settings.zoo.name} has classifiers; set "
            "zoo.classifier.hidden or zoo.classifier.shared_init instead"
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
    if isinstance(common["engine"], Workers):  # the machines of others have their own devices
        find_device(settings.fit.device, option="fit.device")
    path, part, num_parts = settings.zoo.path, settings.zoo.part, settings.zoo.num_parts
    if part is None and num_parts != 1:
        raise UserError(
            f"expected zoo.part from 0 to {num_parts - 1} with zoo.num_parts={num_parts}, got none"
        )
    if part is not None:
        folder = build_part(path, signals, part=part, num_parts=num_parts, **common)
        print(
            f"part {part} of {num_parts} is in {folder}; when all are done: "
            f"dws-zoo merge {shlex.quote(str(folder.parent))}/* {shlex.quote(path)}"
        )
        return None
    zoo = build_zoo(path, signals, **common)
    if isinstance(signals, BinaryTasks):
        _judge(zoo, signals)
        return zoo
    seen = _draw(zoo, signals)
    psnr = zoo.manifest.train_psnr
    assert psnr is not None  # of fits it is known
    print(
        f"zoo {zoo.path}: {len(zoo)} INRs of widths {zoo.spec.dims}, training PSNR "
        f"{psnr.median:.1f} dB ({psnr.q05:.1f} to {psnr.q95:.1f}), "
        f"{zoo.manifest.train_num_steps_median} steps (medians){seen}"
    )
    if psnr.median < POOR_PSNR:
        print(
            f"dws: below {POOR_PSNR} dB these INRs show little of their signals, whose values "
            "should lie in about [-1, 1]; try other inr.omega_0, fit.num_steps or fit.learning_rate"
        )
    return zoo


def _judge(zoo: Zoo, tasks: BinaryTasks) -> None:
    """Say how well some training classifiers tell images apart that they were not fitted to."""
    train = zoo.split("train")
    some = ZooSplit(zoo, train.start, min(train.start + NUM_JUDGED, train.stop))
    inputs, targets = tasks.held_out_examples(some.column("signal_id"), NUM_JUDGED)
    is_right = (classifier_apply(some.weights(), inputs) > 0) == (targets > 0.5)
    accuracy = float(is_right.float().mean())
    loss = zoo.manifest.train_cross_entropy
    assert loss is not None  # of fits it is known
    print(
        f"zoo {zoo.path}: {len(zoo)} classifiers of widths {zoo.spec.dims}, training cross-entropy "
        f"{loss.median:.3f} ({loss.q05:.3f} to {loss.q95:.3f}), "
        f"{zoo.manifest.train_num_steps_median} steps (medians), {accuracy:.1%} of further images "
        f"right ({len(some)} classifiers, {NUM_JUDGED} images each)"
    )
    if accuracy < POOR_ACCURACY:
        print(
            f"dws: below {POOR_ACCURACY:.0%} these classifiers show little of their tasks; try "
            "more fit.num_steps, another fit.learning_rate or a larger zoo.signals.size"
        )


def _draw(zoo: Zoo, signals: SignalSource) -> str:
    """Draw reconstructions, once; returns where to see them, or why not."""
    picture = zoo.path / "reconstructions.png"
    if not picture.is_file():
        try:
            with hold_folder(zoo.path, wait=True):
                if not picture.is_file():
                    plot_reconstructions(picture, zoo, signals)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            return f"; no {picture.name}, since {zoo.path} cannot be written to ({error.strerror})"
    return f"; see {picture}"


def preset_name(settings: FitInrsSettings) -> str:
    """Which of the zoo's presets the settings of the fit are, even if given one by one."""
    for name, preset in settings.zoo.presets.items():
        if all(getattr(settings.fit, key) == value for key, value in asdict(preset).items()):
            return name
    return "custom"
