"""``dws-zoo``: look at a zoo, check it, draw from it."""

from __future__ import annotations

import argparse
from pathlib import Path

from dws.cli.command import user_errors
from dws.evaluation import figures
from dws.zoo import Zoo

EXAMPLES = """examples:
  dws-zoo info outputs/zoos/mnist
  dws-zoo verify outputs/zoos/mnist
  dws-zoo render outputs/zoos/mnist --rows 0 1 2 3 --magnify 4 --output digits.png
"""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="dws-zoo",
        description="Look at a zoo, check it, draw from it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    info = commands.add_parser("info", help="what the zoo holds and how it was made")
    info.set_defaults(function=lambda zoo, _: print_info(zoo))
    verify = commands.add_parser("verify", help="check every byte; exit status 1 on any damage")
    verify.set_defaults(function=lambda zoo, _: verify_zoo(zoo))
    render = commands.add_parser("render", help="draw INRs from their weights")
    render.set_defaults(function=render_rows)
    render.add_argument("--rows", type=int, nargs="+", default=list(range(8)), metavar="ROW")
    render.add_argument("--magnify", type=int, default=1, help="points per fitted point and axis")
    render.add_argument("--output", type=Path, default=Path("render.png"), help="%(default)s")
    for command in (info, verify, render):
        command.add_argument("path", type=Path, help="the zoo's folder")
    arguments = parser.parse_args()
    with user_errors():
        arguments.function(Zoo.open(arguments.path), arguments)


def print_info(zoo: Zoo) -> None:
    """The manifest, readably."""
    manifest = zoo.manifest
    inr, fit, quality = manifest["inr"], manifest["fit"], manifest["train_psnr"]
    print(f"{zoo.path}: {manifest['signals']['name']}, format {manifest['format_version']}")
    for name, (start, stop) in manifest["splits"].items():
        print(f"  {name:<6} {stop - start:>7,} INRs, rows {start} to {stop - 1}")
    print(f"  widths {zoo.spec.dims}, {zoo.spec.num_params:,} parameters")
    print(f"  inr    {_settings(inr)}")
    print(f"  fit    {_settings(fit)}")
    print(f"  zoo    {_settings(manifest['zoo'])}")
    print(f"  labels {', '.join(manifest['labels'])}")
    print(
        f"  PSNR   {quality['median']:.1f} dB (5 % below {quality['q05']:.1f}, 5 % above "
        f"{quality['q95']:.1f}), {manifest['train_num_steps_median']} steps (training medians)"
    )
    deviations = (f"{name} {value:.4f}" for name, value in manifest["train_std"].items())
    print(f"  std    {', '.join(deviations)}")
    print(f"  made with {_settings(manifest['versions'])}")


def _settings(values: dict[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())


def verify_zoo(zoo: Zoo) -> None:
    """Check every shard.

    Raises:
        ValueError: If any is missing or altered, after one line for each.
    """
    problems = zoo.find_problems()
    for problem in problems:
        print(problem)
    num_shards = len(zoo.manifest["shards"])
    if problems:
        raise ValueError(
            f"expected {num_shards} whole shards in {zoo.path}, got {len(problems)} that are not"
        )
    print(f"{zoo.path}: {num_shards} shards with {len(zoo):,} INRs are as they were written")


def render_rows(zoo: Zoo, arguments: argparse.Namespace) -> None:
    """Draw the rows that were asked for."""
    figures.rendered(arguments.output, zoo, arguments.rows, magnify=arguments.magnify)
    print(f"{len(arguments.rows)} INRs of {zoo.path} are drawn in {arguments.output}")
