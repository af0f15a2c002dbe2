"""Messages of sagas: sent with the checkpoint that decides them, in order, at least once; taken in at most once."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from io import StringIO
from types import SimpleNamespace
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection

from application.messages import Inbox, Relay, Trigger, order_of, signal
from application.operations import Operations
from application.ports import Lease, Message, Refused, Verdict
from application.recovery import claim_due, drive
from application.trace_context import span_of
from domain.calls import LARGEST_MESSAGE
from domain.definition import Await, Publish, Step
from domain.entities import Saga
from domain.exceptions import BrokerUnavailable, LeaseLost, MessageRefused, StoreUnavailable, TopicsUnavailable
from domain.outcomes import Succeeded
from infrastructure import database_numbers, pulsar_bus
from infrastructure.definition_store import DefinitionStore
from infrastructure.models import OutboxRow
from infrastructure.outbox_store import PostgresOutbox
from infrastructure.saga_store import PostgresSagaStore
from interfaces.management.commands import saga_worker
from tests.support.dialogue import ANNA, START, step, workflow
from tests.support.driving import Bench
from tests.support.stored_sagas import MINUTE, lease

ASK = step(
    "ask",
    action=None,
    compensation=None,
    publish=Publish(topic="commands", body={"type": "Do", "saga_id": "${saga.id}", "key": "${saga.do_key}"}),
    awaits=Await(topic="answers", types=("done", "refused"), timeout=30),
    undo_publish=Publish(topic="commands", body={"type": "Undo", "undo_of": "${saga.do_key}"}),
    reject_when="${response.type == 'refused'}",
)
LARGE = Publish(topic="commands", body={"type": "Do", "text": "${input.text}"})
WORKFLOW = workflow(step("a"), ASK, step("b"), name="messages_test", deadline=120.0)


COFFEE = "\u2615"
GIVEN = f"00-{'a' * 32}-{'b' * 16}-01"


@dataclass
class Started:
    id: UUID


class Broker:
    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.up, self.most = True, 10**6
        self.shut: dict[str, str] = {}

    def publish(self, messages):
        if not self.up:
            raise BrokerUnavailable
        if too_large := {at: "too large" for at, each in enumerate(messages) if len(each.body) > self.most}:
            raise MessageRefused(too_large)
        unsent = {at: self.shut[each.topic] for at, each in enumerate(messages) if each.topic in self.shut}
        self.sent += [each for at, each in enumerate(messages) if at not in unsent]
        if unsent:
            raise TopicsUnavailable(unsent)


@pytest.fixture
def bench(transactional_db: None) -> Iterator[Bench]:
    definitions = DefinitionStore([WORKFLOW])
    definitions.register()
    bench = Bench(WORKFLOW)
    bench.store = PostgresSagaStore(definitions, events_topic="saga-events")
    bench.engine = replace(bench.engine, store=bench.store)
    yield bench
    connection.close()


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def relay(broker):
    return Relay(PostgresOutbox(), broker)


def started(bench) -> Saga:
    saga = bench.start(workflow="messages_test")
    assert saga.status == "WAITING"
    return saga


def commands(broker):
    return [json.loads(message.body) for message in broker.sent if message.topic == "commands"]


def answer(saga, kind="done", topic="answers", **body):
    return Message(topic, "", json.dumps({"type": kind, "saga_id": str(saga.id), **body}).encode())


def test_a_message_is_in_the_outbox_with_the_checkpoint_that_decides_it(bench, broker, relay):
    saga = started(bench)
    assert relay.send_some() > 0
    assert commands(broker) == [{"type": "Do", "saga_id": str(saga.id), "key": f"{saga.id}:ask:do"}]
    assert relay.send_some() == 0


def test_every_event_is_published_in_order_under_the_sagas_key(bench, broker, relay):
    saga = started(bench)
    inbox(bench).handle(answer(saga))
    saga = bench.work_until_rest_of(saga.id)
    relay.send_some()
    told = [message for message in broker.sent if message.topic == "saga-events"]
    assert [json.loads(message.body)["seq"] for message in told] == list(range(1, saga.seq + 1))
    assert {message.key for message in told} == {str(saga.id)}
    first = json.loads(told[0].body)
    assert (first["saga_id"], first["workflow"], first["type"]) == (str(saga.id), "messages_test", "saga_started")


def test_messages_belong_to_the_sagas_trace_and_events_to_its_own_span(bench, broker):
    saga = bench.start(workflow="messages_test", traceparent=GIVEN)
    Relay(PostgresOutbox("saga-events"), broker).send_some()
    traces = {message.topic: message.properties["traceparent"] for message in broker.sent}
    assert {trace[:36] for trace in traces.values()} == {GIVEN[:36]}
    assert traces["saga-events"][36:52] == span_of(saga, saga.history[0])
    assert len({GIVEN, *traces.values()}) == 3


@pytest.mark.parametrize("sampled", [True, False])
def test_a_message_of_a_saga_without_a_clients_trace_says_whether_the_saga_is_recorded(bench, broker, sampled):
    saga = bench.start(workflow="messages_test")
    Relay(PostgresOutbox("saga-events", lambda saga_id: sampled and saga_id == saga.id), broker).send_some()

    flags = {message.properties["traceparent"][-2:] for message in broker.sent}
    assert flags == {"01" if sampled else "00"}


def test_nothing_is_lost_while_the_broker_is_away(bench, broker, relay):
    broker.up = False
    sagas = [started(bench) for _ in range(3)]
    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            relay.send_some()
    broker.up = True
    relay.send_some()
    assert [command["saga_id"] for command in commands(broker)] == [str(saga.id) for saga in sagas]


def test_only_one_process_empties_the_outbox(bench, broker, relay):
    assert PostgresOutbox().lead()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [0x5A6A0B0F])
        assert cursor.fetchone() == (False,)
    other.close()


def inbox(bench, counted=None):
    counted = [] if counted is None else counted
    return Inbox(bench.engine, lambda topic, result: counted.append((topic, result)))


def test_an_answer_moves_the_saga_on_without_a_driver(bench):
    saga = started(bench)
    seen = bench.store.look(saga.id)
    assert (seen.saga.status, seen.driven_until) == ("WAITING", None)
    assert inbox(bench).handle(answer(saga)) is Verdict.DONE
    assert bench.work_until_rest_of(saga.id).status == "COMPLETED"


@pytest.mark.parametrize(
    ("message", "result", "verdict"),
    [
        (Message("answers", "", b"\xff"), "malformed", Verdict.DEAD),
        (Message("answers", "", b"[]"), "malformed", Verdict.DEAD),
        (Message("answers", "", b'{"type": "done"}'), "malformed", Verdict.DEAD),
        (Message("answers", "", b'{"type": 1, "saga_id": "01890000-0000-7000-8000-000000000001"}'), "malformed",
         Verdict.DEAD),
        (Message("answers", "", b'{"type": "done", "saga_id": "01890000-0000-7000-8000-000000000001"}'),
         "unknown_saga", Verdict.DONE),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_in_is_counted(bench, message, result, verdict):
    counted: list[tuple[str, str]] = []
    assert inbox(bench, counted).handle(message) is verdict
    assert counted == [("answers", result)]


DEEP = (b"[" * 500 + b"]" * 500, b"[" * 60_000 + b"]" * 60_000)
HOSTILE = [b'"a\\u0000"', b'"\\ud800"', b"NaN", b"1e400", *DEEP, b"1" * 5000]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: value[:8].decode())
@pytest.mark.parametrize("topic", ["answers", "wanted"])
def test_what_is_no_strict_json_is_put_aside_at_once_and_counted(bench, topic, value):
    saga, counted = started(bench), []
    body = b'{"type": "done", "saga_id": "%s", "order": {"id": %s}}' % (str(saga.id).encode(), value)
    assert starter(bench, counted).handle(Message(topic, "k", body)) is Verdict.DEAD
    assert counted == [(topic, "malformed")]


def test_a_message_that_starts_what_there_is_not_is_put_aside_and_told_of(bench, caplog):
    counted: list[tuple[str, str]] = []
    heard = replace(starter(bench, counted), triggers=(replace(STARTS, workflow="nowhere"),))
    assert heard.handle(wanted({"order": {"id": 7}})) is Verdict.DEAD
    assert (counted, "cannot start its saga" in caplog.text) == ([("wanted", "refused")], True)


@pytest.mark.parametrize("topic", ["answers", "wanted"])
def test_while_the_database_is_away_a_message_waits_before_all_others(bench, topic, monkeypatch):
    saga, counted = started(bench), []

    def away(*_given):
        raise StoreUnavailable

    message = Message(topic, "k", json.dumps({"type": "done", "saga_id": str(saga.id), "order": {"id": 1}}).encode())
    with monkeypatch.context() as there:
        there.setattr(PostgresSagaStore, "look", away)
        there.setattr(PostgresSagaStore, "create", away)
        assert starter(bench, counted).handle(message) is Verdict.AWAY
    assert starter(bench, counted).handle(message) is Verdict.DONE
    assert [result for _, result in counted] == ["store_away", "taken" if topic == "answers" else "started"]


def test_a_worker_whose_database_is_away_takes_no_attempt_of_a_message():
    def away(_message):
        raise OperationalError("the connection was lost")

    asked = SimpleNamespace(handle=away)
    assert saga_worker._taken(asked, Message("answers", "k", b"{}")) is Verdict.AWAY


def test_messages_keep_their_order_within_their_saga_and_where_they_have_none_within_their_key(bench):
    saga = started(bench)
    assert order_of(replace(answer(saga), key="the desk")) == str(saga.id)
    for body in (b"\xff", b"[]", b"{}", b'{"saga_id": 7}', b'"text"'):
        assert order_of(Message("t", "the desk", body)) == "the desk"


@pytest.mark.parametrize("topic", ["answers", "wanted"])
def test_what_the_database_cannot_store_is_put_aside(bench, topic, monkeypatch):
    saga, counted = started(bench), []
    monkeypatch.setattr("application.messages.decoded", json.loads)
    body = json.dumps({"type": "done", "saga_id": str(saga.id), "order": {"id": "\0"}}).encode()
    assert starter(bench, counted).handle(Message(topic, "k", body)) is Verdict.DEAD
    assert counted == [(topic, "malformed" if topic == "answers" else "refused")]
    assert bench.engine.store.load(saga.id).status == "WAITING"


def test_a_message_whose_handling_failed_is_counted_too(bench, monkeypatch):
    saga, counted = started(bench), []
    monkeypatch.setattr(Saga, "signal", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        inbox(bench, counted).handle(answer(saga))
    assert counted == [("answers", "failed")]


def test_a_duplicate_and_a_late_answer_change_nothing(bench):
    saga, counted = started(bench), []
    for _ in range(2):
        assert inbox(bench, counted).handle(answer(saga)) is Verdict.DONE
    bench.work_until_rest_of(saga.id)
    assert inbox(bench, counted).handle(answer(saga, "refused")) is Verdict.DONE
    assert [result for _, result in counted] == ["taken", "not_awaited", "not_awaited"]


def test_an_answer_that_contradicts_the_refusal_before_it_is_counted_and_logged_and_changes_nothing(bench, caplog):
    saga, counted = started(bench), []
    for kind in ("refused", "refused", "done"):
        assert inbox(bench, counted).handle(answer(saga, kind)) is Verdict.DONE
    bench.work_until_rest_of(saga.id)
    seq = bench.engine.store.load(saga.id).seq
    assert inbox(bench, counted).handle(answer(saga, "done")) is Verdict.DONE

    assert [result for _, result in counted] == ["taken", "not_awaited", "contradicts", "contradicts"]
    assert bench.engine.store.load(saga.id).seq == seq
    [warned, _] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert (warned.saga_id, warned.type) == (str(saga.id), "done")


TWICE = workflow(
    step("a"),
    Step(name="first", awaits=Await(types=("ok",), topic="answers", timeout=30)),
    step("b"),
    Step(name="second", awaits=Await(types=("ok", "late"), topic="answers", timeout=30)),
    name="messages_twice",
    deadline=300.0,
)


@pytest.fixture(params=["memory", "postgres"])
def twice(request):
    """A bench of a workflow that waits for the same type twice, over each store."""
    if request.param == "memory":
        return Bench(TWICE)
    bench, definitions = request.getfixturevalue("bench"), DefinitionStore([TWICE])
    definitions.register()
    store = PostgresSagaStore(definitions)
    bench.store, bench.engine = store, replace(bench.engine, store=store, definitions=definitions)
    return bench


def test_an_answer_that_is_faster_than_its_step_comes_again_until_that_has_begun(twice):
    verdicts = []
    twice.services.after = lambda task: verdicts.append(inbox(twice).handle(answer(Started(task.saga_id), "ok")))
    saga = twice.start(workflow="messages_twice")
    assert (verdicts, saga.status) == ([Verdict.LATER], "WAITING")
    counted = []
    heard = inbox(twice, counted)
    kinds = ("late", "other", "ok")
    assert [heard.handle(answer(saga, kind)) for kind in kinds] == [Verdict.LATER, Verdict.DONE, Verdict.DONE]
    assert [result for _, result in counted] == ["not_now", "not_awaited", "taken"]


def test_a_duplicate_is_not_kept_for_a_later_step_that_waits_for_the_same_type(twice):
    saga, heard = twice.start(workflow="messages_twice"), inbox(twice)
    assert [heard.handle(answer(saga, "ok", n=1)) for _ in range(2)] == [Verdict.DONE, Verdict.DONE]
    assert heard.handle(answer(saga, "ok", n=2)) is Verdict.LATER
    lease_, [claimed] = claim_due(twice.engine, 1)
    drive(twice.engine, claimed, lease_)
    assert twice.engine.store.load(saga.id).status == "WAITING"
    assert heard.handle(answer(saga, "ok", n=2)) is Verdict.DONE
    assert [twice.engine.store.load(saga.id).outputs[name]["n"] for name in ("first", "second")] == [1, 2]


def test_an_answer_for_a_step_that_is_not_reached_any_more_is_done_with(twice):
    saga, heard = twice.start(workflow="messages_twice"), inbox(twice)
    assert heard.handle(answer(saga, "late")) is Verdict.LATER
    twice.clock.sleep(31)
    assert twice.work_until_rest_of(saga.id).status == "COMPENSATED"
    assert heard.handle(answer(saga, "late")) is Verdict.DONE


def test_an_answer_for_a_paused_saga_comes_again(bench):
    saga = started(bench)
    Operations(bench.engine).act(saga.id, Saga.pause, ANNA)
    assert inbox(bench).handle(answer(saga)) is Verdict.LATER
    Operations(bench.engine).act(saga.id, Saga.resume, ANNA)
    assert inbox(bench).handle(answer(saga)) is Verdict.DONE
    assert bench.work_until_rest_of(saga.id).status == "COMPLETED"


def test_an_answer_that_meets_a_worker_who_gives_the_saga_up_comes_again(bench):
    saga = started(bench)
    now = bench.clock.now() + MINUTE
    [claimed] = bench.store.claim(lease(300), now, 1)
    assert claimed.saga.id == saga.id
    assert inbox(bench).handle(answer(saga)) is Verdict.LATER


def test_nobody_answers_in_time_and_everything_is_undone(bench, broker, relay):
    saga = started(bench)
    bench.clock.sleep(31)
    assert bench.work_until_rest_of(saga.id).status == "COMPENSATED"
    relay.send_some()
    assert [command["type"] for command in commands(broker)] == ["Do", "Undo"]
    assert bench.services.left == []


def test_a_signal_by_the_api_needs_no_topic(bench):
    saga = started(bench)
    assert signal(bench.engine, saga.id, {"type": "done"})
    assert not signal(bench.engine, saga.id, {"type": "done"})


def test_a_driver_that_was_fenced_off_sends_nothing(bench, broker, relay):
    saga, events = Saga.start(WORKFLOW, replace(started(bench).origin, id=bench.engine.new_id()))
    held = lease(30)
    bench.store.create(saga, events, held, None)
    stolen = Lease(token=bench.engine.new_id(), owner="thief", expires_at=held.expires_at, seconds=30)
    relay.send_some()
    broker.sent.clear()
    with pytest.raises(LeaseLost):
        bench.store.checkpoint(saga, saga.record(Succeeded(), START), stolen)
    assert relay.send_some() == 0


# --- what no broker takes -------------------------------------------------------------------------------------------


def test_a_message_that_no_broker_takes_is_put_aside_and_holds_up_nobody(bench, broker, relay, caplog):
    saga, other = started(bench), started(bench)
    [large] = OutboxRow.objects.filter(saga_id=saga.id, topic="commands")
    broker.most = len(relay.outbox.waiting(100)[-1].message.body) + 200
    OutboxRow.objects.filter(id=large.id).update(payload={**large.payload, "more": "x" * broker.most})
    sent_before = [each.number for each in relay.outbox.waiting(100)]

    with caplog.at_level("ERROR", "saga.outbox"):
        assert relay.send_some() > 0
        assert relay.send_some() == len(sent_before) - 1

    assert relay.send_some() == 0
    assert [command["saga_id"] for command in commands(broker)] == [str(other.id)]
    told = [json.loads(message.body)["seq"] for message in broker.sent if message.key == str(saga.id)]
    assert told == sorted(told), "each saga's order holds"
    assert "put aside" in caplog.text
    [refused] = relay.outbox.refused()
    assert refused == Refused(large.id, saga.id, large.seq, "commands", "too large")


def test_a_topic_that_the_broker_does_not_take_holds_up_its_own_messages_only(bench, broker, monkeypatch):
    monkeypatch.setattr("application.messages.BATCH", 3)
    now = [0.0]
    relay = Relay(PostgresOutbox(), broker, clock=lambda: now[0])
    sagas = [started(bench) for _ in range(4)]
    broker.shut = {"saga-events": "no permission"}
    for _ in range(20):
        relay.send_some()
    assert [command["saga_id"] for command in commands(broker)] == [str(saga.id) for saga in sagas]
    held = OutboxRow.objects.filter(topic="saga-events").count()
    assert held == OutboxRow.objects.count() == sum(saga.seq for saga in sagas)

    broker.shut, before = {}, len(broker.sent)
    assert relay.send_some() == 0, "it is left alone for a while"
    now[0] += 5
    while relay.send_some():
        pass
    told = [(message.key, json.loads(message.body)["seq"]) for message in broker.sent[before:]]
    assert told == sorted(told, key=lambda each: ([str(saga.id) for saga in sagas].index(each[0]), each[1]))
    assert (len(told), OutboxRow.objects.count()) == (held, 0)


@pytest.mark.parametrize("what", ["retry", "drop"])
def test_a_person_sends_it_after_all_or_lets_it_go(bench, broker, relay, what):
    started(bench)
    broker.most = 10
    while relay.send_some():
        pass
    numbers = [refused.number for refused in relay.outbox.refused()]
    broker.most = 10**6

    assert run("list").count("too large") == len(numbers) > 1
    assert "say why (--reason)" in run("drop", numbers[0])
    assert run(what, *numbers, "--reason", "told by mail").count("put back" if what == "retry" else "dropped")
    assert "there is no such message" in run(what, numbers[0], "--reason", "again")

    assert (relay.send_some(), relay.outbox.refused()) == (len(numbers) if what == "retry" else 0, [])


def run(*given):
    out = StringIO()
    try:
        call_command("saga_outbox", *map(str, given), stdout=out)
    except CommandError as error:
        return str(error)
    return out.getvalue()


def test_what_waits_and_what_was_put_aside_is_measured(bench, broker, relay):
    started(bench)
    assert measured("waiting_current") == OutboxRow.objects.count()
    broker.most = 10
    while relay.send_some():
        pass
    assert (measured("refused_current"), measured("waiting_current")) == (OutboxRow.objects.count(), 0)
    assert measured("oldest_seconds") == 0


def measured(name):
    families = {family.name: family for family in database_numbers.numbers(START)}
    return families[f"saga_outbox_{name}"].samples[0].value


def test_a_saga_whose_message_no_broker_would_take_turns_back(bench, broker, relay):
    whole = replace(WORKFLOW, steps=(step("a"), replace(ASK, publish=LARGE), step("b")), version=2)
    definitions = DefinitionStore([whole])
    definitions.register()
    store = PostgresSagaStore(definitions)
    bench.engine = replace(bench.engine, store=store, definitions=definitions)

    saga = bench.start(workflow="messages_test", input={"text": "x" * (LARGEST_MESSAGE - 20)})

    assert saga.status == "COMPENSATED"
    assert f"bytes, {LARGEST_MESSAGE} is the most" in saga.failure.reason
    assert bench.services.left == []
    assert not OutboxRow.objects.exists()


def test_what_a_saga_may_send_a_broker_takes_with_its_key_and_properties():
    assert LARGEST_MESSAGE + 10_000 < pulsar_bus.LARGEST


# --- sagas that a message starts ------------------------------------------------------------------------------------

STARTS = Trigger(topic="wanted", workflow="messages_test", input={"of": "${message.order.id}"})


def wanted(body, key="order-1"):
    return Message("wanted", key, json.dumps(body).encode(), {"correlation_id": "desk-7"})


def starter(bench, counted=None):
    return replace(inbox(bench, counted), triggers=(STARTS,))


@pytest.mark.parametrize(("given", "kept"), [(GIVEN, GIVEN), ("00-nonsense", None), (None, None)])
def test_a_saga_that_a_message_starts_belongs_to_the_messages_trace(bench, given, kept):
    properties = {"traceparent": given} if given else {}
    assert starter(bench).handle(replace(wanted({"order": {"id": 7}}), properties=properties)) is Verdict.DONE
    [claimed] = claim_due(bench.engine, 10)[1]
    assert claimed.saga.origin.traceparent == kept


def test_a_message_starts_a_saga_once_however_often_it_comes(bench):
    counted: list[tuple[str, str]] = []
    for _ in range(3):
        assert starter(bench, counted).handle(wanted({"order": {"id": 7}})) is Verdict.DONE
    assert counted == [("wanted", "started"), *[("wanted", "repeated")] * 2]
    lease_, [claimed] = claim_due(bench.engine, 10)
    assert claimed.saga.origin.input == {"of": 7}
    assert (claimed.saga.origin.correlation_id, claimed.saga.history[0].actor) == ("desk-7", "message:wanted")
    drive(bench.engine, claimed, lease_)
    assert bench.store.load(claimed.saga.id).status == "WAITING"


def test_keys_that_are_the_same_only_at_their_beginning_are_two(bench):
    for key in ("x" * 300, "x" * 300 + "y", "x" * 300):
        assert starter(bench).handle(wanted({"order": {"id": 1}}, key)) is Verdict.DONE
    assert len(claim_due(bench.engine, 10)[1]) == 2


@pytest.mark.parametrize("given", [None, "", True, [1], {"a": 1}])
def test_a_message_without_key_whose_id_is_none_starts_nothing(bench, given):
    counted: list[tuple[str, str]] = []
    assert starter(bench, counted).handle(wanted({"id": given, "order": {"id": 1}}, "")) is Verdict.DEAD
    assert counted == [("wanted", "malformed")]


def test_each_trigger_of_a_topic_starts_its_own_saga_whatever_their_order(bench):
    triggers = (STARTS, replace(STARTS, input={"of": "other"}), replace(STARTS, when="${message.order.id == `7`}"))
    for some in (triggers, triggers[::-1], triggers[:1]):
        assert replace(inbox(bench), triggers=some).handle(wanted({"order": {"id": 7}})) is Verdict.DONE
    begun = [claimed.saga.origin.input["of"] for claimed in claim_due(bench.engine, 10)[1]]
    assert sorted(map(str, begun)) == ["7", "7", "other"]


def test_another_key_or_the_bodys_id_is_another_saga(bench):
    for message in (wanted({"order": {"id": 1}}), wanted({"order": {"id": 1}}, "order-2"), wanted({"id": 5}, "")):
        starter(bench).handle(message)
    assert len(claim_due(bench.engine, 10)[1]) == 3


@pytest.mark.parametrize(
    ("key", "said", "correlation"),
    [
        ("order-1", "desk-7", "desk-7"),
        ("order-1", None, "wanted:order-1"),
        ("order-1", COFFEE, "wanted:order-1"),
        ("order-1", "x\r\nX-Evil: 1", "wanted:order-1"),
        (COFFEE, "x" * 5000, f"wanted:{sha256(COFFEE.encode()).hexdigest()[:32]}"),
        ("x" * 300, None, f"wanted:{sha256(b'x' * 300).hexdigest()[:32]}"),
    ],
)
def test_a_saga_that_a_message_starts_has_a_correlation_id_that_every_call_can_carry(bench, key, said, correlation):
    properties = {} if said is None else {"correlation_id": said}
    for _ in range(2):
        message = replace(wanted({"order": {"id": 7}}, key), properties=properties)
        assert starter(bench).handle(message) is Verdict.DONE
    [claimed] = claim_due(bench.engine, 10)[1]
    assert claimed.saga.origin.correlation_id == correlation


def test_a_topic_may_answer_one_saga_and_start_another(bench):
    saga, counted = started(bench), []
    trigger = replace(STARTS, topic="answers", input={"of": "${message.saga_id}"}, when="${message.type == 'done'}")
    heard = replace(inbox(bench, counted), triggers=(trigger,))
    Operations(bench.engine).act(saga.id, Saga.pause, ANNA)
    assert heard.handle(answer(saga, id=1)) is Verdict.LATER
    Operations(bench.engine).act(saga.id, Saga.resume, ANNA)
    for message in (answer(saga, id=1), answer(saga, id=1), answer(saga, "refused", id=2)):
        assert heard.handle(message) is Verdict.DONE
    assert [result for _, result in counted] == ["started", "taken", "repeated", "not_awaited"]
    begun = {claimed.saga.id: claimed.saga for claimed in claim_due(bench.engine, 10)[1]}
    assert begun.pop(saga.id).outputs["ask"]
    [other] = begun.values()
    assert other.origin.input == {"of": str(saga.id)}


def test_only_the_messages_that_a_trigger_is_for_start_a_saga(bench):
    counted = []
    trigger = replace(STARTS, when="${message.kind == 'order'}")
    heard = replace(inbox(bench, counted), triggers=(trigger, replace(trigger, when="${message.missing}")))
    for message in (wanted({"kind": "order"}), wanted({"kind": "other"}), wanted([1]), wanted({}, "")):
        assert heard.handle(message) is Verdict.DONE
    assert [result for _, result in counted] == ["started", *["not_concerned"] * 3]
    assert len(claim_due(bench.engine, 10)[1]) == 1


def test_a_condition_that_is_neither_true_nor_false_puts_the_message_aside(bench):
    heard = replace(inbox(bench), triggers=(replace(STARTS, when="${message.kind}"),))
    assert heard.handle(wanted({"kind": "order"})) is Verdict.DEAD


@pytest.mark.parametrize(
    ("message", "result"),
    [
        (Message("wanted", "k", b"\xff"), "malformed"),
        (Message("wanted", "", b"{}"), "malformed"),
        (wanted({"wrong": True}), "refused"),
    ],
)
def test_a_message_that_can_start_nothing_is_put_aside(bench, message, result):
    counted: list[tuple[str, str]] = []
    trigger = replace(STARTS, input={"wrong": "${message.wrong}"})
    assert replace(inbox(bench, counted), triggers=(trigger,)).handle(message) is Verdict.DEAD
    assert counted == [("wanted", result)]


def test_the_same_key_with_another_body_is_put_aside(bench):
    starter(bench).handle(wanted({"order": {"id": 1}}))
    assert starter(bench).handle(wanted({"order": {"id": 2}})) is Verdict.DEAD


def test_the_outboxs_command_says_that_there_is_nothing_and_asks_for_just_what_is_missing(db, capsys):
    call_command("saga_outbox", "list")
    assert capsys.readouterr().err == "no message was put aside\n"

    for given, missing in ((["drop", "17"], r"^drop: say why \(--reason\)$"), (["retry"], "^retry: say which$")):
        with pytest.raises(CommandError, match=missing):
            call_command("saga_outbox", *given)
