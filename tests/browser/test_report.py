"""Tests of the report page in a browser."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import torch
from playwright.sync_api import Page, sync_playwright
from safetensors.torch import load_file
from tests.browser.conftest import BROWSER, CHROMIUM, check_colour_schemes

from dws.cli import evaluate, report, train
from dws.report.methods import method_title
from dws.report.thumbnails import CURVE, Thumbnails
from dws.zoo import Zoo

pytestmark = BROWSER


@pytest.fixture(scope="module")
def folder(sine_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three runs, one of them in a folder whose name is HTML."""
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
        scope = ["tasks=[sine]", "methods=[dwsnet,mlp,mlp_alignment]"]
        patch.setattr(sys, "argv", ["dws-report", f"paths.outputs={root}", "scale=small", *scope])
        report.main()
    return root / "report"


@pytest.fixture
def page(folder: Path) -> Iterator[Page]:
    """The report on a phone screen; script errors and remote requests fail the test."""
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


def test_tables_match_the_result_files(page: Page, folder: Path) -> None:
    names = {file.stem for file in (folder / "tables").glob("*.csv")}
    assert {"headline", "sine", "symmetry", "embeddings", "zoos", "runs"} <= names
    for name in names:
        shown = page.eval_on_selector_all(
            f"#table-{name} tr",
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))",
        )
        with (folder / "tables" / f"{name}.csv").open(newline="") as lines:
            header, *rows = csv.reader(lines)
        if header[0] == "method":
            rows = [[method_title(method), *cells] for method, *cells in rows]
        assert shown == [header, *rows], name


def test_main_results_come_first(page: Page) -> None:
    titles = page.locator("h2").all_inner_texts()
    assert titles[:2] == ["Embeddings of the test networks", "Test results"]
    assert titles[-3:] == ["Zoos", "All runs", "Every run"]


def test_every_image_loads_and_has_alternative_text(page: Page) -> None:
    pictures = page.eval_on_selector_all(
        "img", "all => all.map(i => [i.complete && i.naturalWidth > 0, i.alt.trim().length > 10])"
    )
    assert len(pictures) == 4  # t-SNE, learning curves, and two collapsed figures of results
    assert all(loaded and text for loaded, text in pictures)
    labels = page.eval_on_selector_all("canvas", "all => all.map(c => c.ariaLabel)")
    assert len(labels) == 3
    assert all("test networks" in text for text in labels)


@pytest.mark.parametrize("width", [390, 1200])
def test_page_fits_the_screen_width(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    for open_ in ("", OPEN):
        page.evaluate(open_)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1200:
        assert page.eval_on_selector_all(".table", CUT) == []


OPEN = "document.querySelectorAll('details').forEach(d => d.open = true)"
CUT = "all => all.filter(t => t.scrollWidth > t.clientWidth).map(t => t.ariaLabel)"
PIXELS = (
    "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
)


def drawn_points(page: Page) -> dict[str, Any]:
    content = page.locator("figure.embeddings script").first.text_content()
    return dict(json.loads(content or ""))


def place(page: Page, panel: int, index: int) -> tuple[float, float]:
    """Screen position of a point of an embedding, after scrolling to it."""
    page.locator("figure.embeddings .panel canvas").nth(panel).scroll_into_view_if_needed()
    return place_now(page, panel, index)


def place_now(page: Page, panel: int, index: int) -> tuple[float, float]:
    """Screen position of a point at the current scroll position."""
    canvas = page.locator("figure.embeddings .panel canvas").nth(panel)
    box = canvas.bounding_box()
    assert box
    side = box["width"] - 2 * 11  # margin and border
    x, y = drawn_points(page)["panels"][panel]["points"][index]
    return box["x"] + 11 + side * x / 1000, box["y"] + 11 + side * y / 1000


@pytest.mark.parametrize("how", ["mouse", "keyboard"])
def test_hovering_a_point_shows_the_function_of_its_network(
    page: Page, folder: Path, sine_zoo: Zoo, how: str
) -> None:
    data = drawn_points(page)
    tip = page.locator(".tip")
    assert not tip.is_visible()
    page.wait_for_function("[...document.images].every(i => i.complete)")
    if how == "mouse":
        page.mouse.move(*place(page, 1, 0))
    else:
        page.locator(".panel canvas").nth(1).focus()
        page.keyboard.press("ArrowRight")
    text = tip.inner_text()
    index = int(re.search(r"Test network (\d+)", text).group(1))  # type: ignore[union-attr]
    (label,) = data["labels"]
    outputs = load_file(folder.parent / "runs/sine/dwsnet/seed0/predictions.safetensors")["outputs"]
    predicted = float(f"{float(outputs[index]):.4g}")
    assert f"{label['name']}: true {label['values'][index]}, predicted {predicted}" in text
    true = sine_zoo.split("test").labels[label["name"]][index]
    assert label["values"][index] == pytest.approx(float(true), rel=1e-3)
    shown = torch.tensor(tip.locator("canvas").evaluate(PIXELS)).view(*CURVE, 4)
    sheet = matplotlib.image.imread(
        io.BytesIO(base64.b64decode(Thumbnails.render(sine_zoo, "").source.split(",")[1]))
    )
    left = CURVE[1] * index
    expected = torch.tensor(sheet)[: CURVE[0], left : left + CURVE[1]]
    assert torch.equal(shown[..., :3], (255 * expected[..., :3]).round().long())
    page.mouse.move(0, 0)
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_tooltip_stays_within_the_screen(page: Page) -> None:
    for index in range(len(drawn_points(page)["networks"])):
        y = place(page, 0, index)[1]
        page.evaluate(f"window.scrollBy(0, {y} - 840)")  # to the lower edge
        page.mouse.click(*place_now(page, 0, index))
        box = page.locator(".tip").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844


def test_escape_closes_the_tooltip(page: Page) -> None:
    page.mouse.move(*place(page, 0, 0))
    assert page.locator(".tip").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator(".tip").is_visible()


def test_tables_with_all_methods_fit_the_screen(tmp_path: Path) -> None:
    kept = Path(__file__).parents[2] / "outputs/results/small/results.json"
    folders = [f"runs={tmp_path}", f"report={tmp_path / 'report'}", f"kept={kept}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dws-report", "scale=small", *folders])
        report.main()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto((tmp_path / "report/index.html").as_uri())
        page.evaluate(OPEN)
        assert page.evaluate("document.documentElement.scrollWidth") <= 1200
        assert page.eval_on_selector_all(".table", CUT) == []
        browser.close()


def test_images_are_shown_without_javascript(folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(java_script_enabled=False)
        page.goto((folder / "index.html").as_uri())
        assert page.locator("figure.embeddings img").is_visible()
        assert not page.locator(".command button").is_visible()
        browser.close()


def test_dark_mode_has_dark_backgrounds(page: Page) -> None:
    check_colour_schemes(page)


def test_links_tables_and_details_are_reachable_by_keyboard(page: Page) -> None:
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName.toLowerCase()"))
    assert {"a", "div", "summary", "canvas", "button"} <= reached
    tables = page.locator(".table")
    assert all(tables.nth(i).get_attribute("tabindex") == "0" for i in range(tables.count()))


def test_names_are_escaped(page: Page) -> None:
    assert page.locator("b").count() == 0
    assert "<b>&amp;zoo" in page.locator("#table-zoos").inner_text()


def test_missing_cells_have_a_command_to_copy(page: Page, folder: Path) -> None:
    assert page.locator("#table-headline").inner_text().count("not run") == 1
    command = f"make reproduce-all SCALE=small OUT={folder.parent} TASKS=sine "
    assert page.locator(".command code").inner_text() == f"{command}METHODS=mlp_alignment SIZES=''"
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".command button").click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith(command)
