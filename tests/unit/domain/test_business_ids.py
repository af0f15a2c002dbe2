"""By which ids a saga can be found: those that its templates give, from the event on that made each known."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.business_ids import LONGEST, business_ids, newly_known
from domain.entities import Saga
from domain.events import SagaEvent
from domain.outcomes import Outcome, Rejected, Succeeded, Unavailable, Unknown
from tests.support.dialogue import ANNA, START, origin, step, workflow

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=3)
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.just("id"), SCALARS)
FOUND_BY = {
    "given": "${input.n}",
    "first": "${steps.a.id}",
    "items": "${steps.b[0].id}",
    "both": "${input.n}/${steps.a.id}",
    "either": "${steps.c.id || input.n}",
    "saga": "${saga.id}",
}
STEPS = (step("a"), step("b", foreach="${input.list}"), step("c", when="${input.wanted}"))


def started(given: dict[str, Any], **ids: str) -> tuple[Saga, list[SagaEvent]]:
    return Saga.start(workflow(*STEPS, business_ids=ids or FOUND_BY), origin(given))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("c-1", "c-1"),
        (7, "7"),
        (7.0, "7"),
        (7.5, "7.5"),
        (0, "0"),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * (LONGEST + 1), None),
        ("", None),
        (None, None),
        (True, None),
        (["c-1"], None),
        ({"id": "c-1"}, None),
    ],
)
def test_an_id_is_a_text_or_a_number_that_a_person_could_look_for(value, text):
    saga, _ = started({"n": value}, number="${input.n}")
    assert business_ids(saga).get("number") == text


@pytest.mark.parametrize("template", ["x-${input.missing}", "${length(input.n)}", "${input.n.deep}", "${steps.a.id}"])
def test_a_template_that_cannot_be_computed_gives_none_and_fails_nothing(template):
    saga, events = started({"n": 7}, number=template)
    assert business_ids(saga) == newly_known(saga, events) == {}


def test_each_is_told_of_when_it_becomes_known_and_not_again():
    saga, events = started({"n": 7, "list": [1, 2], "wanted": False})
    assert newly_known(saga, events) == {"given": "7", "either": "7", "saga": str(saga.id)}
    assert newly_known(saga, saga.record(Unavailable("busy"), START)) == {}
    assert newly_known(saga, saga.record(Succeeded({"id": "a-1"}), START)) == {"first": "a-1", "both": "7/a-1"}
    assert newly_known(saga, saga.record(Succeeded({"id": "b-1"}), START)) == {}
    last = saga.record(Succeeded({"id": "b-2"}), START)
    assert newly_known(saga, last) == {"items": "b-1", "either": "7"}
    assert saga.status == "COMPLETED"


def test_a_workflow_without_ids_is_not_looked_at():
    saga, events = Saga.start(workflow(step("a")), origin({}))
    assert newly_known(saga, events) == business_ids(saga) == {}


OUTCOMES = st.one_of(
    st.builds(lambda value: Succeeded({"id": value}), VALUES),
    st.sampled_from([Rejected("no"), Unavailable("busy"), Unknown("silence")]),
)


@given(VALUES, st.lists(OUTCOMES, max_size=12), st.booleans())
def test_what_was_told_of_on_the_way_is_what_is_known_in_the_end(
    given_value: Any, outcomes: list[Outcome], wanted: Any
):
    """Whatever happens, so that whoever stores what is told of misses none; and nothing that happens is a fault."""
    saga, events = started({"n": given_value, "list": [1], "wanted": wanted})
    told, now = set(newly_known(saga, events).items()), START
    for outcome in outcomes:
        now += timedelta(seconds=20)
        if saga.resting:
            break
        told |= set(newly_known(saga, saga.record(outcome, now)).items())
        assert set(business_ids(saga).items()) <= told
    if saga.status == "STUCK":
        told |= set(newly_known(saga, saga.retry(ANNA, now)).items())
    restored = Saga.restore(saga.definition, saga.origin, saga.history)
    assert business_ids(restored) == business_ids(saga)
    assert set(business_ids(saga).items()) <= told
