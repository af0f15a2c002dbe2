"""Starting a saga: in the request, without waiting, once for each idempotency key."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from application.ports import IdempotentRequest, Lease
from application.saga_orchestrator import ANSWER_WITHIN, OVERHEAD, lease_for, wait_limit
from domain.definition import Await, Publish, Request, SagaDefinition, Step
from domain.entities import Saga
from domain.events import SagaEvent
from domain.exceptions import BrokerMissing, IdempotencyConflict, InputInvalid, StoreUnavailable, WorkflowUnknown
from domain.outcomes import Rejected, Unavailable
from domain.workflows import shipped_definitions
from tests.support.dialogue import START, step, workflow
from tests.support.driving import Bench

KEY = IdempotentRequest("key", b"hash")


@pytest.fixture
def bench() -> Bench:
    return Bench(workflow(step("a"), step("b")))


def test_a_saga_runs_to_its_end_in_the_request(bench):
    saga = bench.start()
    assert saga.status == "COMPLETED"
    assert bench.services.left == ["a", "b"]
    assert bench.store.load(saga.id).history == saga.history == bench.observed


def test_a_client_that_does_not_wait_is_answered_before_any_call(bench):
    saga = bench.start(wait=0)
    assert saga.status == "RUNNING"
    assert bench.services.calls == []
    assert bench.work() == 1
    assert bench.store.load(saga.id).status == "COMPLETED"


def test_the_same_idempotency_key_starts_nothing_again(bench):
    first, second = bench.start(idempotency=KEY), bench.start(idempotency=KEY)
    assert first.id == second.id
    assert len(bench.services.calls) == 2


@pytest.mark.parametrize("correlation", ["", "\u2615", "a\r\nX-Evil: 1", "x" * 129, "a b"])
def test_a_correlation_id_that_no_call_could_carry_starts_nothing(bench, correlation):
    with pytest.raises(InputInvalid) as caught:
        bench.start(correlation_id=correlation)
    assert caught.value.faults == {"correlation_id": ["must be 1 to 128 letters, digits or ._:/+=@-"]}
    assert bench.store.rows == {}


def test_a_saga_of_messages_is_not_started_without_a_broker_and_one_that_was_is_still_found():
    asking = step("b", publish=Publish(topic="t", body={}), action=None, compensation=None, pivot=True)
    bench = Bench(workflow(step("a"), asking))
    first = bench.start(idempotency=KEY)
    bench.engine = replace(bench.engine, broker=False)
    with pytest.raises(BrokerMissing, match=r"through the topics t, .* set BROKER_URL"):
        bench.start()
    assert len(bench.store.rows) == 1
    assert bench.start(idempotency=KEY).id == first.id


def test_a_saga_that_waits_for_the_apis_signals_needs_no_broker():
    bench = Bench(workflow(step("a"), step("b", awaits=Await(types=("go",)), action=None, compensation=None)))
    bench.engine = replace(bench.engine, broker=False)
    assert bench.start().status == "WAITING"


def test_the_same_key_for_another_request_is_refused(bench):
    bench.start(idempotency=KEY)
    with pytest.raises(IdempotencyConflict):
        bench.start(idempotency=IdempotentRequest("key", b"other"))


def test_a_repeat_while_the_first_still_runs_waits_for_it_and_then_gives_it_as_it_is(bench):
    first = bench.start(idempotency=KEY, wait=0)
    second = bench.start(idempotency=KEY, wait=5)
    assert (first.id, second.status) == (second.id, "RUNNING")
    assert bench.clock.now() == START + timedelta(seconds=5)
    assert bench.services.calls == []


@pytest.mark.parametrize(
    ("wrong", "error"), [({"workflow": "nope"}, WorkflowUnknown), ({"input": {"wrong": True}}, InputInvalid)]
)
def test_a_request_that_makes_no_sense_stores_nothing(bench, wrong, error):
    with pytest.raises(error):
        bench.start(**wrong)
    assert bench.store.rows == {}


@pytest.mark.parametrize(("wait", "durable"), [(0, True), (5, False)], ids=["still running", "at its end"])
def test_a_saga_that_a_second_client_is_told_of_survives_whatever_the_database_does(bench, wait, durable):
    first = bench.start(idempotency=KEY, wait=wait)
    assert bench.store.durable == set()
    bench.start(idempotency=KEY, wait=0)
    assert (first.id in bench.store.durable) is durable, "an end was durable before anybody could read it"


@pytest.fixture
def stricter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Deploys a newer version of the workflow, which takes no such input."""

    def refuse(definition: SagaDefinition, given: object) -> None:
        raise InputInvalid({"channel": ["is required"]})

    def deploy() -> None:
        monkeypatch.setattr(bench.engine.definitions, "check_input", refuse)

    return deploy


@pytest.mark.parametrize("wait", [0, 5])
def test_a_repeat_gives_the_first_saga_even_if_a_newer_version_would_refuse_the_request(bench, stricter, wait):
    first = bench.start(idempotency=KEY, tenant="shop", wait=wait)
    stricter()
    assert bench.start(idempotency=KEY, tenant="shop").id == first.id
    assert len(bench.store.rows) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"idempotency": IdempotentRequest("key", b"other")},
        {"idempotency": IdempotentRequest("another", b"hash")},
        {"idempotency": None},
        {"idempotency": KEY, "tenant": "another"},
    ],
)
def test_any_other_wrong_request_is_told_what_is_wrong_with_it(bench, stricter, other):
    bench.start(idempotency=KEY, tenant="shop")
    stricter()
    with pytest.raises(InputInvalid):
        bench.start(**{"tenant": "shop", **other})


def test_a_short_retry_is_waited_for_in_the_request(bench):
    answers = iter([Unavailable("busy", retry_after=1.5)])
    bench.services.script = lambda _: next(answers, None)
    assert bench.start().status == "COMPLETED"
    assert bench.clock.slept == [1.5]


def test_a_long_retry_goes_to_the_worker_and_frees_the_thread(bench):
    answers = iter([Unavailable("busy", retry_after=8)])
    bench.services.script = lambda _: next(answers, None)
    saga = bench.start()
    assert (saga.status, bench.clock.slept) == ("RUNNING", [])
    assert bench.work() == 0
    assert bench.work_until_rest().status == "COMPLETED"


def test_a_client_is_answered_when_its_wait_budget_is_used_up(bench):
    bench.services.after = lambda _: bench.clock.sleep(4)
    saga = bench.start(wait=3)
    assert saga.status == "RUNNING"
    assert bench.work() == 1
    assert bench.store.load(saga.id).status == "COMPLETED"


def slow(name: str, seconds: float) -> Step:
    return step(name, action=Request(service="svc", method="POST", path=f"/{name}", timeout=seconds))


@pytest.mark.parametrize("seconds", [0.5, 5.0, 12.0, 29.0, 40.0])
@pytest.mark.parametrize("asked", [25, 30, 999_999_999])
def test_a_client_is_answered_before_the_gateway_gives_up_however_slow_the_calls(seconds, asked):
    bench = Bench(workflow(*(slow(f"s{number}", seconds) for number in range(99))), saga_timeout=3600)
    bench.services.after = lambda _: bench.clock.sleep(OVERHEAD + seconds)

    saga = bench.start(wait=asked)

    assert saga.status == "RUNNING"
    assert bench.clock.now() - START <= timedelta(seconds=ANSWER_WITHIN)
    assert bench.work() == 1, "a worker may take it"


def test_a_client_of_calls_of_ordinary_length_waits_for_the_usual_25_seconds():
    assert wait_limit(workflow(step("a"))) == 25
    assert all(wait_limit(definition) == 25 for definition in shipped_definitions())


def test_a_workflow_whose_calls_outlast_the_gateway_is_not_waited_for():
    bench = Bench(workflow(slow("a", 31)))
    assert bench.start(wait=25).status == "RUNNING"
    assert bench.services.calls == []
    assert bench.work_until_rest().status == "COMPLETED"


def test_a_request_whose_saga_was_taken_over_tells_how_the_other_driver_ended_it(bench):
    def stall(_: object) -> None:
        bench.services.after = lambda _: None
        bench.clock.sleep(31)
        bench.work()

    bench.services.after = stall
    saga = bench.start(wait=60)
    assert saga.status == "COMPENSATED"
    assert bench.store.load(saga.id).history == saga.history


def test_a_saga_that_the_database_lost_before_any_effect_is_reported(bench):
    def lose(_: object) -> None:
        bench.store.rows.clear()

    bench.services.after = lose
    with pytest.raises(StoreUnavailable, match="Start it again"):
        bench.start()


def test_a_refused_saga_is_undone_in_the_request(bench):
    bench.services.script = lambda task: Rejected("no") if task.step == "b" else None
    assert bench.start().status == "COMPENSATED"
    assert bench.services.left == []


def test_a_lease_is_renewed_only_when_half_of_it_is_gone():
    bench, expiries = Bench(workflow(step("a"), step("b"), step("c"))), []
    checkpoint = bench.store.checkpoint

    def noted(saga: Saga, events: list[SagaEvent], lease: Lease) -> None:
        expiries.append((lease.expires_at - START).total_seconds())
        checkpoint(saga, events, lease)

    bench.store.checkpoint = noted
    bench.services.after = lambda _: bench.clock.sleep(8)
    bench.start()
    assert expiries == [20, 36, 36]


def test_a_lease_outlives_the_longest_call_of_any_workflow():
    slow = Request(service="svc", method="POST", path="/slow", timeout=30.0)
    assert lease_for([workflow(step("a"))]) == 20
    assert lease_for([workflow(step("a")), workflow(step("b", action=slow))]) > 2 * 30
