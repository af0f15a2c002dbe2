"""Sagas that are parked for real: seen with what they owe, previewed, tried again alone and together."""

import re

import requests
from playwright.sync_api import expect


def test_a_parked_saga_is_previewed_then_tried_again_with_a_reason_and_ends(console, page):
    [saga_id] = console.parked()
    page.goto("/console/trouble/")
    expect(page.get_by_role("region", name="Undo owed")).to_contain_text("inventaire")
    row = page.locator(f"[id='p{saga_id}']")
    expect(row).to_contain_text("1 × inventaire")

    row.get_by_role("link").click()
    expect(page.locator("dl.facts").filter(has_text="Undo owed")).to_contain_text("reservation_stock[0]")
    before = console.events(saga_id)
    page.get_by_role("link", name="Try again…").click()
    planned = page.locator(".planned li")
    expect(planned).to_have_count(1)
    expect(planned).to_contain_text("liberations")

    page.watch.forgives("status of 400")
    page.get_by_role("button", name="Do it").click()
    reason = page.get_by_label("Why: kept in the saga's history for ever")
    expect(reason).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#reason-fault")).to_contain_text("Say why")
    assert console.events(saga_id) == before, "a look, and a refused form, change nothing"

    reason.fill("the stock is well again")
    page.get_by_role("button", name="Do it").click()
    page.wait_for_url(f"**/console/sagas/{saga_id}/")
    expect(page.locator("#live .standing .status")).to_have_text("COMPENSATED")
    act = page.locator(".events tr").filter(has_text="the stock is well again")
    expect(act.first).to_contain_text("development")


def test_what_was_previewed_is_not_done_to_a_saga_that_somebody_else_moved_meanwhile(console, page):
    [saga_id] = console.parked()
    page.goto(f"/console/sagas/{saga_id}/resolve/")
    page.get_by_label("undone: everything was taken back").check()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="What follows")).to_be_visible()
    path = f"{console.stack.api}/api/sagas/transactions/{saga_id}"
    requests.post(f"{path}/retry/", json={"reason": "by somebody else"}, timeout=30).raise_for_status()
    console.reaches(saga_id, "COMPENSATED")

    page.watch.forgives("status of 400")
    page.get_by_label("Why: kept in the saga's history for ever").fill("paid back by hand")
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_role("alert").filter(has_text="Only a parked or paused saga can be resolved")).to_be_visible()
    assert "saga_resolved" not in [event["type"] for event in console.events(saga_id)]


def test_a_saga_that_moved_since_the_preview_is_previewed_again_and_then_acted_on(console, page):
    [saga_id] = console.parked()
    page.goto(f"/console/sagas/{saga_id}/resolve/?outcome=compensated")
    with console.undo_refused():
        path = f"{console.stack.api}/api/sagas/transactions/{saga_id}/retry/"
        requests.post(path, json={"reason": "by somebody else"}, timeout=30).raise_for_status()
        console.reaches(saga_id, "STUCK")

    page.watch.forgives("status of 400")
    page.get_by_label("Why: kept in the saga's history for ever").fill("paid back by hand")
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_role("alert").filter(has_text="has moved since you looked")).to_be_visible()
    assert console.saga(saga_id)["status"] == "STUCK", "nothing has been done"

    page.get_by_role("button", name="Do it").click()
    page.wait_for_url(f"**/console/sagas/{saga_id}/")
    expect(page.locator("#live .standing .status")).to_have_text("COMPENSATED")


def test_a_group_in_the_same_trouble_is_remedied_with_a_bar_that_moves_until_all_have_ended(console, page):
    ids = console.parked(4)
    page.goto("/console/trouble/")
    groups = page.get_by_role("region", name="What fails in the same way")
    groups.get_by_role("row").filter(has_text="inventaire").get_by_role("link", name="Try all again…").click()
    page.get_by_label("Sagas a second").fill("1")
    page.get_by_label("Why: kept in each saga's history").fill("the stock is well again")
    page.get_by_role("button", name=re.compile(r"Do it to \d+ sagas?")).click()

    page.wait_for_url("**/console/bulk/*/")
    bar = page.get_by_role("progressbar")
    total = int(bar.get_attribute("max"))
    assert total >= len(ids)
    expect(bar).to_have_attribute("value", re.compile("|".join(f"^{n}$" for n in range(1, total))))
    expect(bar).to_have_attribute("value", str(total))
    expect(page.locator("#live")).to_contain_text("ended")
    expect(page.get_by_role("button", name=re.compile("Stop"))).to_have_count(0)
    for saga_id in ids:
        console.reaches(saga_id, "COMPENSATED")
