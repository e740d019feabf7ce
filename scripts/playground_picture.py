"""Screenshot of the playground, ``docs/pictures/playground.png``.

Run from the repository's root: ``python -m scripts.playground_picture``. It needs chromium. An
INR is fitted to an example of the digit 3, and its neurons are permuted until the prediction of the
MLP changes.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from threading import Thread

from playwright.sync_api import Page, sync_playwright

import dws
from dws.playground.server import Server
from dws.playground.session import Playground
from dws.runtime import one_thread

PICTURE = Path("docs/pictures/playground.png")
MODELS = ("mnist-mlp", "mnist-dwsnet", "mnist-sign")
NUM_PERMUTATIONS = 20


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("playground_picture: chromium was not found. Install it (Debian: chromium).")
    with Server(Playground([dws.load(name) for name in MODELS]), 0) as server, one_thread():
        Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            page = browser.new_page(viewport={"width": 1200, "height": 800})
            page.add_init_script("let n = 0; Math.random = () => (n++ % 97) / 97")  # fixed seeds
            page.goto(server.address)
            fit_and_permute(page)
            page.screenshot(path=PICTURE, full_page=True)
            browser.close()
        server.shutdown()


def fit_and_permute(page: Page) -> None:
    """Fit the example, and permute its neurons until the prediction of the MLP changes.

    Raises:
        SystemExit: If no permutation changes it.
    """
    page.get_by_role("button", name="Example of the digit 3").click()
    page.locator("#fit").click()
    page.locator("#step", has_text="Finished").wait_for(timeout=120_000)
    for _ in range(NUM_PERMUTATIONS):
        page.locator("#outcome").evaluate("element => (element.textContent = '')")
        page.locator("#permutation").click()
        page.locator("#outcome", has_text="permuted").wait_for()
        if "MLP" in page.locator("#outcome").inner_text():
            return
    sys.exit(
        f"playground_picture: {NUM_PERMUTATIONS} permutations did not change the prediction of the "
        "MLP."
    )


if __name__ == "__main__":
    main()
