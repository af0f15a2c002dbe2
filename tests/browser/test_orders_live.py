"""An order on the open pages: it appears, moves and ends without anybody reloading."""

import re
import signal

from playwright.sync_api import Page, expect


def untouched(page: Page) -> None:
    """Leave a mark that a reload would take away."""
    page.evaluate("window.untouched = true")


def is_untouched(page: Page) -> bool:
    return page.evaluate("window.untouched === true")


def test_an_order_appears_on_the_open_list_and_ends_there_and_on_its_page_without_a_reload(console, visitor):
    listing, single = visitor(), visitor()
    listing.goto("/console/?workflow=commandes")
    untouched(listing)

    saga = console.order(":slow")
    row = listing.locator(f"[id='s{saga['id']}']")
    expect(row).to_be_visible()
    single.goto(f"/console/sagas/{saga['id']}/")
    untouched(single)

    expect(row.locator(".status")).to_have_text("COMPLETED")
    expect(single.locator("#live .standing .status")).to_have_text("COMPLETED")
    expect(single.locator(".timeline .bar[data-outcome=succeeded]")).not_to_have_count(0)
    assert is_untouched(listing)
    assert is_untouched(single)


LISTEN = """selector => {
    window.heard = [];
    const spoken = document.querySelector(selector);
    new MutationObserver(() => window.heard.push(spoken.textContent.trim())).observe(
        spoken, { childList: true, characterData: true, subtree: true });
}"""
"""What a screen reader says of a live region: each change of the text in the node that it knows."""


def test_a_screen_reader_hears_how_a_saga_stands_when_that_changes_and_not_otherwise(console, page):
    saga = console.order(":slow")
    page.goto(f"/console/sagas/{saga['id']}/")
    page.evaluate(LISTEN, "#standing[role=status]")

    expect(page.locator("#standing .status")).to_have_text("COMPLETED")
    heard = page.evaluate("window.heard")
    assert heard[-1].split()[0] == "COMPLETED"
    page.evaluate("window.heard = []")
    page.wait_for_timeout(5000)  # it is asked for twice more
    assert page.evaluate("window.heard") == []


def test_an_order_is_placed_with_the_start_form_and_watched_until_it_has_ended(console, page):
    page.goto("/console/workflows/")
    page.get_by_role("link", name="commandes", exact=True).click()
    page.get_by_role("link", name=re.compile("Start")).click()
    page.get_by_label("quantite").first.fill("1")
    page.get_by_text("Correlation id and idempotency key").first.click()
    page.get_by_label("Correlation id", exact=True).first.fill("till-7:slow")
    page.locator("button.primary:visible").click()

    page.wait_for_url("**/console/sagas/*/")
    untouched(page)
    expect(page.locator("#live .standing .status")).to_have_text("COMPLETED")
    assert is_untouched(page)
    expect(page.get_by_role("region", name="Facts")).to_contain_text("till-7:slow")


def test_a_page_says_since_when_the_service_does_not_answer_and_that_it_does_again(console, page):
    page.goto("/console/")
    banner = page.get_by_role("alert").filter(has_text="does not answer")
    expect(banner).to_be_hidden()
    page.watch.forgives("htmx:")

    console.processes.send("orchestrator", signal.SIGSTOP)
    try:
        expect(banner).to_be_visible()
        expect(banner.locator("time")).to_have_text(re.compile(r"\d+:\d\d:\d\d"))
    finally:
        console.processes.send("orchestrator", signal.SIGCONT)
    expect(banner).to_be_hidden()


def test_a_page_that_may_not_be_seen_any_more_says_that_it_is_old(console, page):
    page.goto("/console/")
    banner = page.get_by_role("alert").filter(has=page.locator("#stale-since"))
    expect(banner).to_be_hidden()
    page.watch.forgives("htmx:", "403")

    page.route("**/console/?*", lambda route: route.fulfill(status=403, body="no"))
    expect(page.get_by_text("reload the page to see why")).to_be_visible()
    expect(page.locator("#stale-silent")).to_be_hidden()
    expect(banner.locator("time")).to_have_text(re.compile(r"\d+:\d\d:\d\d"))
    page.unroute("**/console/?*")
    expect(banner).to_be_hidden()
