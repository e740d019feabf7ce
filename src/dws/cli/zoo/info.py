"""``dws-zoo info``."""

from __future__ import annotations

from dws.cli.zoo.arguments import ZooPath


def info(path: ZooPath) -> None:
    """Print what the zoo holds and how it was made."""
    from dws.zoo import Zoo  # loads torch, for seconds
    from dws.zoo.summary import summarise

    print(summarise(Zoo.open(path)))
