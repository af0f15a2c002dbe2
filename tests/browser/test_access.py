"""Logins, in front of a service with DEBUG off: cookies for https only, which a browser takes from localhost too."""

import re

import pytest
from playwright.sync_api import expect

LOGIN = re.compile(r"/console/login/\?next=")


@pytest.fixture(scope="module")
def address(console):
    with console.guarded() as address:
        yield address


def log_in(page, name, password):
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def test_a_reader_logs_in_sees_no_button_to_act_and_logs_out(console, visitor, address):
    [saga_id] = console.parked()
    page = visitor(address)
    page.goto(f"/console/sagas/{saga_id}/")
    log_in(page, "rita", "wrong")
    expect(page.get_by_role("alert")).to_be_visible()

    log_in(page, "rita", "ritarita")
    page.wait_for_url(f"**/console/sagas/{saga_id}/")
    expect(page.locator(".caller")).to_have_text("rita")
    assert all(cookie["secure"] for cookie in page.context.cookies())
    expect(page.get_by_role("link", name="Try again…")).to_have_count(0)
    page.goto("/console/trouble/")
    expect(page.locator(f"[id='p{saga_id}']")).to_be_visible()
    expect(page.get_by_role("link", name="Try all again…")).to_have_count(0)
    page.watch.forgives("status of 403")
    page.goto(f"/console/sagas/{saga_id}/retry/")
    expect(page.get_by_role("alert").filter(has_text="saga-operator")).to_be_visible()

    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/console/login/")
    page.goto(f"/console/sagas/{saga_id}/")
    page.wait_for_url(LOGIN)


def test_an_operator_acts_in_their_own_name(console, visitor, address):
    [saga_id] = console.parked()
    page = visitor(address)
    page.goto(f"/console/sagas/{saga_id}/retry/")
    log_in(page, "otto", "ottootto")
    page.get_by_label("Why: kept in the saga's history for ever").fill("ticket 7")
    page.get_by_role("button", name="Do it").click()
    page.wait_for_url(f"**/console/sagas/{saga_id}/")
    expect(page.locator(".events tr").filter(has_text="ticket 7").first).to_contain_text("otto")
    console.reaches(saga_id, "COMPENSATED")


def test_a_page_that_is_open_elsewhere_goes_to_the_login_once_its_user_has_logged_out(visitor, address):
    page = visitor(address)
    page.goto("/console/trouble/")
    log_in(page, "rita", "ritarita")
    expect(page.get_by_role("heading", name="Trouble")).to_be_visible()
    other = page.context.new_page()
    other.goto("/console/")
    page.watch.forgives("status of 401", "Response Status Error Code 401")
    other.get_by_role("button", name="Log out").click()
    page.wait_for_url(LOGIN)
