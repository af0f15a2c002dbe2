"""A step that is told to fail on the page /saga/test, and what was done being undone, there and in the console."""

import pytest
from playwright.sync_api import expect


def test_a_step_fails_on_the_test_page_and_the_undo_is_seen_there_and_in_the_console(page):
    page.goto("/saga/test")
    page.get_by_label("Workflow").select_option("commandes")
    page.get_by_label("creation_commande").check()
    page.get_by_role("button", name="Run the saga").click()

    expect(page.locator("#outcome-of-run")).to_contain_text("COMPENSATED")
    reserved = page.locator("#steps li").filter(has_text="reservation_stock")
    expect(reserved).to_contain_text("undone")

    page.locator("#saga").click()
    page.wait_for_url("**/console/sagas/*/")
    expect(page.locator("#live .standing .status")).to_have_text("COMPENSATED")
    undo = page.locator(".timeline li").filter(has_text="reservation_stock").filter(has_text="undo")
    expect(undo.first.locator(".bar[data-outcome=succeeded]")).to_have_count(1)
    failed = page.locator(".timeline li").filter(has_text="creation_commande")
    expect(failed.first.locator(".bar[data-outcome=rejected]")).to_have_count(1)
    expect(page.locator("#explanation")).to_contain_text("told to fail")


@pytest.mark.parametrize(
    ("workflow", "failing", "undone"),
    [
        ("commandes", "creation_commande", ["reservation_stock"]),
        ("cashout_flow", "cashout_completion", ["wallet_credit", "liability_update"]),
        ("order_processing", "confirm_order", ["create_order", "process_payment"]),
        ("flight_booking", "CONFIRM_BOOKING", ["RESERVE_SEAT", "DEDUCT_LOYALTY_POINTS", "PROCESS_PAYMENT"]),
        ("partner_creation", "create_alliance", ["create_partner"]),
    ],
)
def test_every_workflow_can_be_run_with_any_step_to_fail(page, workflow, failing, undone):
    page.goto("/saga/test")
    page.locator("#workflow").select_option(workflow)
    steps = page.locator("#steps li")
    expect(page.locator("#choices input")).to_have_count(1 + steps.count())
    page.locator(f"#choices input[value={failing}]").check()
    page.locator("#slow").uncheck()
    page.locator("#run").click()

    expect(page.locator("#outcome-of-run")).to_contain_text("COMPENSATED")
    expect(page.locator("#outcome-of-run")).to_contain_text(f"{failing} was told to fail")
    expect(steps.filter(has=page.locator(".failed"))).to_contain_text([failing])
    expect(steps.filter(has=page.locator(".undoing"))).to_contain_text(undone)
