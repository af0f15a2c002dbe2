"""The cash-out workflow as a dialogue with its participants."""

import pytest

from domain.outcomes import Rejected, Unavailable, Unknown
from domain.workflows.cashout import CASHOUT, CashoutSaga
from tests.support.dialogue import Dialogue

ELIGIBLE = "GET betting /api/bet-slips/123/cashout-eligibility/"
ODDS = "GET risk-management /api/odds/live/123/"
QUOTE = "POST betting /api/bet-slips/123/cashout-quotes/"
CREDIT, DEBIT = "POST wallet /api/wallets/456/credits/", "POST wallet /api/wallets/456/debits/"
REDUCE = "POST risk-management /api/liabilities/123/reductions/"
RESTORE = "POST risk-management /api/liabilities/123/restorations/"
COMPLETE, REOPEN = "POST betting /api/bet-slips/123/cashout/", "POST betting /api/bet-slips/123/reopen/"
GIVEN = {"bet_slip_id": 123, "user_id": 456, "bookmaker_type": "SYSTEM", "bookmaker_id": "system"}

DONE = [
    (ELIGIBLE, {"eligible": True}),
    (ODDS, {"odds": 1.5}),
    (QUOTE, {"quote_id": "q-1", "amount": 126.67}),
    (CREDIT, {"transaction_id": "t-1"}),
    (REDUCE, {"liability_id": "l-1"}),
    (COMPLETE, {"status": "CASHED_OUT"}),
]
STEPS = [step.name for step in CASHOUT.steps]


def cashout(steps: int = 0) -> Dialogue:
    """A cash-out with this many steps done."""
    dialogue = Dialogue(CASHOUT, GIVEN)
    for call, answer in DONE[:steps]:
        dialogue.expect(call).ok(answer)
    return dialogue


def shown(dialogue: Dialogue) -> dict:
    return CashoutSaga(dialogue.saga).as_dict()


def statuses(dialogue: Dialogue) -> list[str]:
    return [step["status"] for step in shown(dialogue)["steps"]]


def test_a_cash_out_goes_through_in_six_calls():
    dialogue = cashout(6).ends("COMPLETED", "completed")
    assert dialogue.states() == ["pending", *STEPS, "completed"]
    assert dialogue.keys == [f"{step}:do" for step in STEPS]


def test_what_the_quote_says_is_credited_taken_off_the_liability_and_completed():
    assert cashout().tasks()[0].query == {"user_id": 456}
    assert cashout(2).tasks()[0].body == {"user_id": 456, "live_odds": 1.5}
    assert cashout(3).tasks()[0].body == {"amount": 126.67, "quote_id": "q-1"}
    assert cashout(4).tasks()[0].body == {"amount": 126.67}
    assert cashout(5).tasks()[0].body == {"quote_id": "q-1", "amount": 126.67}


def test_a_slip_that_is_not_eligible_ends_with_nothing_to_undo():
    dialogue = cashout().expect(ELIGIBLE).ok({"eligible": False, "reason": "the match is over"})
    dialogue.ends("FAILED", "failed")
    assert shown(dialogue)["error"] == "bet slip 123 cannot be cashed out: the match is over"


def test_a_refusal_needs_no_reason():
    dialogue = cashout().ok({"eligible": False}).ends("FAILED", "failed")
    assert dialogue.saga.failure.reason == "bet slip 123 cannot be cashed out: no reason was given"


@pytest.mark.parametrize("answer", [{}, {"eligible": "yes"}, {"eligible": None}, {"eligible": 1}, None])
def test_an_answer_that_says_neither_is_not_taken_for_a_permission(answer):
    dialogue = cashout().expect(ELIGIBLE).ok(answer)
    assert dialogue.events[-2].outcome == "unknown"
    dialogue.expect(ELIGIBLE)


@pytest.mark.parametrize("amount", [0, -5, "0.00"])
def test_a_quote_of_nothing_is_no_offer(amount):
    dialogue = cashout(2).ok({"quote_id": "q-1", "amount": amount}).ends("FAILED", "failed")
    assert dialogue.saga.failure.reason.startswith("bet slip 123 is worth nothing now")


@pytest.mark.parametrize("answer", [{"quote_id": "q-1"}, {"amount": 5}, {"quote_id": "q-1", "amount": "much"}])
def test_a_quote_without_an_amount_or_an_id_is_no_quote(answer):
    assert cashout(2).ok(answer).expect(QUOTE).events[-2].outcome == "unknown"


def test_an_amount_may_be_a_text_that_is_a_number():
    assert cashout(2).ok({"quote_id": "q-1", "amount": "126.67"}).tasks()[0].body["amount"] == 126.67


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_refused_before_any_money_moved_there_is_nothing_to_undo(step):
    dialogue = cashout(step).expect(DONE[step][0]).given(Rejected("no"))
    dialogue.ends("FAILED", "failed")
    assert shown(dialogue)["failed_step"] == STEPS[step]
    assert statuses(dialogue) == [*["COMPLETED"] * step, "FAILED", *["PENDING"] * (5 - step)]


def test_a_refused_liability_takes_the_credit_back():
    dialogue = cashout(4).expect(REDUCE).given(Rejected("locked"))
    assert dialogue.expect(DEBIT).tasks()[0].body == {"undo_of": f"{dialogue.saga.id}:wallet_credit:do"}
    dialogue.ok().ends("COMPENSATED", "rolled_back")
    assert statuses(dialogue)[3:] == ["COMPENSATED", "FAILED", "PENDING"]


def test_a_refused_completion_undoes_both_last_first():
    dialogue = cashout(5).expect(COMPLETE).given(Rejected("settled meanwhile"))
    dialogue.expect(RESTORE).ok().expect(DEBIT).ok().ends("COMPENSATED", "rolled_back")
    assert dialogue.states()[-3:] == ["cashout_completion", "rolling_back", "rolled_back"]
    assert shown(dialogue)["amount"] is None


def test_a_completion_of_which_nobody_knows_is_undone_as_well():
    dialogue = cashout(5)
    for _ in range(4):
        dialogue.expect(COMPLETE).given(Unknown("no answer"))
    dialogue.expect(REOPEN).ok().expect(RESTORE).ok().expect(DEBIT).ok().ends("COMPENSATED", "rolled_back")
    assert statuses(dialogue)[3:] == ["COMPENSATED"] * 3


def test_a_completed_cash_out_is_rolled_back_in_reverse_order():
    dialogue = cashout(6).act("compensate")
    dialogue.expect(REOPEN).ok().expect(RESTORE).ok().expect(DEBIT).ok().ends("COMPENSATED", "rolled_back")
    assert shown(dialogue)["error"] == "ticket 7"


def test_the_progress_of_a_cash_out_that_waits_for_a_retry():
    dialogue = cashout(4).given(Unavailable("busy", 5.0))
    seen = shown(dialogue)
    assert (seen["status"], seen["current_step"]) == ("RUNNING", "liability_update")
    assert seen["progress"] == {"completed_steps": 4, "total_steps": 6, "percentage": 66}
    waiting = seen["steps"][4]
    assert (waiting["status"], waiting["attempts"], waiting["error"]) == ("RUNNING", 2, "busy")
    dialogue.expect(REDUCE).ok(DONE[4][1]).ok(DONE[5][1])
    done = shown(dialogue)["steps"][4]
    assert (done["status"], done["attempts"], done["error"], done["duration"]) == ("COMPLETED", 2, None, 5.0)


def test_an_undo_that_is_refused_is_what_the_cash_out_stands_at():
    dialogue = cashout(4).given(Rejected("locked")).expect(DEBIT).given(Rejected("the money is spent"))
    assert dialogue.saga.status == "STUCK"
    seen = shown(dialogue)
    assert (seen["current_step"], seen["steps"][3]["status"]) == ("wallet_credit", "COMPENSATION_FAILED")
    assert CashoutSaga(dialogue.saga).standing() == {"wallet_credit"}


def test_one_settled_by_hand_says_no_more_than_is_known():
    dialogue = cashout(4).given(Rejected("locked")).given(Rejected("spent")).act("resolve", "completed")
    assert (shown(dialogue)["status"], shown(dialogue)["transaction_id"]) == ("COMPLETED", "t-1")
    early = Dialogue(CASHOUT, GIVEN).act("pause").act("resolve", "completed")
    assert shown(early)["amount"] is None


def test_the_house_holds_the_bet_when_the_client_does_not_say():
    assert shown(Dialogue(CASHOUT, {"bet_slip_id": 1, "user_id": 2}))["bookmaker_type"] == "SYSTEM"
