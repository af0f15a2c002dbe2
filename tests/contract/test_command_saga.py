"""`manage.py saga`: what an operator sees and does without the API."""

from io import StringIO

import api_support
import pytest
from api_support import ORDER, START, UNKNOWN_ID
from django.core.management import CommandError, call_command

from domain.outcomes import Rejected, Unavailable

api = api_support.api

WHY = ("--reason", "ticket 7", "--actor", "anna")


def start(api, **answers):
    api.participants.answers.update(answers)
    asked = {"workflow": "commandes", "input": ORDER, "correlation_id": "desk-7"}
    return api.post(START, asked).json()["id"]


@pytest.fixture
def parked(api):
    return start(api, **{"creation_commande": Rejected("blocked"), "reservation_stock:undo": Rejected("unknown")})


def saga(*given):
    out, err = StringIO(), StringIO()
    call_command("saga", *given, stdout=out, stderr=err)
    return out.getvalue() + err.getvalue()


def test_lists_sagas_with_what_is_wrong(api, parked):
    other = start(api, creation_commande=Unavailable("busy", 5.0))
    assert [line.split()[0] for line in saga("list").splitlines()] == [other, parked]
    [line] = saga("list", "--status", "STUCK").splitlines()
    assert line.split()[0] == parked
    assert line.endswith("STUCK        COMPENSATION_EN_COURS  blocked")
    assert len(saga("list", "--q", "desk-7", "--limit", "1").splitlines()) == 1
    assert saga("list", "--workflow", "order_processing") == "no saga\n"
    assert saga("list", "--workflow", "none").startswith("no saga; the workflows are cashout_flow, commandes, ")


def test_shows_one_with_its_explanation_and_history(api, parked):
    shown = saga("show", parked)
    assert "Parked: the undo of reservation_stock was given up" in shown
    assert "saga_parked" in shown
    assert '"explanation":"Parked' in saga("show", parked, "--json")


def test_acts_with_a_preview_first(api, parked):
    preview = saga("retry", parked, *WHY, "--preview")
    assert "the saga would be COMPENSATING" in preview
    assert "1. reservation_stock[0]: POST inventaire /api/ddd/inventaire/stock-local/" in preview
    assert "STUCK" in saga("list")
    assert saga("retry", parked, *WHY) == f"{parked} is COMPENSATING (COMPENSATION_EN_COURS)\n"
    assert "by=anna reason=ticket 7" in saga("show", parked)


def test_skips_pauses_resumes_and_resolves(api, parked):
    assert "is COMPENSATED" in saga("skip", parked, "--step", "reservation_stock", "--item", "0", "--undo", *WHY)
    other = start(api, creation_commande=Unavailable("busy", 5.0))
    assert "is PAUSED" in saga("pause", other, *WHY)
    assert "is RUNNING" in saga("resume", other, *WHY)
    assert "is COMPENSATING" in saga("compensate", other, *WHY)
    saga("pause", other, *WHY)
    assert "is COMPENSATED" in saga("resolve", other, "--outcome", "compensated", *WHY)


def test_shows_people_no_personal_data_and_programs_all(api):
    email, phone = "sol@example.org", "+34 600 000 000"
    partner = {"nombre": "Sol", "email": email, "telefono": phone, "direccion": "c/ Mayor 1"}
    api.participants.answers["create_partner"] = Unavailable(f"{email} is being looked at", 8.0)
    asked = {"workflow": "partner_creation", "input": partner}
    saga_id = api.post(START, asked).json()["id"]

    saga("pause", saga_id, *WHY)
    told = [saga("show", saga_id), saga("list"), saga("resume", saga_id, *WHY, "--preview")]

    assert "••• is being looked at" in told[0]
    assert not any(email in text or phone in text for text in told)
    assert f'"email":"{email}"' in saga("show", saga_id, "--json")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("retry", UNKNOWN_ID, *WHY), "there is no saga"),
        (("tail", UNKNOWN_ID), "there is no saga"),
        (("tail", "--since", "yesterday"), "'yesterday' is neither an age, like 15m"),
        (("tail", "--poll", "0"), "'0' is not a number of seconds from 0.1 to 60"),
        (("tail", "--plain", "--json"), "not allowed with argument"),
        (("retry", "seven", *WHY), "invalid saga id value: 'seven'"),
        (("retry", UNKNOWN_ID), "required: --reason"),
        (("retry", UNKNOWN_ID, "--reason", " "), "invalid reason"),
        (("skip", UNKNOWN_ID, *WHY), "required: --step"),
        (("skip", UNKNOWN_ID, "--step", "a", "--output", "{", *WHY), "invalid JSON value"),
        (("list", "--limit", "0"), "invalid limit"),
        (("list", "--status", "GONE"), "invalid choice"),
        (("dance",), "invalid choice"),
    ],
)
def test_says_what_is_wrong_in_one_line(api, given, message, capsys):
    with pytest.raises((CommandError, SystemExit)) as caught:
        saga(*given)
    assert message in str(caught.value) + capsys.readouterr().err


def test_what_the_status_does_not_allow_is_said_with_advice(api, parked):
    with pytest.raises(CommandError, match="Retry it, skip the step, or resolve it"):
        saga("compensate", parked, *WHY)
