"""Results of many runs as one table."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from dws.files import read_json

HEADER = (
    "task",
    "trained on",
    "model",
    "parameters",
    "seeds",
    "metric",
    "validation",
    "test",
    "networks/s",
    "minutes",
)


REQUIRED = {
    "task", "model", "seed", "settings_hash", "num_train", "zoo_path", "metric", "test",
    "validation", "num_parameters", "networks_per_second", "train_seconds", "pictures",
}  # fmt: skip


def load_results(folder: Path) -> list[dict[str, Any]]:
    """Every ``result.json`` below a folder, each with its own ``folder``.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If one is damaged.
    """
    results = []
    for file in sorted(folder.rglob("result.json")):
        result = read_json(file)
        missing = REQUIRED - set(result)
        if missing:
            raise ValueError(
                f"expected a result in {file}, got one without {', '.join(sorted(missing))}; "
                "remove it and evaluate again"
            )
        results.append({**result, "folder": str(file.parent)})
    if not results:
        raise FileNotFoundError(
            f"expected result.json files below {folder}, got none; run dws-train and dws-evaluate"
        )
    return results


def summarise(results: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row for all runs that differ in nothing but the seed: mean ± standard deviation."""
    groups: dict[tuple[str, int, str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        key = (result["task"], result["num_train"], result["model"], result["settings_hash"])
        groups[key].append(result)
    return [_row(*key[:3], group) for key, group in sorted(groups.items())]


def _row(task: str, num_train: int, model: str, group: list[dict[str, Any]]) -> tuple[str, ...]:
    metric = group[0]["metric"]
    return (
        task,
        f"{num_train:,}",
        model,
        f"{group[0]['num_parameters']:,}",
        str(len(group)),
        metric,
        _spread([result["validation"][metric] for result in group], metric),
        _spread([result["test"][metric] for result in group], metric),
        f"{mean(result['networks_per_second'] for result in group):,.0f}",
        f"{mean(result['train_seconds'] for result in group) / 60:.1f}",
    )


def markdown(rows: list[tuple[str, ...]]) -> str:
    """A Markdown table, with columns padded for the terminal."""
    widths = [max(len(row[i]) for row in (HEADER, *rows)) for i in range(len(HEADER))]
    lines = [HEADER, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def _spread(values: list[float], metric: str) -> str:
    """Accuracies in percent; ± only where there is more than one seed."""
    scale, unit, digits = (100, " %", 1) if metric == "accuracy" else (1, "", 4)
    text = f"{scale * mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {scale * stdev(values):.{digits}f}"
    return text + unit
