"""Starting a saga over HTTP: what each end is answered with, in the published shapes."""

import json
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import api_support
import pytest
from api_support import CLIENT, ORDER, ORDERS, PRODUCT, SHOP, START, problem, shaped, stored

from domain.outcomes import Rejected, Succeeded, Unavailable, Unknown
from domain.workflows.commandes import COMMANDES
from infrastructure.definition_store import DefinitionStore
from infrastructure.models import SagaEventRow, SagaRow
from interfaces.contracts import COMMANDE, SAGA, SAGA_DETAIL
from saga_service import bootstrap

api = api_support.api

SUCCESS = [
    "EN_ATTENTE", "VERIFICATION_STOCK", "STOCK_VERIFIE", "RESERVATION_STOCK", "STOCK_RESERVE", "CREATION_COMMANDE",
    "COMMANDE_CREEE", "SAGA_TERMINEE",
]  # fmt: skip
ASKED = {"workflow": "commandes", "input": ORDER}


def path_of(order):
    states = [event["etat"] for event in order["historique"]]
    return [state for state, before in zip(states, [None, *states], strict=False) if state != before]


def later(seconds, outcome):
    """An answer that takes this long."""

    def answer(api):
        def called(_):
            api.clock.sleep(seconds)
            return outcome

        return called

    return answer


ENDS = {
    201: {},
    409: {"reservation_stock": Rejected("plus de stock")},
    502: {"creation_commande": Unavailable("down")},
    504: {"reservation_stock": later(12, Succeeded({"reservation_id": "r"}))},
    202: {"reservation_stock": Unavailable("busy", 5.0)},
}


def script(api, answers):
    for step, answer in answers.items():
        api.participants.answers[step] = answer(api) if callable(answer) else answer


@pytest.mark.parametrize("status", ENDS)
def test_an_order_is_answered_with_itself_and_how_it_ended(api, status):
    script(api, ENDS[status])

    answer = api.order()

    order = shaped(answer, COMMANDE, status)
    assert answer.headers["Location"] == f"{ORDERS}{order['saga_id']}/"
    assert (order["client_id"], order["magasin_id"]) == (CLIENT, SHOP)
    assert (order["termine_le"] is None) == (status == 202)
    assert (order["erreur"] is None) == (status in {201, 202})
    assert shaped(api.get(answer.headers["Location"]), COMMANDE) == order


@pytest.mark.parametrize("status", ENDS)
def test_any_saga_is_answered_with_itself_and_how_it_ended(api, status):
    script(api, ENDS[status])

    answer = api.post(START, ASKED)

    saga = shaped(answer, SAGA, status)
    assert answer.headers["Location"] == f"/api/sagas/transactions/{saga['id']}/"
    assert saga["status"] == {201: "COMPLETED", 202: "RUNNING", 409: "FAILED"}.get(status, "COMPENSATED")
    assert (saga["finished_at"] is None) == (status == 202)
    assert (saga["error"] is None) == (status in {201, 202})
    assert saga["input"] == ORDER
    detail = shaped(api.get(answer.headers["Location"]), SAGA_DETAIL)
    assert {name: detail[name] for name in saga} == saga


@pytest.mark.parametrize(("status", "seconds"), [(201, None), (409, None), (502, None), (504, None), (202, "1")])
def test_only_an_unfinished_saga_is_to_be_asked_for_again(api, status, seconds):
    script(api, ENDS[status])

    assert api.order().headers.get("Retry-After") == seconds


def test_a_completed_order_has_names_prices_a_number_and_its_whole_history(api):
    order = shaped(api.order(), COMMANDE, 201)

    assert order["etat"] == "SAGA_TERMINEE"
    assert order["commande_id"] == "c-1"
    named = {"produit_id": PRODUCT, "quantite": 2, "nom": "Café en grains 1 kg", "prix_unitaire": 14.9}
    assert order["lignes"] == [named]
    assert path_of(order) == SUCCESS


def test_a_refused_order_says_why_and_keeps_its_lines(api):
    api.participants.answers["verification_stock"] = Succeeded({"quantite_disponible": 1})

    order = shaped(api.order(), COMMANDE, 409)

    assert order["erreur"] == f"stock insuffisant pour {PRODUCT}: 1 disponible(s), 2 demandé(s)"
    assert order["lignes"] == [{"produit_id": PRODUCT, "quantite": 2, "nom": None, "prix_unitaire": None}]
    assert order["commande_id"] is None
    assert path_of(order) == ["EN_ATTENTE", "VERIFICATION_STOCK", "ECHEC_STOCK_INSUFFISANT", "SAGA_ANNULEE"]


def test_an_order_that_may_have_been_created_is_cancelled_and_has_no_number(api):
    api.participants.answers["creation_commande"] = Unknown("no answer in time")

    order = shaped(api.order(), COMMANDE, 502)

    assert order["commande_id"] is None
    undone = [task.step for task in api.participants.calls if task.attempt.action == "undo"]
    assert undone == ["creation_commande", "reservation_stock"]


def test_a_parked_saga_is_a_202_that_says_why_and_is_not_to_be_asked_for_soon(api):
    api.participants.answers["creation_commande"] = Rejected("client bloqué")
    api.participants.answers["reservation_stock:undo"] = Rejected("already shipped")

    answer = api.post(START, ASKED)

    saga = shaped(answer, SAGA, 202)
    assert (saga["status"], answer.headers["Retry-After"]) == ("STUCK", "30")
    assert "reservation_stock" in saga["parked_reason"]


@pytest.mark.parametrize("prefer", ["respond-async", "Respond-Async", "wait=0", "return=minimal, respond-async"])
def test_a_client_that_does_not_wait_is_answered_before_any_call(api, prefer):
    saga = shaped(api.post(START, ASKED, Prefer=prefer), SAGA, 202)

    assert saga["status"] == "RUNNING"
    assert api.participants.calls == []
    assert SagaRow.objects.get().lease_token is None, "a worker may take it at once"


def test_a_wait_that_is_over_is_answered_202_with_the_saga_as_it_is(api):
    script(api, {"verification_stock": later(3, Succeeded({"quantite_disponible": 500}))})
    script(api, {"reservation_stock": Unavailable("busy")})

    saga = shaped(api.post(START, ASKED, Prefer="wait=2"), SAGA, 202)

    assert saga["status"] == "RUNNING"
    assert SagaRow.objects.get().lease_expires_at is None, "a worker may take it when its next call is due"
    assert SagaRow.objects.get().wake_at is not None


@pytest.mark.parametrize("price", ["12.50", 12.5])
def test_a_price_is_a_number_also_where_the_catalogue_writes_it_as_a_text(api, price):
    api.participants.answers["information_produit"] = Succeeded({"nom": "Café", "prix": price})

    assert shaped(api.order(), COMMANDE, 201)["lignes"][0]["prix_unitaire"] == 12.5


@pytest.mark.parametrize("price", ["12,50", "nan", {"montant": 12.5}, True, None])
def test_a_price_that_is_no_number_is_an_unreadable_answer(api, price):
    api.participants.answers["information_produit"] = Succeeded({"nom": "Café", "prix": price})

    order = shaped(api.order(), COMMANDE, 502)

    assert order["erreur"].startswith("unreadable answer: ")
    assert [task.step for task in api.participants.calls if task.method == "POST"] == []


def test_a_quantity_written_as_2_0_is_2_everywhere(api):
    raw = json.dumps(ORDER).replace('"quantite": 2', '"quantite": 2.0').encode()

    first = api.order(raw=raw, Idempotency_Key="k-1")

    assert b'"quantite":2,' in first.content
    assert api.order(Idempotency_Key="k-1").json() == shaped(first, COMMANDE, 201)
    bodies = [task.body for task in api.participants.calls if task.step == "reservation_stock"]
    assert json.dumps(bodies) == '[{"quantite": 2}]'


def test_saga_type_is_another_name_for_the_workflow(api):
    assert shaped(api.post(START, {"saga_type": "commandes", "input": ORDER}), SAGA, 201)["workflow"] == "commandes"


def test_a_version_can_be_asked_for(api):
    asked = {**ASKED, "version": COMMANDES.version}

    assert shaped(api.post(START, asked), SAGA, 201)["version"] == COMMANDES.version


def test_the_deadline_is_the_configured_time_away(api):
    saga = SagaRow.objects.get(id=shaped(api.post(START, ASKED), SAGA, 201)["id"])

    assert saga.deadline_at - saga.created_at == timedelta(seconds=10)


def test_the_correlation_id_is_the_clients_in_header_saga_and_calls(api):
    answer = api.post(START, ASKED, X_Correlation_ID="desk-7")

    assert answer.headers["X-Correlation-ID"] == shaped(answer, SAGA, 201)["correlation_id"] == "desk-7"
    assert {task.correlation_id for task in api.participants.calls} == {"desk-7"}


def test_the_correlation_id_of_the_body_is_the_sagas(api):
    assert shaped(api.post(START, {**ASKED, "correlation_id": "b-1"}), SAGA, 201)["correlation_id"] == "b-1"


@pytest.mark.parametrize("given", ["", "two words", "a" * 129, "<script>", "é"])
def test_a_correlation_id_that_cannot_be_passed_on_is_replaced(api, given):
    answer = api.post(START, ASKED, X_Correlation_ID=given)

    assert UUID(answer.headers["X-Correlation-ID"])
    assert shaped(answer, SAGA, 201)["correlation_id"] == answer.headers["X-Correlation-ID"]


def test_the_order_that_shows_a_refusal_asks_for_more_than_any_shop_has(api):
    order = shaped(api.post("/api/saga/test/echec-stock/"), COMMANDE, 409)

    assert order["etat"] == "SAGA_ANNULEE"
    assert order["lignes"][0]["quantite"] == 10000


# --- Idempotency-Key ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ENDS)
def test_the_same_key_and_body_give_the_first_saga_and_its_status_again(api, status):
    script(api, ENDS[status])
    first = shaped(api.order(Idempotency_Key="k-1"), COMMANDE, status)
    calls, before = len(api.participants.calls), stored()

    again = api.order(Idempotency_Key="k-1", Prefer="respond-async")

    assert shaped(again, COMMANDE, status) == first
    assert again.headers["Location"] == f"{ORDERS}{first['saga_id']}/"
    assert (len(api.participants.calls), stored()) == (calls, before)


def test_the_same_key_gives_a_saga_that_is_still_running(api):
    first = shaped(api.order(Idempotency_Key="k-1", Prefer="respond-async"), COMMANDE, 202)

    assert shaped(api.order(Idempotency_Key="k-1", Prefer="wait=1"), COMMANDE, 202)["saga_id"] == first["saga_id"]
    assert stored()["sagas"] == 1


def test_fields_in_another_order_are_the_same_body(api):
    first = api.order(Idempotency_Key="k-1").json()

    turned = dict(reversed(ORDER.items()))
    assert shaped(api.order(turned, Idempotency_Key="k-1"), COMMANDE, 201)["saga_id"] == first["saga_id"]


def test_the_same_key_for_another_body_is_refused_and_stores_nothing(api):
    api.order(Idempotency_Key="k-1")
    before = stored()

    other = {**ORDER, "lignes": [{"produit_id": PRODUCT, "quantite": 3}]}
    problem(api.order(other, Idempotency_Key="k-1"), 422, "idempotency_key_reused")
    problem(api.post(START, {**ASKED, "input": other}, Idempotency_Key="k-1"), 422, "idempotency_key_reused")
    assert stored() == before


def test_another_key_or_none_is_another_order(api):
    ids = {api.order(**key).json()["saga_id"] for key in ({"Idempotency_Key": "a"}, {"Idempotency_Key": "b"}, {}, {})}

    assert len(ids) == 4


def test_a_wrong_body_does_not_use_its_key_up(api):
    problem(api.order({}, Idempotency_Key="k-1"), 400)

    assert api.order(Idempotency_Key="k-1").status_code == 201


def test_a_repeat_after_a_stricter_version_was_deployed_gives_the_first_saga(api):
    first = shaped(api.order(Idempotency_Key="k-1"), COMMANDE, 201)
    schema = {**COMMANDES.input_schema, "required": [*COMMANDES.input_schema["required"], "canal"]}
    stricter = replace(COMMANDES, version=COMMANDES.version + 1, input_schema=schema)
    DefinitionStore([stricter]).register()
    bootstrap.definitions()._newest.clear()

    assert shaped(api.order(Idempotency_Key="k-1"), COMMANDE, 201) == first
    assert list(problem(api.order(Idempotency_Key="k-2"), 400, "input_invalid")["errors"]) == ["canal"]


@pytest.mark.parametrize("key", ["", "a b", "é", "a" * 256])
def test_a_key_that_is_none_is_refused_by_name(api, key):
    assert "Idempotency-Key" in problem(api.order(Idempotency_Key=key), 400, "invalid")["errors"]
    assert stored()["sagas"] == 0


def test_the_longest_key_is_kept_whole(api):
    first = api.order(Idempotency_Key="a" * 255)

    assert first.status_code == 201
    assert api.order(Idempotency_Key="a" * 254 + "b").json()["saga_id"] != first.json()["saga_id"]


def test_who_started_it_is_on_the_first_event(api):
    api.order()

    assert SagaEventRow.objects.get(seq=1).actor == "development"
    assert set(SagaEventRow.objects.exclude(seq=1).values_list("actor", flat=True)) == {None}
