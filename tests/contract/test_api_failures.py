"""Trouble in groups, and one remedy for a whole group, applied by a worker so many sagas a second."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import api_support
import pytest
from api_support import ORDER, START, UNKNOWN_ID, problem, shaped

from application.bulk import Bulk, BulkRunner
from application.operations import Operations
from application.recovery import claim_due, drive
from domain.exceptions import DefinitionUnreadable, SagaDriven
from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from infrastructure.outbox_store import PostgresOutbox
from interfaces import contracts
from saga_service import bootstrap

api = api_support.api

WHY = {"reason": "ticket 7"}
FAILURES, BULK = "/api/sagas/failures/", "/api/sagas/bulk/"


def start(api, **answers):
    api.participants.answers = dict(answers)
    return api.post(START, {"workflow": "commandes", "input": ORDER}).json()["id"]


def work():
    """What a worker does."""
    engine = bootstrap.platform().engine
    lease, claimed = claim_due(engine, 10)
    for one in claimed:
        drive(engine, one, lease)


def groups(api):
    return shaped(api.get(FAILURES), contracts.FAILURES)["results"]


def test_a_message_that_no_broker_takes_is_trouble_also_of_a_saga_that_has_ended(api):
    api.participants.answers = {"create_partner": Succeeded({"partner_id": "p"}), "create_partner:undo": Succeeded()}
    given = {"nombre": "E", "email": "partner@example.com", "telefono": "+1234567890", "direccion": "123"}
    saga = f"/api/sagas/transactions/{api.post('/api/v1/saga/partner-creation', given).json()['saga_id']}/"
    work()
    api.clock.sleep(60)
    work()
    outbox = PostgresOutbox()
    [undo] = [each for each in outbox.waiting(10) if b"CancelAlliance" in each.message.body]
    outbox.put_aside(undo, "too large")

    shown = shaped(api.get(saga), contracts.SAGA_DETAIL)

    assert (shown["status"], "but for what was not sent" in shown["explanation"]) == ("COMPENSATED", True)
    assert f"NOT SENT: the undo of create_alliance to {undo.message.topic}" in shown["explanation"]
    assert (
        f"too large. It stays undone until it is sent (manage.py saga_outbox retry {undo.number})"
        in (shown["explanation"])
    )
    assert [(each["number"], each["step"], each["action"], each["reason"]) for each in shown["unsent"]] == [
        (undo.number, "create_alliance", "undo", "too large")
    ]
    [listed] = shaped(api.get(FAILURES), contracts.FAILURES)["unsent"]
    assert (listed["saga_id"], listed["number"]) == (shown["id"], undo.number)

    outbox.settle(undo.number, send=True)

    shown = api.get(saga).json()
    assert (shown["unsent"], "NOT SENT" in shown["explanation"]) == ([], False)
    assert api.get(FAILURES).json()["unsent"] == []


def runner(pauses=None):
    """What a worker's thread does; `pauses` notes the seconds between two sagas."""
    noted = [] if pauses is None else pauses
    platform = bootstrap.platform()
    return BulkRunner(platform.operations, platform.bulk, "worker-1", lambda seconds: bool(noted.append(seconds)))


@pytest.fixture
def parked(api):
    """Three orders whose stock could not be released, with an id of its own in each refusal."""
    return [
        start(
            api,
            **{
                "creation_commande": Rejected("blocked"),
                "reservation_stock:undo": Rejected(f"HTTP 409: hold 8f{n}1b0de-0000-4000-8000-00000000b10c, try {n}"),
            },
        )
        for n in range(3)
    ]


def test_sagas_in_the_same_trouble_are_one_group(api, parked):
    waiting = start(api, creation_commande=Unavailable("HTTP 503: full, 17 waiting", 5.0))
    start(api)
    first, second = groups(api)
    assert (first["step"], first["service"], first["action"], first["outcome"]) == (
        "reservation_stock", "inventaire", "undo", "rejected",
    )  # fmt: skip
    assert (first["sagas"], first["parked"], first["examples"]) == (3, 3, sorted(parked))
    assert first["fingerprint"] == "HTTP #: hold #, try #"
    assert first["reason"] == "HTTP 409: hold 8f01b0de-0000-4000-8000-00000000b10c, try 0"
    assert (second["sagas"], second["parked"], second["examples"]) == (1, 0, [waiting])


def test_trouble_that_was_made_good_is_none(api):
    start(api, verification_stock=Unknown("late"))
    assert groups(api) == []


def test_a_group_is_retried_so_many_a_second(api, parked):
    [group] = groups(api)
    answer = api.post(f"{FAILURES}{group['id']}/retry/", {**WHY, "per_second": 4})
    bulk = shaped(answer, contracts.BULK, 202)
    assert (bulk["total"], bulk["waiting"], bulk["status"]) == (3, 3, "running")
    pauses: list[float] = []
    assert runner(pauses).run_one()
    assert pauses == [0.25, 0.25, 0.25]
    bulk = shaped(api.get(answer.headers["Location"]), contracts.BULK_DETAIL)
    assert (bulk["done"], bulk["refused"], bulk["waiting"], bulk["status"]) == (3, 0, 0, "finished")
    for saga_id in parked:
        saga = api.get(f"/api/sagas/transactions/{saga_id}/").json()
        assert saga["status"] == "COMPENSATING"
        acts = [e for e in api.get(saga["events"]).json()["results"] if e["type"] == "retry_requested"]
        assert [(act["actor"], act["reason"]) for act in acts] == [("development", f"ticket 7 (bulk {bulk['id']})")]
    assert not runner().run_one()


def test_a_worker_that_was_silent_for_longer_than_its_lease_counts_no_saga_that_another_one_did(api, parked):
    [group] = groups(api)
    bulk_id = UUID(api.post(f"{FAILURES}{group['id']}/retry/", WHY).json()["id"])
    store, now = bootstrap.platform().bulk, api.clock.now()
    store.claim("silent", now)
    saga_id = store.next_saga(bulk_id, "silent")
    later = now + timedelta(seconds=60)
    assert store.claim("other", later).id == bulk_id
    assert store.next_saga(bulk_id, "silent") is None
    assert not store.record(bulk_id, saga_id, "It was driven.", "silent", later), "the other may still do it"
    assert store.record(bulk_id, saga_id, None, "other", later)

    assert not store.record(bulk_id, saga_id, None, "silent", later)
    assert store.record(bulk_id, saga_id, None, "other", later), "noted once more, it is still the other's"
    assert (store.load(bulk_id).done, store.load(bulk_id).refused) == (1, 0)


def acts_on(api, sagas):
    events = [event for one in sagas for event in api.get(f"/api/sagas/transactions/{one}/events/").json()["results"]]
    return len([event for event in events if event["type"] == "retry_requested"])


def test_a_remedy_that_is_cancelled_between_two_sagas_does_nothing_more(api, parked):
    [group] = groups(api)
    location = api.post(f"{FAILURES}{group['id']}/retry/", WHY).headers["Location"]
    pauses: list[float] = []

    def cancelled_in_a_pause(seconds):
        pauses.append(seconds)
        assert api.post(f"{location}cancel/", {}).status_code == 200

    assert replace(runner(), pause=cancelled_in_a_pause).run_one()

    bulk = api.get(location).json()
    assert (len(pauses), bulk["done"], bulk["status"], acts_on(api, parked)) == (1, 1, "cancelled", 1)


def test_what_is_done_while_a_remedy_is_cancelled_is_counted(api, parked, monkeypatch):
    [group] = groups(api)
    location = api.post(f"{FAILURES}{group['id']}/retry/", WHY).headers["Location"]
    act = Operations.act

    def cancelled_in_the_act(*arguments):
        assert api.post(f"{location}cancel/", {}).status_code == 200
        return act(*arguments)

    monkeypatch.setattr(Operations, "act", cancelled_in_the_act)
    assert runner().run_one()

    bulk = api.get(location).json()
    assert (bulk["done"], bulk["status"], acts_on(api, parked)) == (1, "cancelled", 1)


def test_a_remedy_that_is_cancelled_while_it_waits_for_a_driver_does_nothing_more(api, parked, monkeypatch):
    [group] = groups(api)
    location = api.post(f"{FAILURES}{group['id']}/retry/", WHY).headers["Location"]
    tries = []

    def driven(_, saga_id, *_more):
        tries.append(saga_id)
        raise SagaDriven("w-2", api.clock.now())

    monkeypatch.setattr(Operations, "act", driven)
    assert replace(runner(), pause=lambda _: api.post(f"{location}cancel/", {}).status_code != 200).run_one()

    bulk = api.get(location).json()
    assert (len(tries), bulk["status"], bulk["refused"], bulk["waiting"]) == (1, "cancelled", 0, 3)


def test_what_cannot_be_done_to_a_saga_is_told_and_the_rest_goes_on(api, parked):
    [group] = groups(api)
    engine = bootstrap.platform().engine
    asked = Bulk(
        id=engine.new_id(),
        group=group["id"],
        verb="compensate",
        reason="ticket 7",
        actor="anna",
        per_second=10.0,
        created_at=engine.clock.now(),
    )
    bootstrap.platform().bulk.begin(asked)
    runner().run_one()
    bulk = shaped(api.get(f"/api/sagas/bulk/{asked.id}/"), contracts.BULK_DETAIL)
    assert (bulk["done"], bulk["refused"]) == (0, 3)
    assert {one["saga_id"] for one in bulk["refusals"]} == set(parked)
    assert "undoing already" in bulk["refusals"][0]["detail"]


def test_a_group_that_is_undoing_already_is_not_turned_back_and_its_preview_says_so(api, parked):
    [group] = groups(api)
    for query in ("", "?preview=true"):
        answer = api.post(f"{FAILURES}{group['id']}/compensate/{query}", WHY)
        assert "undoing already" in problem(answer, 409, "not_allowed")["detail"]
    assert api.get("/api/sagas/bulk/").json() == {"results": []}


def test_a_saga_that_has_recovered_since_is_left_as_it_is(api):
    sagas = [start(api, creation_commande=Unavailable("HTTP 503: full", 5.0)) for _ in range(2)]
    [group] = groups(api)
    location = api.post(f"{FAILURES}{group['id']}/compensate/", WHY).headers["Location"]
    api.participants.answers.clear()
    api.clock.sleep(6)
    work()
    runner().run_one()
    bulk = shaped(api.get(location), contracts.BULK_DETAIL)
    assert (bulk["done"], bulk["refused"]) == (0, 2)
    assert "no longer in this trouble" in bulk["refusals"][0]["detail"]
    assert {api.get(f"/api/sagas/transactions/{one}/").json()["status"] for one in sagas} == {"COMPLETED"}


def test_a_saga_that_nobody_can_read_does_not_hold_up_the_others(api, parked, monkeypatch):
    [group] = groups(api)
    location = api.post(f"{FAILURES}{group['id']}/retry/", WHY).headers["Location"]
    store = bootstrap.platform().engine.store
    look = store.look

    def unreadable(saga_id):
        if str(saga_id) == min(parked):
            raise DefinitionUnreadable("a later release wrote it")
        return look(saga_id)

    monkeypatch.setattr(store, "look", unreadable)
    runner().run_one()
    bulk = api.get(location).json()
    assert (bulk["done"], bulk["refused"], bulk["status"]) == (2, 1, "finished")


def test_a_remedy_goes_on_with_another_worker(api, parked):
    [group] = groups(api)
    location = api.post(f"{FAILURES}{group['id']}/retry/", WHY).headers["Location"]
    stopping = replace(runner(), pause=lambda _: True)
    assert stopping.run_one()
    assert api.get(location).json()["done"] == 1
    assert not replace(runner(), owner="worker-2").run_one(), "it belongs to the first for a while"
    api.clock.sleep(20)
    assert replace(runner(), owner="worker-2").run_one()
    assert api.get(location).json()["done"] == 3


def test_a_group_that_is_larger_than_expected_is_left_alone(api, parked):
    [group] = groups(api)
    path = f"{FAILURES}{group['id']}/retry/"
    assert "Nothing was done" in problem(api.post(path, {**WHY, "expected_sagas": 2}), 409, "group_grown")["detail"]
    assert "expected_sagas" in problem(api.post(path, {**WHY, "expected_sagas": 0}), 400)["errors"]
    assert api.get(BULK).json()["results"] == []
    assert api.post(path, {**WHY, "expected_sagas": 3}).status_code == 202


def test_a_remedy_is_cancelled(api, parked):
    [group] = groups(api)
    location = api.post(f"{FAILURES}{group['id']}/retry/", WHY).headers["Location"]
    cancelled = shaped(api.post(f"{location}cancel/"), contracts.BULK)
    assert (cancelled["status"], cancelled["cancelled_by"]) == ("cancelled", "development")
    assert not runner().run_one()
    assert api.get(location).json()["done"] == 0


def test_the_same_remedy_is_not_begun_twice(api, parked):
    [group] = groups(api)
    first = api.post(f"{FAILURES}{group['id']}/retry/", WHY).json()["id"]
    again = problem(api.post(f"{FAILURES}{group['id']}/retry/", WHY), 409, "not_allowed")
    assert first in again["detail"]
    assert [one["id"] for one in shaped(api.get(BULK), contracts.BULK_LIST)["results"]] == [first]


def test_a_preview_counts_and_begins_nothing(api, parked):
    [group] = groups(api)
    answer = api.post(f"{FAILURES}{group['id']}/retry/?preview=true", {**WHY, "per_second": 2})
    shown = shaped(answer, contracts.BULK_PREVIEW)
    assert (shown["sagas"], shown["seconds"]) == (3, 1.5)
    assert api.get(BULK).json()["results"] == []


def test_bad_requests_are_refused_and_begin_nothing(api, parked):
    [group] = groups(api)
    at = f"{FAILURES}{group['id']}/retry/"
    for body, field in (({}, "reason"), ({**WHY, "per_second": 0}, "per_second"), ({**WHY, "x": 1}, "x")):
        assert field in problem(api.post(at, body), 400, "invalid")["errors"]
    assert "lists the groups" in problem(api.post(f"{FAILURES}nothing/retry/", WHY), 404)["detail"]
    assert problem(api.post(f"{FAILURES}nothing/retry/?preview=true", WHY), 404)
    assert problem(api.get(f"{BULK}{UNKNOWN_ID}/"), 404)
    assert problem(api.post(f"{BULK}{UNKNOWN_ID}/cancel/"), 404)
    assert api.get(BULK).json()["results"] == []
