"""Starting a saga from the console: a form made of the workflow's schema, its faults at their fields, and one start."""

import json
import re
from dataclasses import replace
from html import unescape

import api_support
import pytest
from api_support import ORDER
from django.contrib.auth.models import Group, User
from django.test import Client

from domain.workflows import shipped_definitions
from domain.workflows.commandes import COMMANDES
from infrastructure.models import SagaEventRow, SagaRow
from interfaces.console.schema_form import MOST_FIELDS, SchemaForm, after
from interfaces.examples import EXAMPLE_INPUTS
from interfaces.schema_example import Example
from saga_service import bootstrap

api = api_support.api

PAGE = "/console/workflows/commandes/start/"


def fields(html):
    """What a browser would send of the first form: names and values."""
    form = re.search(r'<form method="post" class="panel start".*?</form>', html, re.DOTALL)[0]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        found[unescape(name[1])] = unescape(value[1]) if value else ""
    for name, text in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        found[unescape(name)] = unescape(text)
    for name, options in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        found[unescape(name)] = unescape(chosen[1]) if chosen else ""
    found.pop("csrfmiddlewaretoken", None)
    return found


def opened(api, path=PAGE):
    answer = api.http.get(path)
    assert answer.status_code == 200, answer.content
    return fields(answer.content.decode())


def faults(answer):
    """The fault at each field, by the field's id."""
    found = re.findall(r'id="(f-[^"]*)-fault">(.*?)<', answer.content.decode())
    return {name: unescape(text) for name, text in found}


@pytest.mark.parametrize("definition", shipped_definitions(), ids=lambda definition: definition.name)
def test_the_form_of_each_shipped_workflow_starts_its_example_as_it_is(api, definition):
    path = f"/console/workflows/{definition.name}/start/"
    answer = api.http.post(path, opened(api, path))

    assert answer.status_code == 303, answer.content
    row = SagaRow.objects.get()
    assert answer.headers["Location"] == f"/console/sagas/{row.id}/"
    assert (row.workflow, row.data["input"]) == (definition.name, EXAMPLE_INPUTS[definition.name])
    assert row.tenant == "development"
    assert SagaEventRow.objects.get(saga_id=row.id, seq=1).actor == "development"


def test_the_saga_belongs_to_the_trace_of_the_request_that_started_it(api):
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    api.http.post(PAGE, opened(api), headers={"traceparent": given})

    assert SagaRow.objects.get().data["traceparent"] == given


def test_nothing_is_waited_for(api):
    api.http.post(PAGE, opened(api))

    assert SagaRow.objects.get().finished_at is None
    assert api.participants.calls == []


def test_a_form_that_is_sent_twice_starts_one_saga(api):
    form = opened(api)
    first, second = api.http.post(PAGE, form), api.http.post(PAGE, form)

    assert first.headers["Location"] == second.headers["Location"]
    other = api.http.post(PAGE, {**form, "input.lignes[0].quantite": "9"})
    assert other.status_code == 400
    assert SagaRow.objects.count() == 1
    again = fields(other.content.decode())
    assert again["key"] != form["key"]
    assert api.http.post(PAGE, again).status_code == 303
    assert [row.data["input"]["lignes"][0]["quantite"] for row in SagaRow.objects.order_by("id")] == [
        EXAMPLE_INPUTS["commandes"]["lignes"][0]["quantite"], 9,
    ]  # fmt: skip


def test_a_key_is_the_same_as_at_the_api(api):
    form = {**opened(api), "key": "till-7-42"}
    api.http.post(PAGE, form)

    body = {"workflow": "commandes", "input": EXAMPLE_INPUTS["commandes"]}
    answer = api.post("/api/sagas/start/", body, Idempotency_Key="till-7-42", Prefer="respond-async")
    assert answer.json()["id"] == str(SagaRow.objects.get().id)


@pytest.mark.parametrize(
    ("entered", "expected"),
    [
        ({"input.client_id": ""}, {"f-client-id": "is required"}),
        ({"input.client_id": "me"}, {"f-client-id": 'is not a "uuid"'}),
        ({"input.lignes[0].quantite": "0"}, {"f-lignes-0-quantite": "is less than the minimum of 1"}),
        ({"input.lignes[0].quantite": "two"}, {"f-lignes-0-quantite": 'is not of type "integer"'}),
        ({"input.lignes[0].quantite": "1e400"}, {"f-lignes-0-quantite": None}),
        ({"count.lignes": "0"}, {"f-lignes": "has less than 1 item"}),
        ({"count.lignes": "x" * 9}, {"f-lignes": "has less than 1 item"}),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_entered_is_kept(api, entered, expected):
    form = {**opened(api), **entered}
    answer = api.http.post(PAGE, form)

    assert answer.status_code == 400
    assert SagaRow.objects.count() == 0
    told = faults(answer)
    assert told.keys() == expected.keys()
    assert all(text is None or told[name].startswith(text) for name, text in expected.items())
    again = fields(answer.content.decode())
    assert {name: again.get(name) for name in entered if name in again and not name.startswith("count.")} == {
        name: text for name, text in entered.items() if not name.startswith("count.")
    }
    assert again["key"] == form["key"]


@pytest.mark.parametrize(("name", "text"), [("correlation_id", "with spaces"), ("key", "schlüssel")])
def test_a_wrong_id_starts_nothing(api, name, text):
    answer = api.http.post(PAGE, {**opened(api), name: text})

    assert answer.status_code == 400
    assert SagaRow.objects.count() == 0
    assert fields(answer.content.decode())[name] == text


def test_what_cannot_be_stored_starts_nothing_and_2_0_is_2(api):
    path = "/console/workflows/partner_creation/start/"
    answer = api.http.post(path, {**opened(api, path), "input.nombre": "a\0b"})
    assert (answer.status_code, SagaRow.objects.count()) == (400, 0)

    assert api.http.post(PAGE, {**opened(api), "input.lignes[0].quantite": "2.0"}).status_code == 303
    assert json.dumps(SagaRow.objects.get().data["input"]["lignes"][0]["quantite"]) == "2"


def test_a_correlation_id_is_taken(api):
    api.http.post(PAGE, {**opened(api), "correlation_id": "till-7"})

    assert SagaRow.objects.get().correlation_id == "till-7"


def test_lists_grow_and_shrink_without_a_script(api):
    form = {**opened(api), "input.client_id": "half a client"}
    more = fields(api.http.post(PAGE, {**form, "add": "lignes"}).content.decode())
    assert more["count.lignes"] == "2"
    assert more["input.lignes[1].quantite"] == ""
    assert {name: more[name] for name in form if name != "count.lignes"} == {
        name: text for name, text in form.items() if name != "count.lignes"
    }

    more["input.lignes[1].quantite"] = "7"
    fewer = fields(api.http.post(PAGE, {**more, "remove": "lignes[0]"}).content.decode())
    assert (fewer["count.lignes"], fewer["input.lignes[0].quantite"]) == ("1", "7")
    assert SagaRow.objects.count() == 0


def test_a_list_cannot_lose_what_it_needs(api):
    html = api.http.get(PAGE).content.decode()

    assert 'name="add" value="lignes"' in html
    assert 'name="remove"' not in html


@pytest.mark.parametrize(
    "path", ["", "nothing", "lignes[9]", "lignes[0].quantite", "client_id", "..[[", "lignes[99999999]"]
)
@pytest.mark.parametrize("act", ["add", "remove"])
def test_a_list_that_is_not_there_breaks_nothing(api, act, path):
    assert api.http.post(PAGE, {**opened(api), act: path}).status_code == 200


def test_the_whole_can_be_entered_as_json(api):
    answer = api.http.post(PAGE, {"json": json.dumps(ORDER), "key": "k", "correlation_id": ""})

    assert answer.status_code == 303
    assert SagaRow.objects.get().data["input"] == ORDER


@pytest.mark.parametrize("text", ["{", "[1]", "NaN", "null", '{"lignes": []}', "[" * 100_000])
def test_wrong_json_is_kept_and_starts_nothing(api, text):
    answer = api.http.post(PAGE, {"json": text, "key": "k", "correlation_id": ""})

    assert answer.status_code == 400
    assert SagaRow.objects.count() == 0
    assert text in unescape(answer.content.decode())


def test_a_reader_may_not_start_and_an_operator_acts_as_himself(api, settings):
    settings.SAGA_ORCHESTRATOR_CONFIG = {**settings.SAGA_ORCHESTRATOR_CONFIG, "DEBUG": False}
    browser = Client()
    user = User.objects.create_user("anna")
    browser.force_login(user)
    user.groups.set([Group.objects.create(name="saga-reader")])
    assert browser.get(PAGE).status_code == 403
    assert "Start one" not in browser.get("/console/workflows/commandes/").content.decode()

    user.groups.set([Group.objects.create(name="saga-operator")])
    assert browser.post(PAGE, fields(browser.get(PAGE).content.decode())).status_code == 303
    row = SagaRow.objects.get()
    assert (row.tenant, SagaEventRow.objects.get(saga_id=row.id, seq=1).actor) == ("anna", "anna")


def test_a_form_from_another_site_is_refused(api):
    assert Client(enforce_csrf_checks=True).post(PAGE, opened(api)).status_code == 403
    assert SagaRow.objects.count() == 0


def test_a_workflow_that_is_not_there_cannot_be_started(api):
    assert api.http.get("/console/workflows/nothing/start/").status_code == 404


# --- any schema -------------------------------------------------------------------------------------------------------

RICH = {
    "type": "object",
    "required": ["name", "kind", "tags", "owner"],
    "$defs": {"person": {"type": "object", "required": ["email"], "properties": {"email": {"type": "string"}}}},
    "properties": {
        "name": {"type": "string", "title": "Full name", "description": "As on the <card>", "default": "Ada"},
        "kind": {"enum": ["a", 2, None, True]},
        "agreed": {"type": "boolean"},
        "price": {"type": "number", "minimum": 0.5, "multipleOf": 0.01},
        "day": {"type": "string", "format": "date"},
        "at": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "owner": {"$ref": "#/$defs/person"},
        "deputy": {"$ref": "#/$defs/person"},
        "choice": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "any": {"type": "object"},
        "self": {"$ref": "#"},
        "elsewhere": {"$ref": "https://elsewhere.example/schema"},
        "fixed": {"const": "v1"},
    },
}


def by_path(field):
    return {field.path: field, **{path: each for child in field.children for path, each in by_path(child).items()}}


def entered(form, value):
    """What a browser would send of the form with this value in it."""
    root, _ = form.draw(value, {})
    drawn = by_path(root).values()
    texts = {f"input.{each.path}": each.value for each in drawn if each.kind not in {"object", "list"}}
    return {**texts, **{f"count.{each.path}": str(len(each.children)) for each in drawn if each.kind == "list"}}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Ada", "kind": None, "tags": [], "owner": {"email": "x"}},
        {"name": "007", "kind": True, "tags": ["1", "true"], "owner": {}, "agreed": False, "price": 1e-3},
        {"name": "é\n", "kind": 2, "tags": [], "owner": {}, "deputy": {"email": "y"}, "choice": 5, "any": {"k": [1]},
         "elsewhere": "x", "fixed": "v1", "at": "2026-01-31T12:00:00Z", "day": "2026-01-31"},
        {"name": "n", "kind": "a", "tags": [], "owner": {},
         "self": {"name": "m", "kind": "a", "tags": [], "owner": {}}},
    ],
)  # fmt: skip
def test_what_a_form_shows_it_reads(value):
    form = SchemaForm(RICH)

    assert form.read(entered(form, value)) == (value, {})


def test_each_field_is_what_its_schema_says():
    form = SchemaForm(RICH)
    root, left = form.draw(Example(RICH).value, {"price": ["is wrong"], "nowhere": ["is odd"]})
    drawn = by_path(root)

    kinds = {
        path: drawn[path].kind for path in ("name", "kind", "agreed", "price", "day", "tags", "owner", "choice", "any")
    }
    assert kinds == {
        "name": "text", "kind": "choice", "agreed": "flag", "price": "number", "day": "date", "tags": "list",
        "owner": "object", "choice": "json", "any": "json",
    }  # fmt: skip
    assert (drawn["name"].label, drawn["name"].hint, drawn["name"].value) == ("Full name", "As on the <card>", "Ada")
    assert [text for _value, text in drawn["kind"].choices] == ["a", "2", "null", "true"]
    assert drawn["price"].attributes == [("min", "0.5"), ("step", "0.01")]
    assert drawn["price"].faults == ["is wrong"]
    assert left == {"nowhere": ["is odd"]}
    assert (drawn["owner.email"].required, drawn["deputy.email"].required) == (True, False)
    assert drawn["elsewhere"].kind == "json"


LIST = {"type": "array", "minItems": 500}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {f"p{at}": {"$ref": "#"} for at in range(20)}},
        {"type": "object", "required": ["a"], "properties": {
            "a": {**LIST, "items": {**LIST, "items": {**LIST, "items": {**LIST, "items": {"type": "string"}}}}},
        }},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}},
         "$defs": {"a": {"type": "array", "prefixItems": [{"$ref": "#/$defs/a"}] * 50}}},
        {"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(5000)}},
    ],
    ids=["wide and deep", "lists of lists", "lists of themselves", "wide"],
)  # fmt: skip
def test_a_form_that_would_have_very_many_fields_has_fields_for_json_instead(schema):
    form = SchemaForm(schema)
    root, _ = form.draw(Example(schema).value, {})
    assert len(list(by_path(root))) <= MOST_FIELDS
    assert form.read({"input.p1": '{"p2": {}}'})[1] == {}


def test_what_cannot_be_read_is_said_and_kept():
    form = SchemaForm(RICH)
    value, faults = form.read({"input.any": "{", "input.price": "a lot"})

    assert faults.keys() == {"any"}
    assert value["price"] == "a lot"
    assert by_path(form.draw(value, faults)[0])["any"].value == "{"


def test_a_list_changes_where_it_is():
    value = {"a": [{"b": [1, 2]}]}
    after(value, "a[0].b", adds=True)
    assert len(value["a"][0]["b"]) == 3
    after(value, "a[0].b[0]", adds=False)
    assert value["a"][0]["b"][0] == 2
    after(value, "a[0]", adds=False)
    assert value == {"a": []}


def test_a_schema_that_no_form_expresses_is_entered_as_json(api):
    schema = {"type": "object", "oneOf": [{"type": "object"}]}
    odd = replace(COMMANDES, version=COMMANDES.version + 1, input_schema=schema)
    bootstrap.definitions().add(odd, by="anna")
    html = api.http.get(PAGE).content.decode()

    assert '<details class="start" open>' in html
    assert 'class="panel start"' not in html
