"""Text summary of a zoo's manifest."""

from __future__ import annotations

from collections.abc import Mapping

from dws.zoo.store import Zoo


def summarise(zoo: Zoo) -> str:
    """Summarise splits, architecture, fit, labels and statistics of a zoo, one per line."""
    manifest = zoo.manifest
    fit, quality, loss = manifest.fit, manifest.train_psnr, manifest.train_cross_entropy
    preset = f"{manifest.fit_preset.name}: " if manifest.fit_preset else ""
    deviations = (f"{name} {value:.4f}" for name, value in manifest.train_std.items())
    lines = [
        f"{zoo.path}: {manifest.signals.name}, format {manifest.format_version}",
        *(
            f"  {name:<6} {stop - start:>7,} {manifest.noun}, rows {start} to {stop - 1}"
            for name, (start, stop) in manifest.splits.items()
        ),
        f"  widths {zoo.spec.dims}, {zoo.spec.num_params:,} parameters",
        f"  {manifest.kind:<6} {_settings(manifest.content()[manifest.kind])}",
        f"  fit    {preset}{_settings(fit) if fit else 'unknown'}",
        f"  zoo    {_settings(manifest.zoo.content())}",
        f"  labels {', '.join(manifest.labels)}",
    ]
    if quality:
        lines.append(
            f"  PSNR   {quality.median:.1f} dB (5 % below {quality.q05:.1f}, 5 % above "
            f"{quality.q95:.1f}), {manifest.train_num_steps_median} steps (training medians)"
        )
    if loss:
        lines.append(
            f"  loss   cross-entropy {loss.median:.4f} (5 % below {loss.q05:.4f}, 5 % above "
            f"{loss.q95:.4f}), {manifest.train_num_steps_median} steps (training medians)"
        )
    if manifest.classifier:
        lines.append(f"  inputs {_inputs(manifest.signals.content())}")
    lines.append(f"  std    {', '.join(deviations)}")
    lines.append(f"  made with {_settings(manifest.versions)}")
    return "\n".join(lines)


def _inputs(signals: Mapping[str, object]) -> str:
    """Preprocessing of the images that are the inputs of classifiers."""
    return (
        f"{signals['images']}, averaged to {signals['size']} pixels, minus {signals['mean']}, "
        f"divided by {signals['std']}"
    )


def _settings(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
