"""Without a mouse, in each language, in the chosen colours."""

from playwright.sync_api import Page, expect

from tests.support.waiting import until

FOCUSED = "(e => e.id || e.getAttribute('href') || e.textContent.trim())(document.activeElement)"
MOST_TABS = 80


def tab_to(page: Page, target: str) -> list[str]:
    """Press Tab until this is focused, by id, address or text; everything that was on the way."""
    passed: list[str] = []
    while not passed or passed[-1] != target:
        assert len(passed) < MOST_TABS, passed
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
    return passed


def test_a_saga_is_found_opened_and_tried_again_by_keyboard_alone(console, page):
    [saga_id] = console.parked()
    page.goto("/console/")
    assert tab_to(page, "#main") == ["#main"], "the skip link comes first"
    page.keyboard.press("Enter")
    assert tab_to(page, "Search") == ["q", "workflow", "status", "More filters", "Search"]

    page.locator("#q").focus()
    page.keyboard.type(saga_id)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/?q={saga_id}*")
    tab_to(page, f"/console/sagas/{saga_id}/")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/sagas/{saga_id}/")

    tab_to(page, "#main")
    page.keyboard.press("Enter")
    assert tab_to(page, f"/console/sagas/{saga_id}/retry/")[-2:] == [f"/console/sagas/{saga_id}/retry/"]
    page.keyboard.press("Enter")
    page.wait_for_url("**/retry/")
    tab_to(page, "reason")
    page.keyboard.type("by keyboard")
    tab_to(page, "Do it")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/sagas/{saga_id}/")
    expect(page.locator("#live .standing .status")).to_have_text("COMPENSATED")


def test_what_is_focused_or_unfolded_stays_so_while_the_page_draws_itself_again(console, page):
    console.parked()  # so that there is a live saga, whatever else ends meanwhile
    first = console.order(wait=25)["id"]
    page.goto("/console/?workflow=commandes")
    link = page.locator(f"[id='s{first}'] a")
    counts = page.get_by_role("region", name="Live sagas by workflow")
    expect(counts).to_be_hidden()
    page.get_by_text("By workflow").click()
    expect(counts).to_be_visible()
    link.focus()
    second = console.order()["id"]

    expect(page.locator(f"[id='s{second}']")).to_be_visible()
    expect(link).to_be_focused()
    expect(page.locator("details.by-workflow")).to_have_attribute("open", "")
    expect(counts).to_be_visible()


def test_calls_that_were_unfolded_stay_so_while_the_saga_goes_on(console, page):
    saga = console.order(":slow")
    page.goto(f"/console/sagas/{saga['id']}/")
    call = page.locator(".calls details").first
    call.locator("summary").click()
    expect(page.locator("#live .standing .status")).to_have_text("COMPLETED")
    expect(call).to_have_attribute("open", "")


def test_the_page_is_in_the_chosen_language_and_remembers_it(console, page):
    console.order(wait=25)
    told = {}
    page.goto("/console/?workflow=commandes")
    for language in ("fr", "es", "vi", "en"):
        page.get_by_role("banner").get_by_role("combobox").select_option(language)
        expect(page.locator("html")).to_have_attribute("lang", language)
        assert page.url.endswith("/console/?workflow=commandes"), "it stays on its page"
        told[language] = page.evaluate("ago(Date.now() - 7200 * 1000)")
        page.goto("/console/workflows/")
        expect(page.locator("html")).to_have_attribute("lang", language)
        page.goto("/console/?workflow=commandes")
    assert len(set(told.values())) == len(told), told


def test_the_chosen_colours_stay_after_a_reload(page):
    page.emulate_media(color_scheme="light")
    page.goto("/console/")

    def ground():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    page.get_by_role("button", name="Colours: as the system").click()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    dark = until(lambda: ground() != light and ground(), "it is dark")
    page.reload()
    assert ground() == dark
    page.get_by_role("button", name="Colours: dark").click()
    assert ground() == light
