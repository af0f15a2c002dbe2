"""One stack and one browser for all tests of this directory; each test has a page of its own, which is watched."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import DESKTOP, PATIENCE, Watch, chromium
from tests.browser.console import Console
from tests.support.system import free_row

Open = Callable[..., Page]


@pytest.fixture(scope="package")
def console() -> Iterator[Console]:
    """The running product. What a test takes away from it, it puts back."""
    directory = Path(tempfile.mkdtemp(prefix="seen-"))  # short: sockets are in it
    try:
        with Console(free_row(), directory) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    with chromium() as running:
        yield running


@pytest.fixture
def visitor(browser: Browser, console: Console) -> Iterator[Open]:
    """Somebody with a browser of their own: `visitor(**options)` is their page. No page of theirs may complain."""
    contexts: list[Any] = []
    watches: list[Watch] = []

    def come(address: str = console.stack.api, **options: Any) -> Page:
        context = browser.new_context(**{"base_url": address, "viewport": DESKTOP, "locale": "en-GB", **options})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.watch = Watch(page)
        watches.append(page.watch)
        return page

    yield come
    for context in contexts:
        context.close()
    assert [fault for watch in watches for fault in watch.faults()] == []


@pytest.fixture
def page(visitor: Open) -> Page:
    """The page of somebody at a desk."""
    return visitor()
