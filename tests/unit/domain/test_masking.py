"""What people may not see is not in what they are shown, whatever its shape; the rest stays as it is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.masking import DEEPEST, MASK, is_masked, mask_for, masked
from tests.support.dialogue import step, workflow

PLAIN = workflow(step("a"))
OWN = workflow(step("a"), masked=("Direccion", "naïveté"))

SECRET_NAMES = ["email", "customerEmail", "Phone-Number2", "api_key", "cvv", "firstName", "iban", "DIRECCION"]
OTHER_NAMES = ["id", "client_id", "name", "lignes", "note", "token_id"]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)


def objects(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        SCALARS,
        lambda parts: st.lists(parts, max_size=3) | st.dictionaries(names, parts, max_size=4),
        max_leaves=15,
    )


@pytest.mark.parametrize(
    "name",
    [
        "password", "PASSWORD", "user_password", "passwordHash", "client_secret", "api-key", "apiKey", "X-API-Key",
        "APIKey", "token", "access_token", "accessToken", "tokens", "Authorization", "Proxy-Authorization", "pin",
        "card_number", "cardNumber", "cardnumber", "CARD NUMBER", "credit_card", "cvv", "cvv2", "CVC", "IBAN", "iban_1",
        "email", "e-mail", "eMail", "e_mail", "emailAddress", "customer_email", "email2", "mail", "phone",
        "phoneNumber", "téléphone", "telefono", "teléfonos", "passport", "passport_no", "dateOfBirth", "date_of_birth",
        "birthdate", "first_name", "firstname", "FirstName", "last_name", "surname", "prénom", "prenoms", "apellidos",
        "fullName",
        "cardholder", "card_holder_name", "delivery_address", "passenger_names", "date_de_naissance", "ssn",
    ],
)  # fmt: skip
def test_personal_data_and_secrets_are_masked_in_every_workflow_and_spelling(name):
    assert is_masked(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "id", "name", "nom", "nombre", "title", "client_id", "user_id", "correlation_id", "saga_id", "token_id",
        "token_type", "authorization_id", "partner_name", "product_name", "company_name", "file_name", "commande_id",
        "produit_id", "produits", "lignes", "quantite", "prix_unitaire", "amount", "payment_method", "transaction_id",
        "booking_reference", "flight_id", "seat_id", "pinned", "spin_count", "panel", "company", "mailbox_id",
        "emailed", "secretariat", "discard_number", "status", "state", "passes", "phonetic", "addresses_count",
    ],
)  # fmt: skip
def test_what_a_saga_and_things_are_known_by_stays_to_be_seen(name):
    assert not is_masked(name)


def test_a_definition_masks_names_of_its_own_whole_and_in_any_case():
    given = {"direccion": "c/ Mayor 1", "NAÏVETÉ": 1, "direccion_id": 7}
    assert masked(given, OWN) == {"direccion": MASK, "NAÏVETÉ": MASK, "direccion_id": 7}
    assert masked(given, PLAIN) == given


def test_what_is_under_a_masked_name_is_masked_as_a_whole_at_any_depth_but_null():
    given = {
        "lines": [{"email": "a@b.c"}, {"email": None}],
        "credit_card": {"number": "4111", "expires": [1, 2]},
        "phones": ["1", "2"],
        "password": "",
        "email_verified": False,
    }
    assert masked(given, PLAIN) == {
        "lines": [{"email": MASK}, {"email": None}],
        "credit_card": MASK,
        "phones": MASK,
        "password": MASK,
        "email_verified": MASK,
    }


@given(objects(st.sampled_from(OTHER_NAMES)))
def test_what_has_no_masked_name_is_left_as_it_is(value):
    assert masked(value, OWN) == value


@given(objects(st.sampled_from([*SECRET_NAMES, *OTHER_NAMES]) | st.text(max_size=5)))
def test_nothing_is_left_under_a_masked_name_and_masking_again_changes_nothing(value):
    seen = masked(value, OWN)
    assert all(part in {MASK, None} for name, part in pairs(seen) if is_masked(name, frozenset({"direccion"})))
    assert masked(seen, OWN) == seen


def pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from pairs(part)


def test_a_text_that_repeats_a_masked_value_of_the_saga_is_masked_there():
    mask = mask_for(OWN, {"email": "anna@example.org", "phone": 612345678, "direccion": {"street": "c/ Mayor 1"}})
    assert mask("no partner anna@example.org (612345678), 404 of /p/anna%40example.org") == (
        f"no partner {MASK} ({MASK}), 404 of /p/{MASK}"
    )
    assert mask({"to": ["anna@example.org"], "note": "at c/ Mayor 1!", "n": 612345678}) == {
        "to": [MASK],
        "note": f"at {MASK}!",
        "n": 612345678,
    }


@pytest.mark.parametrize(
    ("given", "text", "left"),
    [
        ({"email": "Ana.Secret+x@Example.org"}, "refused ana.secret+x@example.org", f"refused {MASK}"),
        ({"email": "Ana.Secret+x@Example.org"}, "404 of /u/Ana.Secret%2Bx@Example.org/", f"404 of /u/{MASK}/"),
        ({"email": "Ana.Secret+x@Example.org"}, "/u/ana.secret%2bx%40example.org", f"/u/{MASK}"),
        ({"last_name": "Núñez Ruiz"}, "?who=n%c3%ba%C3%B1ez+Ruiz", f"?who={MASK}"),
        ({"last_name": "Núñez Ruiz"}, '{"n": "N\\u00fa\\u00f1ez Ruiz"}', f'{{"n": "{MASK}"}}'),
        ({"card_number": "4111 1111 1111 1111"}, "card 4111111111111111 refused", f"card {MASK} refused"),
        ({"card_number": "4111111111111111"}, "card 4111-1111-1111-1111", f"card {MASK}"),
        ({"iban": "FR76 3000 6000 0112"}, "fr76300060000112, /i/FR76%203000%206000%200112", f"{MASK}, /i/{MASK}"),
        ({"phone": "+33 (0)6.12.34"}, "no answer of 3306 1234", f"no answer of {MASK}"),
        ({"birthday": "1990-12-31"}, "19901231 is too young", f"{MASK} is too young"),
    ],
)
def test_a_masked_value_is_found_in_any_case_grouping_and_encoding(given, text, left):
    assert mask_for(PLAIN, given)(text) == left


def test_few_digits_are_found_only_as_they_are():
    assert mask_for(PLAIN, {"pin": "1234"})("12.34 EUR, pin 1234") == f"12.34 EUR, pin {MASK}"


def test_a_short_value_is_in_too_many_words_to_be_looked_for():
    assert mask_for(PLAIN, {"first_name": "Bob", "pin": 123, "cvv": True})("Bobby: 123 is True") == "Bobby: 123 is True"


def test_a_value_within_another_is_masked_with_it():
    mask = mask_for(PLAIN, {"last_name": "Anna", "email": "Anna@example.org"})
    assert mask("Anna@example.org Anna") == f"{MASK} {MASK}"


@given(st.lists(st.text("ab%é\"'\\/ 0", min_size=4, max_size=6), min_size=1, max_size=4), st.data())
def test_no_masked_value_is_left_in_a_text_however_it_was_written_there(secrets, data):
    written = st.sampled_from([*secrets, *(json.dumps(secret)[1:-1] for secret in secrets)])
    text = "".join(data.draw(st.lists(written | st.text("ab. ", max_size=3), max_size=6)))
    left = mask_for(PLAIN, {"emails": secrets})(text)
    assert not any(secret in left for secret in secrets)


def test_what_is_too_deep_is_masked_as_a_whole():
    deep: Any = {"email": "anna@example.org"}
    for _ in range(3000):
        deep = [deep]
    seen = masked(deep, PLAIN)
    for _ in range(DEEPEST):
        [seen] = seen
    assert seen == MASK
    assert mask_for(PLAIN, deep)("a") == "a"
