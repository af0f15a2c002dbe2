"""The cash-out reference services keep the participants' contract, as real processes over real HTTP."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from participants_support import Participant, at_once, running

from participants.bets import BETTOR, FROZEN_BETTOR, SLIPS

SLIP = f"/api/bet-slips/{SLIPS[0].id}/"
WALLET, LIABILITY = f"/api/wallets/{BETTOR}/", f"/api/liabilities/{SLIPS[0].id}/"
NAMES = ("betting", "wallet", "risk-management")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Participant]]:
    directory = tmp_path_factory.mktemp("services")
    with (
        running("betting", directory) as betting,
        running("wallet", directory) as wallet,
        running("risk-management", directory) as risk,
    ):
        yield {"betting": betting, "wallet": wallet, "risk-management": risk}


class Effect:
    """The two calls of one step: its do, and its undo; and what they move."""

    def __init__(self, participant, body, do, undo, standing):
        self.participant, self.do_path, self.body, self.undo_path = participant, do, body, undo
        self.shown, self.field = standing
        self.saga_id = str(uuid4())
        self.key = f"{self.saga_id}:step:do"

    def do(self):
        return self.participant.call("POST", self.do_path, self.body, key=self.key)

    def undo(self):
        return self.participant.call("POST", self.undo_path, {"undo_of": self.key}, key=f"{self.saga_id}:step:undo")

    def standing(self):
        return self.participant.get(self.shown)[self.field]

    def effects(self):
        return [operation for _, operation, _ in self.participant.effects(self.saga_id)]


def quoted(services, user_id=BETTOR, odds=1.5):
    body = {"user_id": user_id, "live_odds": odds}
    return services["betting"].call("POST", SLIP + "cashout-quotes/", body, key=f"{uuid4()}:cashout_quote:do")


@pytest.fixture(params=NAMES)
def effect(services, request) -> Iterator[Effect]:
    quote = quoted(services).json()
    calls = {
        "betting": (quote, SLIP + "cashout/", SLIP + "reopen/", (SLIP, "status")),
        "wallet": (quote, WALLET + "credits/", WALLET + "debits/", (WALLET, "balance")),
        "risk-management": (
            {"amount": quote["amount"]},
            LIABILITY + "reductions/",
            LIABILITY + "restorations/",
            (LIABILITY, "amount"),
        ),
    }
    effect = Effect(services[request.param], *calls[request.param])
    yield effect
    effect.undo()


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_healthy_and_lists_its_routes(services, name):
    assert services[name].get("/health") == {"status": "ok", "service": name}
    assert all(route["summary"] for route in services[name].get("/")["routes"])


def test_an_effect_happens_once_and_its_undo_takes_it_back(effect):
    before = effect.standing()
    first, second = effect.do(), effect.do()
    assert first.status_code in {200, 201}
    assert second.content == first.content
    assert second.headers["Idempotent-Replayed"] == "true"
    assert effect.standing() != before
    assert effect.undo().content == effect.undo().content
    assert (effect.standing(), effect.effects()) == (before, ["do", "undo"])


def test_equal_calls_at_once_have_one_effect_and_one_answer(effect):
    assert len({(answer.status_code, answer.content) for answer in at_once(10, effect.do)}) == 1
    assert len({(answer.status_code, answer.content) for answer in at_once(10, effect.undo)}) == 1
    assert effect.effects() == ["do", "undo"]


def test_a_do_that_comes_after_its_undo_is_refused(effect):
    before = effect.standing()
    assert (effect.undo().status_code, effect.undo().json()) == (200, {"outcome": "nothing_to_undo"})
    late = effect.do()
    assert (late.status_code, late.json()["code"]) == (409, "call_was_undone")
    assert (effect.standing(), effect.effects()) == (before, [])


def test_an_undo_at_another_place_is_refused_and_changes_nothing(effect):
    effect.do()
    after, right = effect.standing(), effect.undo_path
    effect.undo_path = right.replace("123", "128").replace("456", "457")
    assert effect.undo().status_code == 409
    assert effect.standing() == after
    effect.undo_path = right
    assert effect.undo().status_code == 200


def test_an_effect_without_a_key_or_with_a_wrong_body_is_refused(effect):
    assert effect.participant.call("POST", effect.do_path, effect.body).json()["code"] == "idempotency_key_missing"
    for body in (
        {},
        {**effect.body, "amount": "much"},
        {**effect.body, "amount": 1.005},
        {**effect.body, "amount": -1},
    ):
        assert effect.participant.call("POST", effect.do_path, body, key=f"{uuid4()}:x:do").status_code == 400


@pytest.mark.parametrize(
    ("slip", "user", "answer"),
    [
        (123, BETTOR, {"eligible": True}),
        (123, 999, {"eligible": False, "reason": "it is not user 999's"}),
        (124, BETTOR, {"eligible": False, "reason": "it is SETTLED"}),
    ],
)
def test_a_slip_says_whether_it_can_be_cashed_out(services, slip, user, answer):
    assert services["betting"].get(f"/api/bet-slips/{slip}/cashout-eligibility/?user_id={user}") == answer


def test_a_quote_is_what_the_bet_is_worth_now_less_the_bookmakers_share(services):
    answer = quoted(services)
    assert (answer.status_code, answer.json()["amount"]) == (201, 126.66)
    assert services["risk-management"].get("/api/odds/live/123/") == {"bet_slip_id": 123, "odds": 1.5}
    assert quoted(services, user_id=999).status_code == 409
    assert quoted(services, odds=0.5).status_code == 400


def test_only_an_open_slip_is_cashed_out_and_only_for_its_quote(services):
    betting, quote = services["betting"], quoted(services).json()
    for body in ({**quote, "amount": 1}, {**quote, "quote_id": "another"}):
        answer = betting.call("POST", SLIP + "cashout/", body, key=f"{uuid4()}:x:do")
        assert (answer.status_code, answer.json()["code"]) == (409, "quote_differs")
    key = f"{uuid4()}:x:do"
    assert betting.call("POST", SLIP + "cashout/", quote, key=key).status_code == 200
    again = betting.call("POST", SLIP + "cashout/", quote, key=f"{uuid4()}:x:do")
    assert (again.status_code, again.json()["code"]) == (409, "not_open")
    assert betting.call("POST", SLIP + "reopen/", {"undo_of": key}, key=f"{key[:-3]}:undo").status_code == 200


def test_each_credit_is_a_transaction_and_taken_back_by_itself(tmp_path):
    with running("wallet", tmp_path, database=":memory:") as wallet:
        body = {"amount": 5, "quote_id": "q"}
        first, second = f"{uuid4()}:x:do", f"{uuid4()}:x:do"
        for key in (first, second):
            assert wallet.call("POST", "/api/wallets/458/credits/", body, key=key).status_code == 201
        shown = wallet.get("/api/wallets/458/")
        assert (shown["balance"], len(shown["transactions"])) == (10, 2)
        for key in (first, second):
            assert wallet.call("POST", "/api/wallets/458/debits/", {"undo_of": key}, key=key[:-2] + "undo").ok
        assert {entry["status"] for entry in wallet.get("/api/wallets/458/")["transactions"]} == {"REVERSED"}


@pytest.mark.parametrize(
    ("name", "call", "status", "code"),
    [
        ("betting", "GET /api/bet-slips/999/", 404, "bet_slip_unknown"),
        ("betting", "GET /api/bet-slips/999/cashout-eligibility/?user_id=1", 404, "bet_slip_unknown"),
        ("betting", f"GET {SLIP}cashout-eligibility/", 400, "invalid_request"),
        ("wallet", "GET /api/wallets/999/", 404, "wallet_unknown"),
        ("wallet", "POST /api/wallets/999/credits/", 404, "wallet_unknown"),
        ("wallet", f"POST /api/wallets/{FROZEN_BETTOR}/credits/", 409, "wallet_frozen"),
        ("risk-management", "GET /api/odds/live/999/", 404, "odds_unknown"),
        ("risk-management", "GET /api/odds/live/125/", 409, "market_closed"),
        ("risk-management", "GET /api/liabilities/999/", 404, "liability_unknown"),
        ("risk-management", "POST /api/liabilities/127/reductions/", 409, "liability_locked"),
        ("risk-management", "POST /api/liabilities/125/reductions/", 409, "liability_too_low"),
        ("betting", "POST /api/bet-slips/128/cashout/", 409, "under_review"),
    ],
)
def test_what_cannot_be_is_refused_with_its_code(services, name, call, status, code):
    method, path = call.split()
    body = {"amount": 1000, "quote_id": "q"} if method == "POST" else None
    answer = services[name].call(method, path, body, key=f"{uuid4()}:x:do")
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_standing_bet_is_cashed_out_again_and_again_and_each_time_once(services):
    standing = next(slip.id for slip in SLIPS if slip.standing)
    for _ in range(3):
        place, saga_id = f"/api/bet-slips/{standing}/", uuid4()
        asked = {"user_id": BETTOR, "live_odds": 1.5}
        quote = services["betting"].call("POST", f"{place}cashout-quotes/", asked, key=f"{saga_id}:quote:do").json()
        cashed = [services["betting"].call("POST", f"{place}cashout/", quote, key=f"{saga_id}:step:do") for _ in "ab"]
        assert [(each.status_code, each.json()["status"]) for each in cashed] == [(200, "CASHED_OUT")] * 2
        undo = {"undo_of": f"{saga_id}:step:do"}
        assert services["betting"].call("POST", f"{place}reopen/", undo, key=f"{saga_id}:step:undo").ok
        assert [operation for _, operation, _ in services["betting"].effects(str(saga_id))] == ["do", "undo"]
        assert services["betting"].get(place)["status"] == "OPEN"
