"""Arguments and options of ``dws-zoo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

ZooPath = Annotated[Path, Argument(help="The zoo's folder.")]

Source = Annotated[
    Path, Argument(help="Folder of .pth files, or for dwsnets a JSON file with the splits.")
]
SkipBad = Annotated[
    bool, Option("--skip-bad", help="Skip files that cannot be imported, and list them.")
]
NumVal = Annotated[
    int | None,
    Option(
        help="dwsnets: number of training INRs to use for validation if SOURCE is a folder (5000)."
    ),
]
FileName = Annotated[
    str | None,
    Option(
        help="dwsnets: file to import if the folder of an INR contains several; a name or pattern "
        "such as checkpoints/model_final.pth."
    ),
]
Root = Annotated[
    Path | None,
    Option(
        help="dwsnets: folder to which the listed files were moved; it replaces the common parent "
        "folder of all paths in the JSON file."
    ),
]
Prefix = Annotated[
    str | None, Option(help="nfn: prefix of the folders to import (randinit_smaller).")
]
SplitPoints = Annotated[
    tuple[int, int] | None,
    Option(help="nfn: numbers of the first validation and the first test INR (45000 50000)."),
]
Grid = Annotated[
    list[int] | None, Option(help="Number of points along each axis of a signal (28 28).")
]
Domain = Annotated[
    list[float] | None,
    Option(help="Lowest and highest coordinate, once for all inputs or once per input (-1 1)."),
]
Omega0 = Annotated[float, Option("--omega-0", help="Frequency factor ω0 of the sines.")]
OutputOffset = Annotated[
    float | None, Option(help="Constant added to the output (dwsnets 0.5, nfn 0).")
]
