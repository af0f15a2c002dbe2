"""`make screenshots`: a picture of every page of the console, at a desk and on a phone, in light and in dark.

Starts the whole stack on ports and data of its own, has sagas of every kind run in it, and ends it again. Git keeps the
pictures that the README shows (.gitignore).
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from devstack.stack import ROOT
from tests.browser.chromium import DESKTOP, PHONE, chromium
from tests.browser.console import Console, Way, addresses, show
from tests.support import load
from tests.support.system import free_row

WINDOWS = {"desktop": DESKTOP, "phone": PHONE}
TALLEST = 1800
"""Pixels: the end of a long list shows nothing that its beginning does not."""
COLOURS = ("light", "dark")


def take(browser: Browser, address: str, pages: dict[str, Way], out: Path) -> None:
    """A picture of each page in each window and colour."""
    for window, size in WINDOWS.items():
        for colours in COLOURS:
            context = browser.new_context(
                base_url=address, viewport=size, color_scheme=colours, reduced_motion="reduce", locale="en-GB"
            )
            page = context.new_page()
            for name, way in pages.items():
                show(page, way)
                page.locator("h1").first.wait_for()
                height = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
                shown = {"x": 0, "y": 0, "width": size["width"], "height": height}
                page.screenshot(path=out / f"{name}-{window}-{colours}.png", full_page=True, clip=shown)
            context.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description="Pictures of the console.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="shown-"))  # short: sockets are in it
    try:
        with Console(free_row(), directory) as console, chromium() as browser:
            for _ in range(3):
                load.everything_once(console)
            pages = addresses(console)
            console.order(":slow")
            take(browser, console.stack.api, pages, out)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{len(list(out.glob('*.png')))} pictures in {out}")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
