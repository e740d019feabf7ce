"""``dws-zoo import``."""

from __future__ import annotations

from typing import Annotated, Literal

from typer import Option

from dws.cli.zoo import arguments as of


def import_(
    source: of.Source,
    path: of.ZooPath,
    format: Annotated[Literal["dwsnets", "nfn"], Option()],
    skip_bad: of.SkipBad = False,
    num_val: of.NumVal = None,
    file_name: of.FileName = None,
    root: of.Root = None,
    prefix: of.Prefix = None,
    split_points: of.SplitPoints = None,
    grid: of.Grid = None,
    domain: of.Domain = None,
    omega_0: of.Omega0 = 30.0,
    output_offset: of.OutputOffset = None,
) -> None:
    """Create a zoo from the files of another project.

    No code in the files is executed. Weights of any floating-point type are converted to float32.
    Checksums are compared; files in PyTorch's format from before version 1.6 have none.
    """
    from dws.zoo.exchange import import_zoo  # deferred: imports torch

    zoo = import_zoo(
        source, path, format=format, skip_bad=skip_bad, grid=grid or None, domain=domain or None,
        omega_0=omega_0, output_offset=output_offset, num_val=num_val, file_name=file_name,
        root=root, prefix=prefix, split_points=split_points,
    )  # fmt: skip
    print(f"zoo {zoo.path}: {len(zoo):,} INRs of widths {zoo.spec.dims}")
