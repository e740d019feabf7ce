"""``dws-zoo info``."""

from __future__ import annotations

from dws.cli.zoo.arguments import ZooPath


def info(path: ZooPath) -> None:
    """Print the content of the zoo and the settings that it was made with."""
    from dws.zoo import Zoo  # deferred: imports torch
    from dws.zoo.summary import summarise

    print(summarise(Zoo.open(path)))
