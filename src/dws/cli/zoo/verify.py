"""``dws-zoo verify``."""

from __future__ import annotations

from dws.cli.zoo.arguments import ZooPath


def verify(path: ZooPath) -> None:
    """Verify the checksums of all shards; the exit status is 1 if any is damaged."""
    from dws.errors import UserError
    from dws.zoo import Zoo  # deferred: imports torch

    zoo = Zoo.open(path)
    problems = zoo.find_problems()
    for problem in problems:
        print(problem)
    num_shards = len(zoo.manifest.shards)
    if problems:
        raise UserError(
            f"{len(problems)} of {num_shards} shards in {zoo.path} are missing or altered"
        )
    print(
        f"{zoo.path}: all checksums match ({num_shards} shards, {len(zoo):,} {zoo.manifest.noun})"
    )
