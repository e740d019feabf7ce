"""``dws-zoo align``."""

from __future__ import annotations

from dws.cli.zoo.arguments import ZooPath


def align(path: ZooPath) -> None:
    """Create a copy of the zoo in which the neurons of all networks are aligned to the first.

    The copy is written to <zoo>.aligned. dws-train model=mlp_alignment creates it if it is missing.
    """
    from dws.zoo import Zoo, align_zoo  # deferred: imports torch

    zoo = align_zoo(Zoo.open(path))
    print(f"zoo {zoo.path}: {len(zoo):,} {zoo.manifest.noun}, aligned to the first of {path}")
