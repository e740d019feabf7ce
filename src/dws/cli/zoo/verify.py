"""``dws-zoo verify``."""

from __future__ import annotations

from dws.cli.zoo.arguments import ZooPath


def verify(path: ZooPath) -> None:
    """Check every byte; the exit status is 1 on any damage."""
    from dws.errors import UserError
    from dws.zoo import Zoo  # loads torch, for seconds

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
        f"{zoo.path}: {num_shards} shards with {len(zoo):,} {zoo.manifest.noun} are as they were "
        "written"
    )
