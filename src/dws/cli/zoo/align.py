"""``dws-zoo align``."""

from __future__ import annotations

from dws.cli.zoo.arguments import ZooPath


def align(path: ZooPath) -> None:
    """Copy the zoo with all neurons in the order of the first INR's.

    The copy lies beside the zoo, in <zoo>.aligned. dws-train model=mlp_alignment makes it by
    itself.
    """
    from dws.zoo import Zoo, align_zoo  # loads torch, for seconds

    zoo = align_zoo(Zoo.open(path))
    print(f"zoo {zoo.path}: {len(zoo):,} {zoo.manifest.noun}, aligned to the first of {path}")
