"""Publishing a workflow while the service runs: startable at once, or refused with every fault by its path."""

import json
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime

import api_support
import pytest
from api_support import ORDER, START, problem, shaped
from django.db import connection

from domain.definition_reader import read_definition
from domain.exceptions import DefinitionChanged
from domain.workflows import shipped_definitions
from domain.workflows.commandes import COMMANDES
from domain.workflows.partner_creation import PARTNER_CREATION
from infrastructure.definition_codec import to_json
from infrastructure.definition_store import FRESH, DefinitionStore
from infrastructure.models import DefinitionRow
from interfaces import contracts
from saga_service import bootstrap

api = api_support.api

DEFINITIONS = "/api/sagas/definitions/"
LOAN = {
    "name": "loan",
    "version": 1,
    "title": "A loan",
    "input_schema": {
        "type": "object",
        "required": ["member", "amount"],
        "properties": {"member": {"type": "string"}, "amount": {"type": "integer", "minimum": 1}},
    },
    "initial_state": "requested",
    "completed_state": "paid",
    "compensating_state": "withdrawing",
    "compensated_state": "withdrawn",
    "failed_state": "refused",
    "steps": [
        {
            "name": "credit_check",
            "safe": True,
            "action": {"service": "risk-management", "method": "GET", "path": "/api/members/${input.member}/score/"},
            "output": {"score": "${response.score}"},
        },
        {
            "name": "payout",
            "action": {
                "service": "wallet",
                "method": "POST",
                "path": "/api/wallets/${input.member}/credits/",
                "body": {"amount": "${input.amount}", "score": "${steps.credit_check.score}"},
                "timeout": 5,
            },
            "compensation": {
                "service": "wallet",
                "method": "POST",
                "path": "/api/wallets/${input.member}/debits/",
                "body": {"undo_of": "${saga.do_key}"},
            },
            "output": {"credit": "${response.id}"},
        },
    ],
}
WANTED = {"workflow": "loan", "input": {"member": "m-1", "amount": 500}}


def changed(*path_and_value, of=LOAN):
    *path, value = path_and_value
    content = deepcopy(of)
    place = content
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return content


def stored():
    """The versions that did not ship."""
    shipped = {(definition.name, definition.version) for definition in shipped_definitions()}
    return set(DefinitionRow.objects.values_list("name", "version")) - shipped


@pytest.fixture
def participants(api, monkeypatch):
    """What the loan's participants answer."""
    monkeypatch.setitem(api_support.DONE, "credit_check", {"score": 700})
    monkeypatch.setitem(api_support.DONE, "payout", {"id": "c-7"})
    return api.participants


def test_a_new_workflow_is_stored_shown_and_listed(api):
    answer = api.post(DEFINITIONS, LOAN)

    body = shaped(answer, contracts.DEFINITION, 201)
    assert (body["name"], body["version"], [step["name"] for step in body["steps"]]) == (
        "loan", 1, ["credit_check", "payout"],
    )  # fmt: skip
    assert answer.headers["Location"] == f"{DEFINITIONS}loan/1/"
    assert shaped(api.get(answer.headers["Location"]), contracts.DEFINITION) == body
    listed = shaped(api.get(DEFINITIONS), contracts.DEFINITION_LIST)["results"]
    assert {"name": "loan", "version": 1, "title": "A loan", "steps": ["credit_check", "payout"]} in listed


def test_the_same_content_again_is_what_is_stored(api):
    reordered = dict(reversed(LOAN.items()))
    first, again, other_order = (api.post(DEFINITIONS, content) for content in (LOAN, LOAN, reordered))

    assert [answer.status_code for answer in (first, again, other_order)] == [201, 200, 200]
    assert again.json() == other_order.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]


def test_another_content_under_a_stored_version_is_a_conflict(api):
    api.post(DEFINITIONS, LOAN)

    for query in ("", "?dry_run=true"):
        answer = api.post(DEFINITIONS + query, changed("title", "Another loan"))
        assert "next number" in problem(answer, 409, "definition_changed")["detail"]
    assert api.get(f"{DEFINITIONS}loan/1/").json()["title"] == "A loan"


def test_a_shipped_version_cannot_be_replaced(api):
    content = {**json.loads(json.dumps(to_json(COMMANDES))), "title": "Mine"}

    problem(api.post(DEFINITIONS, content), 409, "definition_changed")


def test_of_two_who_store_a_version_at_once_one_does_and_the_other_is_told_what_is_stored(api):
    """The insert decides, not a look before it."""
    processes = [DefinitionStore([]) for _ in range(3)]
    loan, other = (read_definition(content) for content in (LOAN, changed("title", "Another loan")))

    assert [process.add(loan, "anna") for process in processes] == [True, False, False]
    with pytest.raises(DefinitionChanged):
        processes[0].add(other, "anna")


def test_a_dry_run_says_the_same_and_stores_nothing(api):
    for query in ("?dry_run=true", "?dry_run=1"):
        tried = api.post(DEFINITIONS + query, LOAN)
        assert shaped(tried, contracts.DEFINITION)["name"] == "loan"
        assert "Location" not in tried.headers
    assert stored() == set()
    problem(api.post(f"{DEFINITIONS}?dry_run=true", changed("version", 0)), 422, "definition_invalid")

    assert api.post(f"{DEFINITIONS}?dry_run=false", LOAN).status_code == 201


@pytest.mark.parametrize("query", ["?dry_run=perhaps", "?dry-run=true", "?dry_run="])
def test_what_was_meant_to_be_tried_is_not_stored(api, query):
    problem(api.post(DEFINITIONS + query, LOAN), 400, "invalid")

    assert stored() == set()


@pytest.mark.parametrize("raw", [b"[]", b'"loan"', b"null", b"7", b"{", b'{"name": NaN}', b'{"name": "a\\u0000b"}'])
def test_a_body_that_is_no_object_is_malformed(api, raw):
    problem(api.post(DEFINITIONS, raw=raw), 400)

    assert stored() == set()


def test_every_fault_of_shape_and_of_meaning_is_named_at_once_by_its_path(api):
    content = changed("steps", 0, "safe", "yes")
    content["retires"] = 3
    del content["completed_state"]
    content["deadline"] = -1
    content["input_schema"]["properties"]["amount"]["type"] = "numbr"
    credit_check, payout = content["steps"]
    credit_check["action"] |= {"headers": {"X": "1"}, "timeout": True, "path": "members"}
    payout["compensation"] = {"service": "wallet", "method": "POST", "path": "/x/${steps.payout.credit}/"}
    payout["retry"] = {"max_retries": 2.5}

    errors = problem(api.post(DEFINITIONS, content), 422, "definition_invalid")["errors"]

    assert set(errors) == {
        "retires",
        "completed_state",
        "deadline",
        "input_schema.properties.amount.type",
        "steps[0].safe",
        "steps[0].action.headers",
        "steps[0].action.timeout",
        "steps[0].action.path",
        "steps[1].compensation.path",
        "steps[1].retry.max_retries",
    }
    assert all(isinstance(text, str) and text for texts in errors.values() for text in texts)
    assert stored() == set()


@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({}, "steps"),
        (changed("steps", []), "steps"),
        (changed("steps", {}), "steps"),
        (changed("steps", 0, None), "steps[0]"),
        (changed("version", 2**31), "version"),
        (changed("version", 10**30), "version"),
        (changed("version", 1.5), "version"),
        (changed("version", "1"), "version"),
        (changed("deadline", 10**400), "deadline"),
        (changed("input_schema", "required", "member"), "input_schema.required"),
        (changed("input_schema", "properties", "member", {"pattern": "("}), "input_schema.properties.member.pattern"),
        (changed("input_schema", "properties", "member", {"$ref": "#/$defs/none"}), "input_schema"),
        (changed("input_schema", "properties", "member", {"$ref": "http://127.0.0.1:9/s"}), "input_schema"),
        (changed("input_schema", "properties", "member", {"$ref": "file:///etc/passwd"}), "input_schema"),
        (changed("steps", 0, "action", "service", "mail"), "steps[0].action.service"),
        (changed("steps", 1, "compensation", "service", "mail"), "steps[1].compensation.service"),
        (changed("steps", 0, "action", "path", "/${" + "(" * 5000 + "a" + ")" * 5000 + "}"), "steps[0].action.path"),
        (changed("steps", 0, "action", "query", {"a": "${" + "input.a||" * 500 + "'b'}"}), "steps[0].action.query.a"),
    ],
)  # fmt: skip
def test_a_wrong_definition_is_refused_where_it_is_wrong(api, content, path):
    errors = problem(api.post(DEFINITIONS, content), 422, "definition_invalid")["errors"]

    assert path in errors
    assert stored() == set()


def test_a_service_that_cannot_be_called_is_refused_with_those_that_can(api):
    errors = problem(api.post(DEFINITIONS, changed("steps", 0, "action", "service", "mail")), 422)["errors"]

    there_is = ", ".join(sorted(bootstrap.platform().publisher.services))
    assert errors["steps[0].action.service"] == [f"no URL is configured for 'mail'; there is {there_is}"]


SPEAKING = changed("steps", 1, "awaits", {"types": ["paid"], "topic": "payouts"})
SPEAKING["steps"][1] |= {"publish": {"topic": "pay", "body": {}}, "undo_publish": {"topic": "pay", "body": {}}}
for _call in ("action", "compensation"):
    del SPEAKING["steps"][1][_call]


def test_a_workflow_of_messages_is_refused_where_there_is_no_broker(api):
    for query in ("", "?dry_run=true"):
        errors = problem(api.post(DEFINITIONS + query, SPEAKING), 422, "definition_invalid")["errors"]
        assert set(errors) == {f"steps[1].{name}.topic" for name in ("publish", "awaits", "undo_publish")}
        assert all("set BROKER_URL" in text for texts in errors.values() for text in texts)
    assert stored() == set()


def test_a_workflow_that_waits_for_the_apis_signals_alone_needs_no_broker(api):
    by_hand = changed("steps", 1, {"name": "approval", "awaits": {"types": ["approved"]}})

    assert api.post(DEFINITIONS, by_hand).status_code == 201


@pytest.fixture
def with_broker(monkeypatch):
    platform = bootstrap.platform()
    limits = replace(platform.publisher.limits, broker=True)
    there = replace(platform, publisher=replace(platform.publisher, limits=limits))
    monkeypatch.setattr(bootstrap, "platform", lambda: there)


@pytest.mark.usefixtures("with_broker")
def test_a_workflow_of_messages_is_published_where_there_is_a_broker(api):
    assert api.post(DEFINITIONS, SPEAKING).status_code == 201


@pytest.mark.usefixtures("with_broker")
@pytest.mark.parametrize(
    "topic", ["tenant/space/payouts", "persistent://t/n/x", "non-persistent://t/n/x", "pay.outs-2"]
)
def test_a_topic_may_say_its_tenant_and_namespace(api, topic):
    assert api.post(DEFINITIONS, changed("steps", 1, "awaits", "topic", topic, of=SPEAKING)).status_code == 201


@pytest.mark.usefixtures("with_broker")
@pytest.mark.parametrize("topic", ["a/b", "a:b", "persistent://a", "http://a/b/c", "a/b/c/d"])
def test_a_topic_that_no_broker_could_have_is_refused(api, topic):
    speaking = SPEAKING
    for name in ("publish", "awaits", "undo_publish"):
        speaking = changed("steps", 1, name, "topic", topic, of=speaking)
    for query in ("", "?dry_run=true"):
        errors = problem(api.post(DEFINITIONS + query, speaking), 422, "definition_invalid")["errors"]
        assert set(errors) == {f"steps[1].{name}.topic" for name in ("publish", "awaits", "undo_publish")}
        assert all(text.startswith(f"{topic!r} must be name, tenant") for texts in errors.values() for text in texts)
    assert stored() == set()


@pytest.mark.usefixtures("with_broker")
def test_a_version_with_such_a_topic_that_is_stored_already_is_read_and_may_stay(api):
    old = changed("steps", 1, "awaits", "topic", "a/b", of=SPEAKING)
    bootstrap.definitions().add(read_definition(old), "an earlier release")

    assert "a/b" in bootstrap.awaited_topics()
    assert api.post(DEFINITIONS, old).status_code == 200


def test_what_ships_and_cannot_be_started_says_so(api):
    found = api.get(f"{DEFINITIONS}partner_creation/{PARTNER_CREATION.version}/").json()["findings"]

    missing = {finding["path"]: finding for finding in found if "BROKER_URL" in finding["message"]}
    assert set(missing) == {f"steps[1].{name}.topic" for name in ("publish", "awaits", "undo_publish")}
    assert {finding["severity"] for finding in missing.values()} == {"info"}


def test_what_may_not_be_meant_is_shown_and_stops_nobody(api):
    slow = changed("steps", 1, "action", "timeout", 12)
    slow["steps"][1]["compensation"]["body"] = {}

    for answer in (api.post(f"{DEFINITIONS}?dry_run=true", slow), api.post(DEFINITIONS, slow)):
        found = {finding["path"]: finding for finding in answer.json()["findings"]}
        assert set(found) >= {"steps[1].retry", "steps[1].action.timeout", "steps[1].compensation"}
        assert found["steps[1].compensation"]["severity"] == "warning"
    shown = shaped(api.get(f"{DEFINITIONS}loan/1/"), contracts.DEFINITION)
    assert {finding["path"] for finding in shown["findings"]} == set(found)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [("", "text/plain"), ("*/*", "text/plain"), ("text/html,*/*;q=0.8", "text/plain"), ("text/plain", "text/plain"),
     ("text/vnd.mermaid", "text/vnd.mermaid")],
)  # fmt: skip
def test_a_workflow_is_drawn_in_mermaids_language(api, accept, kind):
    path = f"{DEFINITIONS}commandes/{COMMANDES.version}/diagram/"
    states, steps = (api.get(path + query, **({"Accept": accept} if accept else {})) for query in ("", "?of=steps"))

    assert {answer.headers["Content-Type"] for answer in (states, steps)} == {f"{kind}; charset=utf-8"}
    assert states.content.startswith(b"stateDiagram-v2\n    [*] --> EN_ATTENTE\n")
    assert steps.content.startswith(b"flowchart TD\n")
    assert b"\n    SAGA_ANNULEE --> [*]\n" in states.content


def test_a_diagram_of_nothing_and_of_something_else_is_refused_in_words(api):
    problem(api.get(f"{DEFINITIONS}nothing/1/diagram/"), 404, "workflow_unknown")
    problem(api.get(f"{DEFINITIONS}commandes/{COMMANDES.version}/diagram/?of=dreams"), 400, "invalid")
    problem(api.get(f"{DEFINITIONS}commandes/{COMMANDES.version}/diagram/", Accept="image/png"), 406)


# --- a sixth workflow, added to a service that runs ------------------------------------------------------------------


def test_a_published_workflow_is_started_and_completed_without_a_restart(api, participants, tmp_path):
    file = tmp_path / "loan.json"
    file.write_text(json.dumps(LOAN))
    another_process = DefinitionStore([COMMANDES])
    another_process.register()
    problem(api.post(START, WANTED), 404, "workflow_unknown")

    assert api.post(DEFINITIONS, raw=file.read_bytes()).status_code == 201
    saga = shaped(api.post(START, WANTED), contracts.SAGA, 201)

    assert (saga["status"], saga["state"], saga["version"]) == ("COMPLETED", "paid", 1)
    assert saga["outputs"] == {"credit_check": {"score": 700}, "payout": {"credit": "c-7"}}
    assert [call.service for call in participants.calls] == ["risk-management", "wallet"]
    assert another_process.newest("loan") == bootstrap.definitions().newest("loan")
    problem(api.post(START, {"workflow": "loan", "input": {"member": "m-1", "amount": 0}}), 400, "input_invalid")


def doubled(levels):
    """A loan whose member is a text, said 2 ** levels times in two kilobytes."""
    named = {"d0": {"type": "string"}}
    for level in range(1, levels + 1):
        before = {"$ref": f"#/$defs/d{level - 1}"}
        named[f"d{level}"] = {"anyOf": [before, {"allOf": [before]}]}
    content = changed("input_schema", "$defs", named)
    content["input_schema"]["properties"]["member"] = {"$ref": f"#/$defs/d{levels}"}
    return content


def test_a_schema_that_asks_for_too_much_is_refused_and_where_it_is_stored_already_it_is_not_gone_through(api):
    errors = problem(api.post(DEFINITIONS, doubled(25)), 422, "definition_invalid")["errors"]
    assert [path.startswith("input_schema.$defs.d") for path in errors] == [True]

    bootstrap.definitions().add(read_definition(doubled(25)), "an earlier release")
    refused = problem(api.post(START, {"workflow": "loan", "input": {"member": 1, "amount": 1}}), 400, "input_invalid")
    assert "asks for too much" in str(refused["errors"])


def test_an_input_with_very_many_faults_is_told_some_and_that_there_are_more(api):
    content = changed("input_schema", "properties", "notes", {"type": "array", "items": {"type": "string"}})
    assert api.post(DEFINITIONS, content).status_code == 201
    given = {**WANTED["input"], "notes": list(range(1000))}
    errors = problem(api.post(START, {"workflow": "loan", "input": given}), 400)["errors"]
    assert len(errors) < 60
    assert "more" in str(errors)


def test_a_workflow_whose_template_asks_for_too_much_has_its_sagas_refused_and_nothing_worse(api, participants):
    bomb = "${input" + " | [@,@]" * 40 + "}"
    assert api.post(DEFINITIONS, changed("steps", 1, "action", "body", {"x": bomb})).status_code == 201
    saga = api.post(START, WANTED).json()
    assert saga["status"] == "FAILED"
    assert "takes more than" in str(saga["error"])


def test_a_new_version_is_the_newest_at_once_where_it_was_stored_and_elsewhere_within_a_second(api, participants):
    seconds = [0.0]
    elsewhere = DefinitionStore([COMMANDES], lambda: seconds[0])
    api.post(DEFINITIONS, LOAN)
    assert elsewhere.newest("loan").version == api.post(START, WANTED).json()["version"] == 1

    assert api.post(DEFINITIONS, changed("version", 2)).status_code == 201

    assert api.post(START, WANTED).json()["version"] == 2, "here at once"
    assert elsewhere.newest("loan").version == 1, "as it was read a moment ago"
    assert elsewhere.version("loan", 2).version == 2, "by its number at once"
    seconds[0] += FRESH
    assert elsewhere.newest("loan").version == 2
    assert api.post(START, {**WANTED, "version": 1}).json()["version"] == 1


def test_a_saga_that_runs_keeps_its_version(api, participants):
    api.post(DEFINITIONS, LOAN)
    running = api.post(START, WANTED, Prefer="respond-async").json()
    api.post(DEFINITIONS, changed("version", 2))

    shown = shaped(api.get(f"/api/sagas/transactions/{running['id']}/"), contracts.SAGA_DETAIL)
    assert (shown["version"], shown["status"]) == (1, "RUNNING")


def test_the_database_refuses_states_that_the_published_definition_does_not_have(api, participants):
    api.post(DEFINITIONS, LOAN)
    saga = api.post(START, WANTED).json()

    with pytest.raises(Exception, match="cannot be COMPLETED in state SAGA_TERMINEE"), connection.cursor() as cursor:
        cursor.execute("UPDATE sagas SET state = 'SAGA_TERMINEE' WHERE id = %s", [saga["id"]])


# --- whose a workflow is, and who published it -----------------------------------------------------------------------

NEXT = {**json.loads(json.dumps(to_json(COMMANDES))), "version": COMMANDES.version + 1}


@pytest.mark.parametrize("query", ["", "?dry_run=true", "?shipped=false"])
def test_a_new_version_of_a_shipped_workflow_is_refused_unless_it_is_meant(api, query):
    refused = problem(api.post(DEFINITIONS + query, NEXT), 409, "workflow_shipped")
    assert "?shipped=true" in refused["detail"]
    assert stored() == set()
    assert api.post(f"{DEFINITIONS}?dry_run=true&shipped=true", NEXT).status_code == 200
    assert stored() == set()


def test_what_a_release_has_stored_is_still_no_news(api):
    assert api.post(DEFINITIONS, json.loads(json.dumps(to_json(COMMANDES)))).status_code == 200


def test_a_new_version_of_a_shipped_workflow_that_is_meant_is_what_new_orders_run_under(api):
    assert api.post(f"{DEFINITIONS}?shipped=true", NEXT).status_code == 201

    started = api.post(START, {"workflow": "commandes", "input": ORDER}).json()
    assert (started["version"], started["status"]) == (COMMANDES.version + 1, "COMPLETED")


def test_meaning_it_does_not_replace_a_version(api):
    content = {**NEXT, "version": COMMANDES.version, "title": "Mine"}

    problem(api.post(f"{DEFINITIONS}?shipped=true", content), 409, "definition_changed")


def test_who_published_a_version_and_when_is_kept(api):
    tried = shaped(api.post(f"{DEFINITIONS}?dry_run=true", LOAN), contracts.DEFINITION)
    assert (tried["published_by"], tried["published_at"]) == (None, None)
    began = datetime.now(UTC)

    published = shaped(api.post(DEFINITIONS, LOAN), contracts.DEFINITION, 201)

    assert published["published_by"] == "development"
    assert began <= datetime.fromisoformat(published["published_at"]) <= datetime.now(UTC)
    again = api.post(DEFINITIONS, LOAN).json()
    assert again["published_at"] == published["published_at"]
    assert api.get(f"{DEFINITIONS}commandes/{COMMANDES.version}/").json()["published_by"] == "release"
