"""MkDocs hooks that generate pages and tables of the documentation from the repository.

``mkdocs.yml`` names this file. Comments in a page are replaced by tables:

- ``<!-- table: small/sine -->``: the committed table ``outputs/results/small/sine.csv``
- ``<!-- bench: fit -->``: the benchmark ``scripts/bench/fit.json``; ``<!-- bench: gpu/fits -->``:
  the table ``fits`` of ``gpu.json``
- ``<!-- settings: train -->``: all settings of ``dws-train``
- ``<!-- choices: train -->``: the choices of its configuration groups
- ``<!-- commands: dws-zoo -->``: arguments and options of a command
- ``<!-- cards: shipped -->``: the model cards of all models that ship with dws
"""

from __future__ import annotations

import csv
import importlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
import yaml
from hydra import compose, initialize_config_dir
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from omegaconf import OmegaConf
from pydantic import TypeAdapter
from typer.cli import get_docs_for_click

from dws.cli.app import TRACEBACKS
from dws.cli.help import arguments_explained, explanations
from dws.config import config_dir
from dws.experiment import load
from dws.pretrained import shipped_models
from dws.report.methods import method_title
from dws.settings import COMMANDS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "outputs/results"
BENCH = ROOT / "scripts/bench"
TABLES = re.compile(r"<!-- table: (?P<folder>\w+)/(?P<name>[\w.-]+) -->")
README_METHODS = (
    "mlp",
    "mlp_alignment",
    "transformer",
    "dwsnet",
    "nfn_hnp",
    "scalegmn",
    "dwsnet_sign",
    "probe",
)
MARKER = re.compile(r"<!-- (table|bench|settings|choices|commands|cards): ([\w./-]+) -->")
COPIES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "examples/chirps/README.md": "guides/chirps.md",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add pages and pictures from other folders of the repository."""
    for source, target in COPIES.items():
        text = (ROOT / source).read_text()
        if source.startswith("examples/"):  # links are relative to the folder of the example
            text = re.sub(r"\[([^]]+)\]\((?!http)[^)]+\)", r"`\1`", text)
        files.append(File.generated(config, target, content=text))
    for notebook in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        page = File.generated(config, f"notebooks/{notebook.stem}.md", content=as_page(notebook))
        files.append(page)
    for picture in sorted([*RESULTS.glob("*/*.[sp][vn]g"), *BENCH.glob("*.svg")]):
        target = f"results/pictures/{picture.parent.name}/{picture.name}"
        files.append(File.generated(config, target, abs_src_path=str(picture)))
    return files


def as_page(notebook: Path) -> str:
    """Convert a notebook to Markdown, with its figures, and a link to the file below the title.

    ``scripts/docs_pictures.py`` writes the figure of a cell to ``<notebook>-<cell>.png``.
    """
    blocks = []
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        text = "".join(cell["source"])
        blocks.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        picture = f"pictures/{notebook.stem}-{number}.png"
        if (ROOT / "docs" / picture).is_file():
            blocks.append(f"![Figure of this cell](../{picture})")
    title, _, rest = blocks[0].partition("\n")
    link = f"This page is a notebook: [{notebook.name}]({notebook.name})."
    return "\n\n".join([title, link, rest, *blocks[1:]])


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace comments by tables."""
    makers = {
        "table": result_table,
        "bench": bench_table,
        "settings": settings_table,
        "choices": choices_table,
        "commands": command_reference,
        "cards": cards,
    }
    return MARKER.sub(lambda match: makers[match[1]](match[2]), markdown)


# --- tables ---------------------------------------------------------------------------------------


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a Markdown table; ``|`` is escaped, and ``1.0 ± 0.1 % (n = 2)`` is not broken."""
    unbroken = {"|": "\\|", " ± ": "\u00a0±\u00a0", " %": "\u00a0%", "n = ": "n\u00a0=\u00a0"}
    cells = [[_replaced(str(cell), unbroken) for cell in row] for row in [header, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|---" * len(header) + "|", *lines[1:]])


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def plain_text(text: str) -> str:
    """Escape the characters ``_``, ``*`` and ``<`` of a docstring for Markdown."""
    return re.sub(r"([_*<])", r"\\\1", text)


def read_csv(name: str) -> list[list[str]]:
    """Read ``outputs/results/<name>.csv``; the first row is the header."""
    with (RESULTS / f"{name}.csv").open() as file:
        return list(csv.reader(file))


def result_table(name: str) -> str:
    """Format a committed table of results, with the titles of methods."""
    header, *rows = read_csv(name)
    if header[0] == "method":
        rows = [[method_title(row[0]), *row[1:]] for row in rows]
    return markdown_table(header, rows)


def readme_table() -> str:
    """Format the table of the README: published test metrics beside those of this repository."""

    def column(table: str, title: str) -> dict[str, str]:
        header, *rows = read_csv(f"small/{table}")
        return {row[0]: row[header.index(title)] for row in rows}

    def measured(*tables: str, title: str) -> dict[str, str]:
        cells = {m: text for table in tables for m, text in column(table, title).items()}
        return {m: re.sub(r" \(n = \d+\)", "", text) for m, text in cells.items()}

    images = ("classification", "classification-others", "classification-functions")
    columns = [
        measured(*images[:2], title="MNIST, published"),
        measured(*images, title="MNIST, here"),
        measured(*images[:2], title="Fashion-MNIST, published"),
        measured(*images, title="Fashion-MNIST, here"),
        column("ssl", "published"),
        measured("ssl", "ssl-others", title="here"),
    ]
    rows = [[method_title(m), *(c.get(m) or "–" for c in columns)] for m in README_METHODS]
    largest = [
        measured(f"sizes-{task}", title="55,000 networks") for task in ("mnist", "fashion_mnist")
    ]
    for method in ("dwsnet", "dwsnet_sign"):
        mnist, fashion = (cells.get(method, "–") for cells in largest)
        title = f"{method_title(method)}, 55,000 networks"
        rows.append(
            [
                title,
                columns[0].get(method) or "–",
                mnist,
                columns[2].get(method) or "–",
                fashion,
                "–",
                "–",
            ]
        )
    return markdown_table(
        [
            "method",
            "MNIST, published",
            "MNIST, here",
            "Fashion-MNIST, published",
            "Fashion-MNIST, here",
            "sines (MSE), published",
            "sines (MSE), here",
        ],
        rows,
    )


def bench_table(name: str) -> str:
    """Format a committed benchmark, with its machine and versions."""
    name, _, table = name.partition("/")
    data = json.loads((BENCH / f"{name}.json").read_text())
    versions = ", ".join(f"{k} {v}" for k, v in data["versions"].items())
    computer = " and ".join(data[key] for key in ("machine", "gpu") if key in data)
    machine = f"Machine: {computer}; {versions}. Source: `scripts/bench/{name}.json`."
    if table or "rows" in data:
        rows = data[table or "rows"]
        columns = [k for k in rows[0] if not k.endswith("min_max")]
        cells = [[_cell(row[column]) for column in columns] for row in rows]
        titles = [_title(column) for column in columns]
    elif name == "memory":
        stages = [key for key in data if key.endswith("_mib") and isinstance(data[key], dict)]
        titles = ["INRs", *(f"{stage.removesuffix('_mib')}, MiB" for stage in stages)]
        cells = [
            [f"{int(n):,}", *(f"{data[stage][n]:,.0f}" for stage in stages)]
            for n in data[stages[0]]
        ]
    else:
        rest = [key for key in data if key not in ("machine", "versions")]
        titles = [_title(key) for key in rest]
        cells = [[_cell(data[key]) for key in rest]]
    return f"{markdown_table(titles, cells)}\n\n{machine}"


def command_reference(name: str) -> str:
    """Arguments and options of a command that uses typer, from its help."""
    module = importlib.import_module(f"dws.cli.{name.removeprefix('dws-')}")
    command = typer.main.get_command(module.app)
    context = command.make_context(name, [], resilient_parsing=True)
    text = get_docs_for_click(obj=command, ctx=context, indent=1, name=name).replace("\b\n", "")
    text = re.sub(r"\*\*Commands\*\*:\n\n(\*.*\n)+\n", "", text)  # each has a section of its own
    text = re.sub(r"^\* `--(help|version|(install|show)-completion)`.*\n", "", text, flags=re.M)
    text = re.sub(r"\*\*Options\*\*:\n\n(?!\*)", "", text)
    text = re.sub(r"^Examples:\n((?: {2}.+\n)+)", r"Examples:\n\n```\n\1```\n", text, flags=re.M)
    return text.replace(f"{TRACEBACKS}\n", "")


def cards(which: str) -> str:
    """Format the model cards of the shipped models from the metadata of their files."""
    assert which == "shipped"
    return "\n\n".join(load(name).card.markdown(name) for name in shipped_models())


def _title(key: str) -> str:
    units = {
        "s": "(s)",
        "ms": "(ms)",
        "mib": "(MiB)",
        "inr": "INR",
        "inrs": "INRs",
        "percent": "(%)",
    }
    return " ".join(units.get(word, word) for word in key.split("_"))


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return "-".join(map(str, value))
    return f"{value:,}" if isinstance(value, int | float) else str(value)


# --- settings -------------------------------------------------------------------------------------


def settings_table(command: str) -> str:
    """Format the settings of a command, one section per group."""
    with initialize_config_dir(config_dir(), version_base="1.3"):
        config = OmegaConf.to_container(compose(command), resolve=False)
    assert isinstance(config, dict)
    kind = COMMANDS[command]
    sections: dict[str, list[list[str]]] = {}
    for name, value, text, allowed in _settings(config, kind):
        section = name.partition(".")[0] if "." in name else ""
        shown = "" if value == "???" else f"`{_plain(value)}`"
        sections.setdefault(section, []).append([f"`{name}`", shown, allowed, plain_text(text)])
    meanings = explanations(kind)
    parts = []
    for section, rows in sorted(sections.items()):
        title = f"#### `{section}`" if section else "#### General"
        intro = plain_text(meanings.get(section, ""))
        table = markdown_table(["setting", "value", "allowed", "meaning"], rows)
        parts.append("\n\n".join(filter(None, [title, intro, table])))
    return "\n\n".join(parts)


def _settings(
    node: Mapping[str, Any], kind: Any, prefix: str = "", more: Mapping[str, str] | None = None
) -> Iterator[tuple[str, Any, str, str]]:
    """Name, value, meaning and allowed values of each setting below a node of a configuration."""
    meanings = {**(more or {}), **explanations(kind)}
    hints = get_type_hints(kind, include_extras=True) if is_dataclass(kind) else {}
    for key, value in node.items():
        if key in ("presets", "_target_", "record", "hydra"):
            continue
        hint = hints.get(key, Any)
        if isinstance(value, Mapping) and value:
            target = arguments_explained(str(value.get("_target_", "")))
            yield from _settings(value, hint, f"{prefix}{key}.", target)
        else:
            yield f"{prefix}{key}", value, meanings.get(key, ""), _allowed(hint)
    for name, inner in _optional_parts(kind).items():
        if name not in node:
            yield from _settings(asdict(inner()), inner, f"{prefix}{name}.")


def _optional_parts(kind: Any) -> dict[str, Any]:
    """Optional groups of settings, such as ``zoo.classifier``, by name."""
    hints = get_type_hints(kind) if is_dataclass(kind) else {}
    choices = {name: get_args(hint) for name, hint in hints.items()}
    return {
        name: next(filter(is_dataclass, kinds))
        for name, kinds in choices.items()
        if type(None) in kinds and any(map(is_dataclass, kinds))
    }


def _allowed(hint: Any) -> str:
    """Description of the allowed values of a setting."""
    if hint is Any:
        return ""
    schema = TypeAdapter(hint).json_schema()
    return " or ".join(dict.fromkeys(_in_words(each) for each in schema.get("anyOf", [schema])))


def _in_words(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    words = {
        "integer": "integer",
        "number": "number",
        "string": "text",
        "boolean": "`true`, `false`",
        "array": "list",
        "null": "`null`",
    }
    limits = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
    }
    text = words.get(schema.get("type", ""), "")
    shown = [
        f"{sign} {schema[key]:g}"
        for key, sign in limits.items()
        if key in schema and abs(schema[key]) < 2**63
    ]
    return " ".join([text, ", ".join(shown)]).strip()


def _plain(value: Any) -> str:
    """Format a value as in ``key=value``."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


def choices_table(command: str) -> str:
    """Format the choices of each configuration group of a command."""
    defaults = yaml.safe_load((ROOT / f"configs/{command}.yaml").read_text())["defaults"]
    groups: dict[str, str] = {}
    for entry in defaults:
        if isinstance(entry, dict):
            for key, choice in entry.items():
                group = key.removeprefix("optional ").split("@")[0]
                if "/" not in group:
                    groups[group] = str(choice)
    rows = []
    for group, default in {"scale": "paper", **groups}.items():
        files = sorted((ROOT / "configs" / group).glob("*.yaml"))
        choices = ", ".join(f"`{file.stem}`" for file in files)
        rows.append([f"`{group}`", choices, "" if default == "None" else f"`{default}`"])
    return markdown_table(["group", "choices", "default"], rows)
