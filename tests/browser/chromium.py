"""Debian's Chromium, driven by Playwright, and what must not happen on any page."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

PROGRAM = Path("/usr/bin/chromium")
SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 30_000
"""Milliseconds that something may take on a machine with other things to do."""
PHONE, DESKTOP = {"width": 380, "height": 800}, {"width": 1280, "height": 900}
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()


class BrowserMissingError(Exception):
    """There is no Chromium, and this machine or user cannot install one; the message says how."""


def program() -> str:
    """Where Chromium is; installs Debian's where it is missing. Raises BrowserMissingError."""
    if not PROGRAM.exists():
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise BrowserMissingError(f"{PROGRAM} is missing: apt-get install chromium")
        wait = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]
        subprocess.run([*wait, "update", "-qq"], check=True)
        subprocess.run([*wait, "install", "-y", "-qq", "--no-install-recommends", "chromium"], check=True)
    return str(PROGRAM)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=SWITCHES)
        try:
            yield browser
        finally:
            browser.close()


class Watch:
    """Everything that a page complained of or asked of others, in words. What a test means to happen it `forgives`."""

    def __init__(self, page: Page) -> None:
        self._found: list[str] = []
        self._forgiven: tuple[str, ...] = ()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self._found.append(f"error: {error}"))
        page.on("request", self._asked)

    def forgives(self, *parts: str) -> None:
        self._forgiven += parts

    def faults(self) -> list[str]:
        return [fault for fault in self._found if not any(part in fault for part in self._forgiven)]

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self._found.append(f"console {message.type}: {message.text} ({message.location['url']})")

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "localhost":
            self._found.append(f"asked another host: {request.url}")


def violations(page: Page) -> list[str]:
    """What axe-core has against the page as it stands, a sentence each."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found = page.evaluate("axe.run()")
    return [
        f"{page.url}: {each['impact']} {each['id']}: {each['help']}: {node['html'][:160]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def too_wide(page: Page) -> bool:
    """Whether the page can be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
