"""The partner services keep the participants' contract: integraciones over HTTP, alianzas over a real broker."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from participants_support import Participant, at_once, running, until

from application.ports import Message, Verdict
from devstack import broker
from infrastructure.pulsar_bus import PulsarPublisher, PulsarSubscriber, dead_letter_topic
from participants.partners import ANSWERS, COMMANDS, PARTNER_EVENTS, REFUSED_EMAIL, UNALLIED_EMAIL, UNALLIED_PREFIX

CREATE = "/api/v1/saga/partners"


@pytest.fixture(scope="module")
def broker_directory(tmp_path_factory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("broker")
    broker.ensure_running(directory)
    yield directory
    broker.stop(directory)


@pytest.fixture(scope="module")
def url(broker_directory) -> str:
    return broker.ensure_running(broker_directory)


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="module")
def partners(directory, url) -> Iterator[Participant]:
    with running("integraciones", directory, "--broker", url) as service:
        yield service


@pytest.fixture(scope="module")
def alliances(directory, url) -> Iterator[Participant]:
    with running("alianzas", directory, "--broker", url, "--faults") as service:
        yield service


class Topics:
    """What comes on the topics, each message once it is there; and a way to send commands."""

    def __init__(self, url: str, *topics: str) -> None:
        self.publisher = PulsarPublisher(url)
        self._messages: list[Message] = []
        self._stop = threading.Event()
        arguments = (topics, f"test-{uuid4()}", self._keep, self._stop)
        self._thread = threading.Thread(target=PulsarSubscriber(url).consume, args=arguments)
        self._thread.start()

    def _keep(self, message: Message) -> Verdict:
        self._messages.append(message)
        return Verdict.DONE

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)
        self.publisher.close()

    def of(self, saga_id: str) -> list[dict]:
        return [json.loads(each.body) for each in self._messages if saga_id in each.body.decode(errors="replace")]

    def raw(self, key: str) -> list[bytes]:
        return [each.body for each in self._messages if each.key == key]

    def command(self, **body: object) -> None:
        message = Message(COMMANDS, str(body.get("saga_id")), json.dumps(body).encode(), {})
        self.publisher.publish([message])


@pytest.fixture(scope="module")
def topics(url, partners, alliances) -> Iterator[Topics]:
    made = Topics(url, ANSWERS, PARTNER_EVENTS, dead_letter_topic(COMMANDS, "alianzas"))
    yield made
    made.close()


class Partner:
    """The calls of one saga's first step."""

    def __init__(self, service: Participant, email: str = "socio@example.com") -> None:
        self.service, self.saga_id = service, str(uuid4())
        self.key = f"{self.saga_id}:create_partner:do"
        self.body = {"nombre": "Socio", "email": email, "telefono": "+57 1 234", "direccion": "Calle 1\nBogotá"}

    def do(self):
        return self.service.call("POST", CREATE, {**self.body, "saga_id": self.saga_id}, key=self.key)

    def undo(self, partner_id: str):
        return self.service.call("DELETE", f"/api/v1/partners/{partner_id}", key=f"{self.key[:-3]}:undo")

    def inquire(self):
        return self.service.call("GET", f"{CREATE}/saga-status/{self.saga_id}", key=f"{self.key[:-3]}:inquire")

    def effects(self) -> list[str]:
        return [operation for _, operation, _ in self.service.effects(self.saga_id)]


@pytest.fixture
def partner(partners) -> Partner:
    return Partner(partners)


def test_a_partner_is_created_once_and_deleted_once_and_each_is_told(partner, topics):
    first, second = partner.do(), partner.do()
    assert (first.status_code, set(first.json())) == (201, {"partner_id"})
    assert (second.content, second.headers["Idempotent-Replayed"]) == (first.content, "true")
    partner_id = first.json()["partner_id"]
    shown = {**partner.body, "partner_id": partner_id, "saga_id": partner.saga_id, "estado": "ACTIVO"}
    assert partner.service.get(f"/api/v1/partners/{partner_id}") == shown
    assert partner.inquire().json() == {"outcome": "done", "partner_id": partner_id}
    assert partner.undo(partner_id).content == partner.undo(partner_id).content
    assert partner.service.get(f"/api/v1/partners/{partner_id}")["estado"] == "ELIMINADO"
    assert partner.effects() == ["do", "undo"]
    until(lambda: len(topics.of(partner.saga_id)) == 2, "two events")
    assert topics.of(partner.saga_id) == [
        {"type": what, "partner_id": partner_id, "saga_id": partner.saga_id}
        for what in ("partner_created", "partner_deleted")
    ]


def test_many_equal_calls_at_once_have_one_effect(partner):
    assert len({(answer.status_code, answer.content) for answer in at_once(20, partner.do)}) == 1
    assert partner.effects() == ["do"]


def test_an_inquiry_that_finds_nothing_bars_the_call_that_comes_late(partner):
    assert partner.inquire().json() == {"outcome": "not_done"}
    assert partner.do().status_code == 409
    assert partner.effects() == []


def test_deleting_what_nobody_created_succeeds_and_bars_the_call_that_comes_late(partner):
    assert partner.undo(str(uuid4())).status_code == 200
    assert partner.do().status_code == 409
    assert partner.effects() == []


def test_a_refused_partner_leaves_nothing(partners, topics):
    refused = Partner(partners, REFUSED_EMAIL.upper())
    assert [refused.do().status_code for _ in range(2)] == [409, 409]
    assert refused.do().json()["code"] == "partner_rechazado"
    assert refused.effects() == []
    assert topics.of(refused.saga_id) == []


@pytest.mark.parametrize("wrong", [{"email": "nobody"}, {"nombre": ""}, {"direccion": 7}, {"telefono": None}])
def test_a_wrong_partner_is_400_and_nothing_is_done(partner, wrong):
    partner.body |= wrong
    assert partner.do().status_code == 400
    assert partner.effects() == []


def test_without_a_broker_partners_are_created_all_the_same(tmp_path):
    with running("integraciones", tmp_path) as service:
        assert Partner(service).do().status_code == 201


class Alliance:
    """The messages of one saga's second step."""

    def __init__(self, service: Participant, topics: Topics, partner_id: str | None = None) -> None:
        self.service, self.topics = service, topics
        self.saga_id, self.partner_id = str(uuid4()), partner_id or str(uuid4())
        self.key = f"{self.saga_id}:create_alliance:do"

    def create(self) -> None:
        more = {"partner_id": self.partner_id, "correlation_id": "c-1", "key": self.key}
        self.topics.command(type="CreateAlliance", saga_id=self.saga_id, **more)

    def cancel(self) -> None:
        self.topics.command(type="CancelAlliance", saga_id=self.saga_id, undo_of=self.key)

    def answers(self, count: int) -> list[dict]:
        until(lambda: len(self.topics.of(self.saga_id)) >= count, f"{count} answers")
        return self.topics.of(self.saga_id)

    def effects(self) -> list[str]:
        return [operation for _, operation, _ in self.service.effects(self.saga_id)]

    def fault(self, fault: str, **more: object) -> None:
        rule = {"fault": fault, "match": {"method": "MESSAGE", "key": self.saga_id}, "times": 1, **more}
        assert self.service.call("POST", "/_faults", rule).status_code == 201


@pytest.fixture
def alliance(alliances, topics) -> Alliance:
    return Alliance(alliances, topics)


def test_an_alliance_is_created_once_and_every_command_is_answered_alike(alliance):
    alliance.create()
    (first,) = alliance.answers(1)
    assert (first["type"], first["saga_id"], set(first)) == (
        "alliance_created",
        alliance.saga_id,
        {"type", "saga_id", "alliance_id"},
    )
    alliance.create()
    assert alliance.answers(2) == [first, first]
    assert alliance.effects() == ["do"]
    assert alliance.service.effects(alliance.saga_id)[0][0] == alliance.key


def test_a_cancelled_alliance_is_cancelled_once_and_not_created_again(alliance):
    alliance.create()
    alliance.cancel()
    alliance.cancel()
    until(lambda: alliance.effects() == ["do", "undo"], "the undo")
    alliance.create()
    assert [answer["type"] for answer in alliance.answers(2)] == ["alliance_created", "alliance_failed"]
    assert alliance.effects() == ["do", "undo"]


def test_a_cancel_that_comes_first_bars_the_command(alliance):
    alliance.cancel()
    alliance.create()
    (answer,) = alliance.answers(1)
    assert (answer["type"], bool(answer["reason"])) == ("alliance_failed", True)
    assert alliance.effects() == []


def test_a_partner_without_alliances_is_created_by_one_service_and_refused_by_the_other(partners, alliances, topics):
    partner_id = Partner(partners, UNALLIED_EMAIL).do().json()["partner_id"]
    assert partner_id.startswith(UNALLIED_PREFIX)
    alliance = Alliance(alliances, topics, partner_id)
    alliance.create()
    alliance.create()
    answers = alliance.answers(2)
    assert {answer["type"] for answer in answers} == {"alliance_failed"}
    assert partner_id in answers[0]["reason"]
    assert alliance.effects() == []


@pytest.mark.parametrize("body", [b"\xff", b"[]", b"{}", b'{"type": "Nothing"}', b'{"type": "CreateAlliance"}'])
def test_what_is_no_command_goes_to_the_dead_letters(topics, body):
    key = str(uuid4())
    topics.publisher.publish([Message(COMMANDS, key, body, {})])
    until(lambda: topics.raw(key) == [body], "the dead letter")


def test_a_rejected_command_is_rejected_for_good(alliance):
    alliance.fault("rejected")
    alliance.create()
    alliance.create()
    assert [answer["type"] for answer in alliance.answers(2)] == ["alliance_failed"] * 2
    assert alliance.effects() == []


def test_a_lost_command_has_no_effect_and_its_repetition_has(alliance):
    alliance.fault("ignored")
    alliance.create()
    alliance.create()
    alliance.answers(1)
    assert alliance.effects() == ["do"]
    assert len(alliance.answers(1)) == 1


def test_a_command_that_is_not_answered_is_answered_when_it_is_repeated(alliance):
    alliance.fault("unanswered")
    alliance.create()
    until(alliance.effects, "the effect")
    assert alliance.topics.of(alliance.saga_id) == []
    alliance.create()
    assert alliance.answers(1)[0]["type"] == "alliance_created"
    assert alliance.effects() == ["do"]


def test_a_command_that_fails_comes_again(alliance):
    alliance.fault("failed")
    alliance.create()
    assert alliance.answers(1)[0]["type"] == "alliance_created"
    assert alliance.effects() == ["do"]


def test_a_late_answer_does_not_hold_up_others(alliance, alliances, topics):
    alliance.fault("answered_late", seconds=2)
    alliance.create()
    other = Alliance(alliances, topics)
    other.create()
    other.answers(1)
    assert topics.of(alliance.saga_id) == []
    alliance.answers(1)


def test_answers_that_are_too_many_malformed_or_for_nobody(alliances, topics):
    twice, malformed, nobody = (Alliance(alliances, topics) for _ in range(3))
    for each, fault in (
        (twice, "answered_twice"),
        (malformed, "answered_malformed"),
        (nobody, "answered_for_nobody"),
    ):
        each.fault(fault)
        each.create()
        until(each.effects, "the effect")
    first, second = twice.answers(2)
    assert first == second
    until(lambda: topics.raw(malformed.saga_id), "the malformed answer")
    with pytest.raises(ValueError, match="codec can't decode"):
        json.loads(topics.raw(malformed.saga_id)[0])
    assert topics.of(nobody.saga_id) == []


def test_message_faults_do_not_strike_calls_nor_the_other_way_round(tmp_path):
    with running("integraciones", tmp_path, "--faults") as service:
        for fault in ("rejected", "unanswered"):
            assert service.call("POST", "/_faults", {"fault": fault}).status_code == 201
        assert Partner(service).do().status_code == 201
        assert {rule["matched"] for rule in service.get("/_faults")["rules"]} == {0}


def test_killed_again_and_again_it_answers_every_command_and_has_each_effect_once(tmp_path, url, topics):
    """On a subscription of its own: another database, so another service would be alianzas twice."""
    directory = tmp_path / "broker"
    own = broker.ensure_running(directory)
    seen = Topics(own, ANSWERS)
    database = str(tmp_path / "alianzas.sqlite3")
    service = Participant("alianzas", tmp_path, "--broker", own, database=database)
    sagas = []
    try:
        for _ in range(3):
            for _ in range(30):
                alliance = Alliance(service, seen)
                alliance.create()
                sagas.append(alliance)
            service.kill()
            service = Participant("alianzas", tmp_path, "--broker", own, database=database)
        until(lambda: all(seen.of(each.saga_id) for each in sagas), "an answer for each")
        for each in sagas:
            each.service = service
            assert each.effects() == ["do"]
            assert len({json.dumps(answer) for answer in seen.of(each.saga_id)}) == 1
        assert service.stop() == 0
    finally:
        if service.process.poll() is None:
            service.kill()
        seen.close()
        broker.stop(directory)


def test_it_works_again_after_the_broker_was_away(tmp_path):
    directory = tmp_path / "broker"
    own = broker.ensure_running(directory)
    with running("integraciones", tmp_path, "--broker", own) as service:
        broker.kill(directory)
        partner = Partner(service)
        assert partner.do().status_code == 201
        broker.ensure_running(directory)
        seen = Topics(own, PARTNER_EVENTS)
        until(lambda: seen.of(partner.saga_id), "the event")
        seen.close()
    broker.stop(directory)
