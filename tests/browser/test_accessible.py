"""Every page, in light and dark, at a desk and on a phone: readable by all, and no wider than the window."""

import pytest

from tests.browser.chromium import DESKTOP, PHONE, too_wide, violations
from tests.browser.console import addresses, show


@pytest.fixture(scope="module")
def pages(console):
    return addresses(console)


def test_axe_finds_nothing_on_any_page_and_none_scrolls_sideways(pages, page):
    page.watch.forgives("status of 404", "status of 403", "status of 400")
    found, wide = [], []
    for name, way in pages.items():
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="dark", reduced_motion="reduce")
        show(page, way)
        found += [f"{name} folded, dark: {each}" for each in violations(page)]
        page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")
        for size, colours in ((DESKTOP, "light"), (PHONE, "dark")):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=colours, reduced_motion="reduce")
            found += [f"{name} {colours} {size['width']}: {each}" for each in violations(page)]
            wide += [f"{name} {size['width']}"] if too_wide(page) else []
    assert not found, "\n".join(found)
    assert wide == []


@pytest.mark.parametrize("language", ["fr", "es", "vi"])
def test_no_page_is_wider_than_a_phone_in_any_language(pages, visitor, language):
    page = visitor(locale=language, viewport=PHONE)
    page.watch.forgives("status of 404", "status of 403", "status of 400")
    wide = []
    for name, way in pages.items():
        show(page, way)
        assert page.locator("html").get_attribute("lang") == language, name
        wide += [name] if too_wide(page) else []
    assert wide == []
