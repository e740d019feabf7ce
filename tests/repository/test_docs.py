"""The documentation builds without warnings and matches the content of the repository."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from html import unescape
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from scripts import docs_hooks, docs_pictures, keep_results
from tests.conftest import code_blocks

from dws.config import compose_settings
from dws.settings import COMMANDS

REPOSITORY = Path(__file__).parents[2]
PAGES = ["README.md", *(str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("docs/**/*.md"))]
TESTED_ELSEWHERE = ("hydra", "hparams_search", "--config-dir", "plugins=")
COMMAND = re.compile(r"dws-(fit-inrs|train|evaluate|report)((?: [^\s`|]+)+)")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation built by ``make docs``."""
    folder: Path = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


def test_pages_load_no_remote_resources(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 30
    loads = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")
    found = {tag for page in pages for tag in loads.findall(page.read_text())}
    assert {tag for tag in found if 'rel="canonical"' not in tag} == set()


def names_of(kind: Any, prefix: str = "") -> Iterator[str]:
    """Settings of a class of ``dws.settings`` and of the classes of its attributes."""
    for field in fields(kind):
        hint = get_type_hints(kind)[field.name]
        if type(None) in get_args(hint):  # an optional group
            hint = next(filter(is_dataclass, get_args(hint)), hint)
        if is_dataclass(hint):
            yield from names_of(hint, f"{prefix}{field.name}.")
        elif field.name not in ("presets", "record"):
            yield f"{prefix}{field.name}"


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_page_lists_every_setting(command: str, site: Path) -> None:
    text = (site / "guides/settings.html").read_text()
    section = text.partition(f'id="dws-{command.replace("_", "-")}"')[2].partition("<h2")[0]
    shown = set(re.findall(r"<td><code>([\w.]+)</code></td>", section))
    expected = set(names_of(COMMANDS[command]))
    groups = {"task", "model", "signals", "engine"}  # groups whose settings depend on the choice
    missing = {name for name in expected - shown if not {name, name.split(".")[-1]} & groups}
    assert missing == set()


def test_result_tables_match_the_committed_files(site: Path) -> None:
    page = unescape((site / "results/paper.html").read_text()).replace("\u00a0", " ")
    for row in docs_hooks.read_csv("small/classification")[1:]:
        assert "".join(f"<td>{cell}</td>\n" for cell in row[1:]) in page


def test_readme_is_short_and_matches_the_committed_results() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) <= 200
    table = text.partition(keep_results.BEGIN)[2].partition(keep_results.END)[0]
    assert table.strip() == docs_hooks.readme_table()


def test_readme_links_have_targets() -> None:
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", (REPOSITORY / "README.md").read_text())
    assert [target for target in targets if not (REPOSITORY / target).exists()] == []


def documented_commands() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Documented commands with settings: the line, and the command with its arguments."""
    found = {}
    for page in PAGES:
        for name, rest in COMMAND.findall((REPOSITORY / page).read_text()):
            line = rest.strip().partition(" #")[0].rstrip(".,:;)")
            if any(word in line for word in (*TESTED_ELSEWHERE, "...", "RUN", "$", "=T ", "<")):
                continue
            try:
                words = shlex.split(line)
            except ValueError:
                continue
            settings = tuple(word for word in words if re.match(r"[\w./]+=", word))
            if settings:
                found[f"{name} {' '.join(settings)}"] = (name, settings)
    return found


@pytest.mark.parametrize("line", documented_commands())
def test_documented_commands_use_existing_settings(line: str) -> None:
    name, settings = documented_commands()[line]
    first = [re.sub(r"^([\w./]+)=([\w.]+),[\w.,]+$", r"\1=\2", setting) for setting in settings]
    command = name.replace("-", "_")
    required = ["run=run"] if command == "evaluate" and not line.count(" run=") else []
    compose_settings(command, [*first, *required])


def test_documented_commands_are_found() -> None:
    assert len(documented_commands()) > 15


def test_every_python_block_is_run_by_a_test() -> None:
    run = ("import dws\n\nzoo", "logits", "load_trained", "load_results", "shuffled", "is_typical")
    run += ("labels, activation",)
    blocks = [block for page in PAGES for block in code_blocks(page, "python")]
    assert [block for block in blocks if sum(text in block for text in run) != 1] == []


def test_figures_are_generated_from_committed_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(docs_pictures, "PICTURES", tmp_path)
    docs_pictures.main()
    committed = {file.name for file in (REPOSITORY / "docs/pictures").iterdir()}
    screenshots = {"playground.png"}
    assert {file.name for file in tmp_path.iterdir()} == committed - screenshots
