"""The report in a real browser."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from dws.cli import evaluate, report, train
from dws.zoo import Zoo

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and "CI" not in os.environ, reason="needs chromium (Debian: chromium)"
    ),
]


@pytest.fixture(scope="module")
def folder(sine_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three runs, one folder of which has a name that is HTML."""
    root = tmp_path_factory.mktemp("report")
    zoo = shutil.copytree(sine_zoo.path, root / "<b>&amp;zoo")
    common = [f"paths.outputs={root}", "trainer.num_epochs=2", "trainer.batch_size=8"]
    with pytest.MonkeyPatch.context() as patch:
        for seed, model in ((0, "dwsnet"), (1, "dwsnet"), (0, "mlp")):
            run = f"{root}/runs/sine/{model}/seed{seed}"
            small = ["model.hidden_channels=4"] if model == "dwsnet" else []
            arguments = [
                "task=sine",
                f"model={model}",
                f"seed={seed}",
                f"run_dir={run}",
                "wandb=disabled",
            ]
            path = f"zoo.path='{zoo}'"
            patch.setattr(sys, "argv", ["dws-train", *arguments, path, *common, *small])
            train.main()
            patch.setattr(sys, "argv", ["dws-evaluate", f"run={run}"])
            evaluate.main()
        patch.setattr(sys, "argv", ["dws-report", f"paths.outputs={root}", "scale=small"])
        report.main()
    return root / "report"


@pytest.fixture
def page(folder: Path) -> Iterator[Page]:
    """The report on a phone; nothing may go wrong or leave the page."""
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url))
        address = (folder / "index.html").as_uri()
        page.goto(address)
        yield page
        browser.close()
    assert [p for p in problems if p != address and not p.startswith("data:")] == []


def test_tables_hold_what_the_files_hold(page: Page, folder: Path) -> None:
    names = {file.stem for file in (folder / "tables").glob("*.csv")}
    assert {"classification", "ssl", "sine", "symmetry", "embeddings", "zoos", "runs"} <= names
    for name in names:
        shown = page.eval_on_selector_all(
            f"#table-{name} tr",
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))",
        )
        with (folder / "tables" / f"{name}.csv").open(newline="") as lines:
            assert shown == list(csv.reader(lines)), name


def test_every_picture_is_there_and_told_in_words(page: Page) -> None:
    pictures = page.eval_on_selector_all(
        "img", "all => all.map(i => [i.complete && i.naturalWidth > 0, i.alt.trim().length > 10])"
    )
    assert len(pictures) == 4  # t-SNE, learning curves, and two outcomes that are folded away
    assert all(loaded and told for loaded, told in pictures)


def test_nothing_is_wider_than_a_phone(page: Page) -> None:
    for open_ in ("", "document.querySelectorAll('details').forEach(d => d.open = true)"):
        page.evaluate(open_)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_is_dark_where_it_should_be(page: Page) -> None:
    def brightness(what: str) -> float:
        colour = page.evaluate(f"getComputedStyle(document.body).{what}")
        return sum(float(part) for part in colour.strip("rgb()").split(",")[:3]) / 3

    page.emulate_media(color_scheme="light")
    assert brightness("backgroundColor") > 200 > 100 > brightness("color")
    page.emulate_media(color_scheme="dark")
    assert brightness("backgroundColor") < 100 < 200 < brightness("color")


def test_the_keyboard_reaches_links_tables_and_details(page: Page) -> None:
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName.toLowerCase()"))
    assert {"a", "div", "summary"} <= reached
    tables = page.locator(".table")
    assert all(tables.nth(i).get_attribute("tabindex") == "0" for i in range(tables.count()))


def test_names_are_shown_as_they_are(page: Page) -> None:
    assert page.locator("b").count() == 0
    assert "<b>&amp;zoo" in page.locator("#table-zoos").inner_text()


def test_what_was_not_run_names_its_command(page: Page, folder: Path) -> None:
    text = page.locator("main").inner_text()
    assert "not run" in text
    command = f"make reproduce-all SCALE=small OUT={folder.parent} TASKS='sine' METHODS='mlp_perm"
    assert command in text
