"""``dws-zoo``: look at a zoo, check it, draw from it, and exchange it with other projects."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dws.cli.command import user_errors
from dws.errors import UserError
from dws.inr import SirenConfig
from dws.io.folders import check_can_make, check_claim
from dws.zoo import (
    Zoo,
    align_zoo,
    export_dwsnets,
    export_parquet,
    import_dwsnets,
    import_nfn,
    merge_parts,
)
from dws.zoo.build import CONFIG
from dws.zoo.figures import plot_rows

# argparse takes these negative numbers for options, unless they begin with a space
NEGATIVE = re.compile(r"-[0-9.]+e[+-]?[0-9]+|-[0-9]+\.|-inf(inity)?|-nan", re.IGNORECASE)
EXAMPLES = """examples:
  dws-zoo info outputs/zoos/mnist
  dws-zoo verify outputs/zoos/mnist
  dws-zoo render outputs/zoos/mnist --rows 0 1 2 3 --magnify 4 --output digits.png
  dws-zoo align outputs/zoos/mnist
  dws-zoo merge outputs/zoos/mnist.parts/* outputs/zoos/mnist
  dws-zoo import --format dwsnets dataset/mnist_splits.json outputs/zoos/published
  dws-zoo import --format nfn siren_mnist_wts outputs/zoos/nfn
  dws-zoo export --format dwsnets outputs/zoos/mnist dataset/mnist
  dws-zoo export --format parquet outputs/zoos/mnist mnist.parquet
"""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="dws-zoo",
        description="Look at a zoo, check it, draw from it, exchange it with other projects.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    info = commands.add_parser("info", help="what the zoo holds and how it was made")
    info.set_defaults(function=print_info)
    verify = commands.add_parser("verify", help="check every byte; exit status 1 on any damage")
    verify.set_defaults(function=verify_zoo)
    render = commands.add_parser("render", help="draw INRs from their weights")
    render.set_defaults(function=render_rows)
    render.add_argument("--rows", type=int, nargs="+", metavar="ROW", help="rows to draw (first 8)")
    render.add_argument(
        "--magnify", type=int, default=1, help="points along an axis for each fitted point"
    )
    render.add_argument("--output", type=Path, default=Path("render.png"), help="%(default)s")
    aligning = commands.add_parser(
        "align", help="copy the zoo beside it with all neurons in the order of the first INR's"
    )
    aligning.set_defaults(function=make_aligned)
    reading = commands.add_parser(
        "import",
        help="make a zoo of the files of another project",
        description="Make a zoo of the files of another project. Nothing in them is executed. "
        "Weights of any floating dtype become float32. Checksums are compared; PyTorch's format "
        "from before 1.6 has none.",
    )
    reading.set_defaults(function=import_zoo)
    reading.add_argument("--format", choices=["dwsnets", "nfn"], required=True)
    reading.add_argument(
        "source", type=Path, help="folder of .pth files, or for dwsnets a JSON file with splits"
    )
    reading.add_argument("--skip-bad", action="store_true", help="leave out unreadable files")
    reading.add_argument(
        "--num-val",
        type=int,
        help="dwsnets: number of training INRs for validation, if source is a folder (5000)",
    )
    reading.add_argument(
        "--file-name",
        metavar="NAME",
        help="dwsnets: which file to read if INRs' folders have several; a name or pattern like "
        "checkpoints/model_final.pth",
    )
    reading.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="dwsnets: folder to which the files of a JSON file were moved; DIR replaces the "
        "folder that all its paths have in common",
    )
    reading.add_argument("--prefix", help="nfn: prefix of the folders to read (randinit_smaller)")
    reading.add_argument(
        "--split-points",
        type=int,
        nargs=2,
        metavar=("VAL", "TEST"),
        help="nfn: number of the first INR for validation and for testing (45000 50000)",
    )
    reading.add_argument(
        "--grid",
        type=int,
        nargs="+",
        default=[28, 28],
        help="points along each axis of a signal (28 28)",
    )
    reading.add_argument(
        "--domain",
        type=float,
        nargs="+",
        default=[-1.0, 1.0],
        metavar="END",
        help="lowest and highest coordinate of all inputs, or such a pair for each (-1 1)",
    )
    reading.add_argument(
        "--omega-0", type=float, default=30.0, help="ω0 of the sines (%(default)s)"
    )
    reading.add_argument(
        "--output-offset", type=float, help="added to the output (dwsnets 0.5, nfn 0)"
    )
    for command in (info, verify, render, aligning, reading):
        command.add_argument("path", type=Path, help="the zoo's folder")
    merging = commands.add_parser("merge", help="make one zoo of parts that were fitted separately")
    merging.set_defaults(function=merge_zoo)
    merging.add_argument("parts", type=Path, nargs="+", help="folders of all parts")
    merging.add_argument("path", type=Path, help="the zoo's folder")
    writing = commands.add_parser("export", help="write a zoo for another project")
    writing.set_defaults(function=export_zoo)
    writing.add_argument("--format", choices=["dwsnets", "parquet"], required=True)
    writing.add_argument("path", type=Path, help="the zoo's folder")
    writing.add_argument("target", type=Path, help="new folder, for parquet a new file")
    writing.add_argument("--label", help="dwsnets: the label to write (label)")
    given = [f" {text}" if NEGATIVE.fullmatch(text) else text for text in sys.argv[1:]]
    arguments = parser.parse_args(given)
    with user_errors():
        arguments.function(arguments)


def import_zoo(arguments: argparse.Namespace) -> None:
    """Import INRs of another project."""
    offset = arguments.output_offset
    if offset is None:
        offset = {"dwsnets": 0.5, "nfn": 0.0}[arguments.format]
    inr = SirenConfig(omega_0=arguments.omega_0, output_offset=offset)
    names = ("grid", "domain", "skip_bad")
    common = {"inr": inr, **{name: getattr(arguments, name) for name in names}}
    formats = dict.fromkeys(("num_val", "file_name", "root"), "dwsnets")
    special = _given(arguments, {**formats, "prefix": "nfn", "split_points": "nfn"})
    readers: dict[str, Callable[..., Zoo]] = {"dwsnets": import_dwsnets, "nfn": import_nfn}
    zoo = readers[arguments.format](arguments.source, arguments.path, **common, **special)
    print(f"zoo {zoo.path}: {len(zoo):,} INRs of widths {zoo.spec.dims}")


def _given(arguments: argparse.Namespace, formats: dict[str, str]) -> dict[str, Any]:
    """Options that were given, each of which belongs to one format.

    Raises:
        ValueError: If one was given for another format.
    """
    given = {key: getattr(arguments, key) for key in formats if getattr(arguments, key) is not None}
    for key in given:
        if formats[key] != arguments.format:
            option = "--" + key.replace("_", "-")
            raise UserError(
                f"{option} is for --format {formats[key]}, not for {arguments.format}; leave it out"
            )
    return given


def export_zoo(arguments: argparse.Namespace) -> None:
    """Export a zoo for another project."""
    zoo = Zoo.open(arguments.path)
    if arguments.format == "parquet":
        _given(arguments, {"label": "dwsnets"})
        export_parquet(zoo, arguments.target)
        print(f"{len(zoo):,} INRs of {zoo.path} are in {arguments.target}")
    else:
        file = export_dwsnets(zoo, arguments.target, label=arguments.label or "label")
        print(f"{len(zoo):,} INRs of {zoo.path} are in {arguments.target}, listed in {file}")


def merge_zoo(arguments: argparse.Namespace) -> None:
    """Merge parts."""
    if not arguments.path.exists():
        check_can_make(arguments.path)
    elif not (arguments.path / CONFIG).is_file():  # otherwise compared with the parts
        check_claim(arguments.path / CONFIG, {}, option="path")
    zoo = merge_parts(arguments.parts, arguments.path)
    print(f"zoo {zoo.path}: {len(zoo):,} INRs of {len(arguments.parts)} parts")


def make_aligned(arguments: argparse.Namespace) -> None:
    """Align, as ``dws-train zoo.aligned=true`` does by itself."""
    zoo = align_zoo(Zoo.open(arguments.path))
    print(f"zoo {zoo.path}: {len(zoo):,} INRs, aligned to the first of {arguments.path}")


def print_info(arguments: argparse.Namespace) -> None:
    """Print the manifest in a readable form."""
    zoo = Zoo.open(arguments.path)
    manifest = zoo.manifest
    inr, fit, quality = manifest["inr"], manifest["fit"], manifest["train_psnr"]
    print(f"{zoo.path}: {manifest['signals']['name']}, format {manifest['format_version']}")
    for name, (start, stop) in manifest["splits"].items():
        print(f"  {name:<6} {stop - start:>7,} INRs, rows {start} to {stop - 1}")
    print(f"  widths {zoo.spec.dims}, {zoo.spec.num_params:,} parameters")
    print(f"  inr    {_settings(inr)}")
    preset = f"{manifest['fit_preset']['name']}: " if "fit_preset" in manifest else ""
    print(f"  fit    {preset}{_settings(fit) if fit else 'not known'}")
    print(f"  zoo    {_settings(manifest['zoo'])}")
    print(f"  labels {', '.join(manifest['labels'])}")
    if quality:
        print(
            f"  PSNR   {quality['median']:.1f} dB (5 % below {quality['q05']:.1f}, 5 % above "
            f"{quality['q95']:.1f}), {manifest['train_num_steps_median']} steps (training medians)"
        )
    deviations = (f"{name} {value:.4f}" for name, value in manifest["train_std"].items())
    print(f"  std    {', '.join(deviations)}")
    print(f"  made with {_settings(manifest['versions'])}")


def _settings(values: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def verify_zoo(arguments: argparse.Namespace) -> None:
    """Check every shard.

    Raises:
        ValueError: If any is missing or altered; each is printed before.
    """
    zoo = Zoo.open(arguments.path)
    problems = zoo.find_problems()
    for problem in problems:
        print(problem)
    num_shards = len(zoo.manifest["shards"])
    if problems:
        raise UserError(
            f"{len(problems)} of {num_shards} shards in {zoo.path} are missing or altered"
        )
    print(f"{zoo.path}: {num_shards} shards with {len(zoo):,} INRs are as they were written")


def render_rows(arguments: argparse.Namespace) -> None:
    """Draw the requested rows."""
    zoo = Zoo.open(arguments.path)
    rows = arguments.rows or range(min(8, len(zoo)))
    plot_rows(arguments.output, zoo, rows, magnify=arguments.magnify)
    print(f"{len(rows)} INRs of {zoo.path} are drawn in {arguments.output}")
