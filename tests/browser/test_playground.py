"""The playground in a real browser."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from tests.browser.conftest import BROWSER, CHROMIUM, check_colour_schemes

import dws
from dws.errors import UserError
from dws.playground.server import Server
from dws.playground.session import Playground

pytestmark = BROWSER
SEVEN = [(0.3, 0.2), (0.7, 0.2), (0.45, 0.85)]  # corners of a stroke, relative to the canvas


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = [dws.load(name) for name in ("mnist-mlp", "mnist-dwsnet", "mnist-sign")]
    with Server(Playground(models), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    """The page at the size of a phone; errors and requests to other servers fail the test."""
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(60_000)
        page.on("console", lambda message: problems.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url))
        page.add_init_script("Math.random = () => 0.25")  # the same initialisation each time
        page.goto(server.address)
        page.locator(".model").nth(2).wait_for()
        yield page
        browser.close()
    assert [each for each in problems if not each.startswith((server.address, "data:"))] == []


def draw(page: Page, corners: list[tuple[float, float]]) -> None:
    page.locator("#drawing").scroll_into_view_if_needed()
    box: Any = page.locator("#drawing").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()


def fit(page: Page) -> None:
    page.locator("#fit").click()
    page.locator("#step", has_text="Finished").wait_for()


def lines(page: Page) -> list[str]:
    return page.locator(".model .line").all_inner_texts()


def test_drawn_digit_is_fitted_and_predicted(page: Page) -> None:
    assert page.locator("#fit").is_disabled()
    draw(page, SEVEN)
    fit(page)
    step = page.locator("#step").inner_text()
    assert float(re.findall(r"PSNR ([\d.]+) dB", step)[0]) > 15
    assert re.match(r"Prediction: 7 \(\d+ %\)", lines(page)[2])
    assert page.locator(".chart").nth(2).get_attribute("aria-label")
    drawn = page.locator("#rendering").evaluate(
        "c => c.getContext('2d').getImageData(0, 0, 28, 28).data.some(v => v > 200)"
    )
    assert drawn


def test_predictions_of_invariant_models_do_not_change(page: Page) -> None:
    draw(page, SEVEN)
    fit(page)
    for button, name, invariant in (("#permutation", "permuted", 1), ("#sign_flip", "flipped", 2)):
        page.locator(button).click()
        page.locator("#outcome", has_text=name).wait_for()
        outcome = page.locator("#outcome").inner_text()
        assert float(re.findall(r"more than ([\d.e-]+),", outcome)[0]) < 1e-4
        shown = lines(page)
        assert all(re.match(r"Prediction unchanged: \d", line) for line in shown[invariant:])
        details = page.locator(".model p:last-child").all_inner_texts()
        largest = [float(re.findall(r"at most ([\d.e-]*\d)", text)[0]) for text in details]
        assert all(value < 1e-3 for value in largest[invariant:])
        assert largest[0] > 1e-2
        weights = page.locator(".maps canvas").evaluate_all("all => all.map(c => c.toDataURL())")
        assert weights[0] != weights[1]


def test_permutation_changes_the_prediction_of_the_mlp(page: Page) -> None:
    draw(page, SEVEN)
    fit(page)
    page.evaluate("let n = 0; Math.random = () => (n++ % 97) / 97")
    for _ in range(20):
        page.locator("#outcome").evaluate("e => (e.textContent = '')")
        page.locator("#permutation").click()
        page.locator("#outcome", has_text="permuted").wait_for()
        if "changed from" in lines(page)[0]:
            assert "Changed predictions: MLP." in page.locator("#outcome").inner_text()
            return
    pytest.fail("20 permutations did not change the prediction of the MLP")


def test_examples_work_by_keyboard_and_clear_resets_the_page(page: Page) -> None:
    page.get_by_role("button", name="Example of the digit 3").focus()
    page.keyboard.press("Enter")
    fit(page)
    assert "Prediction: 3" in lines(page)[2]
    page.locator("#clear").click()
    assert lines(page) == ["", "", ""]
    for button in ("#fit", "#permutation", "#sign_flip"):
        assert page.locator(button).is_disabled()


@pytest.mark.parametrize("how", ["stroke", "example"])
def test_new_drawing_removes_earlier_predictions(page: Page, how: str) -> None:
    draw(page, SEVEN)
    fit(page)
    assert all(lines(page))
    if how == "stroke":
        draw(page, [(0.2, 0.5), (0.8, 0.5)])
    else:
        page.get_by_role("button", name="Example of the digit 0").click()
    assert lines(page) == ["", "", ""]
    labels = page.locator(".chart").evaluate_all("all => all.map(chart => chart.ariaLabel)")
    assert all(label.endswith("no prediction yet") for label in labels)
    assert page.locator("#permutation").is_disabled()
    assert page.locator("#fit").is_enabled()


def test_error_of_a_fit_replaces_its_progress(
    page: Page, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **options: object) -> None:
        raise UserError("The fit became infinite.")

    monkeypatch.setattr(server.playground, "fit", fails)
    draw(page, SEVEN)
    page.locator("#fit").click()
    page.locator("#step", has_text="The fit became infinite.").wait_for()
    assert page.locator("#outcome").inner_text() == ""


def test_second_fit_replaces_the_first(page: Page) -> None:
    page.get_by_role("button", name="Example of the digit 1").click()
    page.locator("#fit").click()
    page.locator("#step", has_text="Step").wait_for()
    page.get_by_role("button", name="Example of the digit 0").click()
    fit(page)
    assert "Prediction: 0" in lines(page)[2]


@pytest.mark.parametrize("width", [390, 1200])
def test_page_is_not_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.get_by_role("button", name="Example of the digit 5").click()
    fit(page)
    page.locator("#permutation").click()
    page.locator("#outcome", has_text="permuted").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_colours_follow_the_preferred_scheme(page: Page) -> None:
    check_colour_schemes(page)
