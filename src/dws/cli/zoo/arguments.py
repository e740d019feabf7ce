"""Arguments and options of ``dws-zoo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

ZooPath = Annotated[Path, Argument(help="The zoo's folder.")]

Source = Annotated[
    Path, Argument(help="Folder of .pth files, or for dwsnets a JSON file with splits.")
]
SkipBad = Annotated[bool, Option("--skip-bad", help="Leave out unreadable files.")]
NumVal = Annotated[
    int | None,
    Option(help="dwsnets: number of training INRs for validation, if source is a folder (5000)."),
]
FileName = Annotated[
    str | None,
    Option(
        help="dwsnets: which file to read if INRs' folders have several; a name or pattern like "
        "checkpoints/model_final.pth."
    ),
]
Root = Annotated[
    Path | None,
    Option(
        help="dwsnets: folder to which the files of a JSON file were moved; it replaces the folder "
        "that all its paths have in common."
    ),
]
Prefix = Annotated[
    str | None, Option(help="nfn: prefix of the folders to read (randinit_smaller).")
]
SplitPoints = Annotated[
    tuple[int, int] | None,
    Option(help="nfn: number of the first INR for validation and for testing (45000 50000)."),
]
Grid = Annotated[list[int] | None, Option(help="Points along each axis of a signal (28 28).")]
Domain = Annotated[
    list[float] | None,
    Option(help="Lowest and highest coordinate of all inputs, or such a pair for each (-1 1)."),
]
Omega0 = Annotated[float, Option("--omega-0", help="ω0 of the sines.")]
OutputOffset = Annotated[float | None, Option(help="Added to the output (dwsnets 0.5, nfn 0).")]
