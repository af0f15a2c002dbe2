"""What is allowed in a definition and yet probably not meant is found, and what is meant is left alone."""

from dataclasses import replace
from typing import Any

import pytest

from domain.definition import UNDO_RETRIES, Await, Publish, Request, RetryPolicy, Step
from domain.lint import Limits, Severity, lint
from domain.workflows import shipped_definitions
from tests.support.dialogue import step, workflow

UNDO = {"undo_of": "${saga.do_key}"}


def request(**options: Any) -> Request:
    return Request(**{"service": "svc", "method": "POST", "path": "/a", **options})


def found(*steps: Step, limits: Limits | None = None, **options: Any) -> dict[str, str]:
    """The findings of a workflow of these steps, `{path: message}`; without repetitions unless told."""
    findings = lint(workflow(*steps, **options), limits or Limits(max_retries=0))
    assert len({finding.path for finding in findings}) == len(findings)
    return {finding.path: finding.message for finding in findings}


def takes(*required: str, **optional: Any) -> dict[str, Any]:
    known = {name: {"type": "string"} for name in (*required, *optional)}
    return {"type": "object", "required": list(required), "properties": known}


def test_a_plain_workflow_has_no_findings():
    assert found(step("a"), step("b", safe=True, action=request(method="GET")), step("c", pivot=True)) == {}


@pytest.mark.parametrize("definition", shipped_definitions(), ids=lambda each: each.name)
def test_what_ships_is_not_warned_of(definition):
    assert [each for each in lint(definition, Limits()) if each.severity is Severity.WARNING] == []


@pytest.mark.parametrize("definition", shipped_definitions(), ids=lambda each: each.name)
def test_what_ships_says_what_its_repetitions_come_to(definition):
    told = {each.path: each.message for each in lint(definition, Limits()) if each.path in {"deadline", "steps"}}
    waits_for_a_message = definition.name == "partner_creation"
    assert list(told) == (["steps"] if waits_for_a_message else ["deadline"])


class TestTime:
    def test_a_deadline_that_one_attempt_of_each_step_can_miss(self):
        slow = [step(name, action=request(timeout=6)) for name in "abc"]

        assert "may take 18 s" in found(*slow, deadline=17)["deadline"]
        assert found(*slow, deadline=18, limits=Limits(max_retries=0)) == {}
        assert "is 15 s" in found(*slow, limits=Limits(deadline=15))["deadline"]

    def test_attempts_that_the_deadline_never_lets_happen(self):
        patient = step("a", retry=RetryPolicy(max_retries=4, base=1, cap=4))

        assert "5 attempts of 5 s, up to 36 s" in found(patient)["steps[0].retry"]
        assert found(patient, deadline=36, limits=Limits(longest_wait=60)) == {}
        waiting = Step(name="b", awaits=Await(types=("done",), timeout=20), retry=RetryPolicy(max_retries=9))
        assert found(waiting, deadline=20) == {}, "an answer is waited for once"
        pivot = step("a", pivot=True, action=request(timeout=1))
        after = step("b", safe=True, action=request(method="GET"), retry=RetryPolicy(max_retries=9))
        assert "steps[1].retry" not in found(pivot, after), "after the pivot there is no deadline"
        assert "steps[0].retry" in found(step("a"), limits=Limits(max_retries=9))
        assert "steps[0].retry" in found(step("a", retry=RetryPolicy(max_retries=10**9)))

    def test_all_attempts_of_all_steps_that_the_deadline_ends_before_their_number_does(self):
        steps = [step(name, action=request(timeout=2)) for name in "abcdef"]

        findings = lint(workflow(*steps), Limits())
        assert [(each.severity, each.path) for each in findings] == [(Severity.INFO, "deadline")]
        assert "may take 56 s" in findings[0].message
        assert "12 s without any" in findings[0].message
        assert found(*steps, limits=Limits(deadline=57, longest_wait=62)) == {}

    def test_all_attempts_of_all_steps_for_which_no_client_is_kept_waiting(self):
        steps = [step(name, action=request(timeout=2)) for name in "abcdef"]

        told = found(*steps, deadline=57, limits=Limits())
        assert list(told) == ["steps"]
        assert "more than 25 s is answered 202" in told["steps"]

    def test_after_the_point_of_no_return_the_deadline_bounds_nothing(self):
        slow = request(timeout=9)
        steps = [step("a", pivot=True, action=slow), *(step(name, safe=True, action=slow) for name in "bcd")]

        assert "deadline" not in found(*steps)

    def test_an_undo_that_is_tried_once(self):
        assert list(found(step("a", undo_retry=replace(UNDO_RETRIES, max_retries=0)))) == ["steps[0].undo_retry"]

    def test_a_call_that_the_gateway_cuts_off_unless_it_does_not_go_through_it(self):
        slow = step("a", action=request(timeout=11))

        assert "after 10 s" in found(slow, deadline=60)["steps[0].action.timeout"]
        assert found(slow, deadline=60, limits=Limits(direct={"svc"}, max_retries=0)) == {}

    def test_a_call_so_long_that_no_client_waits_for_it(self):
        long = step("a", action=request(timeout=30))

        assert list(found(long, deadline=300, limits=Limits(direct={"svc"}))) == ["steps"]

    def test_an_answer_by_message_takes_its_time_too(self):
        asked = Step(
            name="a", publish=Publish(topic="t", body={}), awaits=Await(types=("done",), timeout=40), safe=True
        )

        assert list(found(asked)) == ["deadline"]


class TestSteps:
    @pytest.mark.parametrize(("method", "severity"), [("PUT", "warning"), ("DELETE", "warning"), ("POST", "info")])
    def test_safe_ones_that_change_something(self, method, severity):
        [finding] = lint(workflow(step("a", safe=True, action=request(method=method))), Limits())

        assert (finding.path, finding.severity) == ("steps[0].safe", severity)

    def test_a_read_that_is_undone(self):
        assert list(found(step("a", action=request(method="GET")))) == ["steps[0].compensation"]

    def test_an_undo_or_a_refusal_after_the_point_of_no_return(self):
        pay, late = step("pay", pivot=True), step("late", reject_when="${response.no}")

        assert "after the pivot 'pay'" in found(pay, late)["steps[1].reject_when"]
        assert set(found(pay, late)) == {"steps[1].compensation", "steps[1].reject_when"}
        assert found(step("pay", pivot=True, reject_when="${response.no}"), step("late", safe=True)) == {
            "steps[1].safe": "is declared of a POST: it is never undone; right for a quote or a search"
        }

    @pytest.mark.parametrize("body", [None, {}, {"id": "${input}"}, {"undo_of": "saga.do_key"}])
    def test_an_undo_that_does_not_say_what_it_undoes(self, body):
        assert list(found(step("a", compensation=request(body=body)))) == ["steps[0].compensation"]

    @pytest.mark.parametrize("options", [{"body": UNDO}, {"query": UNDO}, {"path": "/a/${saga.id}"}])
    def test_an_undo_may_say_it_anywhere(self, options):
        assert found(step("a", compensation=request(**options))) == {}

    def test_an_undo_may_say_what_its_inquiry_found_out(self):
        asked = step("a", inquiry=request(method="GET"), compensation=request(path="/a/${steps.a.id}"))

        assert found(asked) == {}

    def test_an_undo_by_message_is_held_to_the_same(self):
        silent = Step(name="a", publish=Publish(topic="t", body={}), undo_publish=Publish(topic="t", body={}))

        assert list(found(silent)) == ["steps[0].undo_publish"]

    @pytest.mark.parametrize("name", ["password", "api_key", "API-Key".replace("-", ""), "token", "secret"])
    def test_a_literal_under_a_secrets_name(self, name):
        assert list(found(step("a", action=request(body={"auth": [{name: "hunter2"}]})))) == [
            f"steps[0].action.body.auth[0].{name}"
        ]
        assert found(step("a", action=request(body={name: "${input}", "tokens": "7", "kind": "password"}))) == {}


class TestWhatIsRead:
    def test_an_input_that_the_schema_does_not_have(self):
        asked = step("a", action=request(body={"to": ["${input.membr}"]}))

        assert found(asked, input_schema=takes("membr")) == {}
        assert found(asked) == {}, "without properties the schema says nothing"
        assert set(found(asked, input_schema=takes("member"))) == {
            "steps[0].action.body.to[0]",
            "input_schema.properties.member",
        }

    def test_an_input_that_may_be_left_out_where_there_must_be_a_text(self):
        path, text, alone, guarded = (
            {"path": "/a/${input.note}"},
            {"body": {"t": "about ${input.note}"}},
            {"body": {"t": "${input.note}"}},
            {"body": {"t": "about ${input.note || 'nothing'}"}},
        )
        schema = takes(note="")

        assert list(found(step("a", action=request(**path)), input_schema=schema)) == ["steps[0].action.path"]
        assert list(found(step("a", action=request(**text)), input_schema=schema)) == ["steps[0].action.body.t"]
        assert found(step("a", action=request(**alone)), input_schema=schema) == {}
        assert found(step("a", action=request(**guarded)), input_schema=schema) == {}
        assert found(step("a", when="${input.note}", action=request(**path)), input_schema=schema) == {}
        assert found(step("a", action=request(**path)), input_schema=takes("note")) == {}

    def test_an_input_that_nothing_reads(self):
        assert list(found(step("a"), input_schema=takes("note"))) == ["input_schema.properties.note"]
        assert found(step("a", action=request(body="${input}")), input_schema=takes("note")) == {}
        assert found(step("a"), input_schema={**takes("note"), "allOf": []}) == {}

    def test_an_output_that_is_not_there(self):
        first = step("a", output={"id": "${response.id}"})
        typo = step("b", action=request(body={"id": "${steps.a.idd}", "all": "${steps.a}"}))

        assert found(first, typo) == {"steps[1].action.body.id": "is null: the output of 'a' has no 'idd'"}
        assert found(step("a"), typo) == {}, "the whole answer may have anything"

    def test_a_field_of_a_list(self):
        lines = step("a", foreach="${input.lines}", output={"id": "${response.id}"})

        assert "a list" in found(lines, step("b", action=request(path="/${steps.a.id}")))["steps[1].action.path"]
        assert found(lines, step("b", action=request(body="${steps.a[*].id}"))) == {}

    def test_an_output_that_nothing_reads_but_that_an_answer_must_have(self):
        first = step("a", output={"id": "${response.id}", "note": "fixed"})

        assert list(found(first, step("b"))) == ["steps[0].output.id"]
        assert found(first) == {}, "what the last step gives is the saga's result"
        assert found(first, step("b", when="${steps.a.id == 'x'}")) == {}
        assert found(first, Step(name="b", publish=Publish(topic="t", body={"id": "${steps.a.id}"}), pivot=True)) == {}


class TestMasked:
    def test_a_name_that_changes_nothing(self):
        schema = takes("nickname", "address_line")
        hidden = ("Nickname", "adress_line", "email", "score")
        scored = step("a", output={"score": "${response.score}"})

        findings = found(scored, masked=hidden, input_schema=schema)

        assert "is it spelled right?" in findings["masked[1]"]
        assert "in every workflow" in findings["masked[2]"]
        assert {"masked[0]", "masked[3]"}.isdisjoint(findings)

    def test_a_name_that_a_template_reads_or_a_call_sends_is_one(self):
        asked = request(path="/${input.who.nick}", query={"alias": "x"}, body={"deep": [{"handle": "y"}]})
        told = Publish(topic="t", body={"slug": "z"})
        definition = {"masked": ("nick", "alias", "handle", "slug")}
        steps = (step("a", action=asked), step("b", action=None, publish=told))

        assert not [path for path in found(*steps, **definition) if path.startswith("masked")]


class TestBusinessIds:
    def test_one_that_shows_what_is_masked(self):
        ids = {
            "customer": "${input.email}",
            "phone": "${input.id}",
            "street": "${input.address.street}",
            "order": "${input.id}",
        }
        hidden = [
            path
            for path, message in found(step("a"), business_ids=ids, masked=("Street",)).items()
            if "is masked" in message
        ]

        assert hidden == ["business_ids.customer", "business_ids.phone", "business_ids.street"]

    def test_what_they_read_is_read_and_must_be_there(self):
        ids = {"order": "${input.order}", "gone": "${input.gone}", "no": "${steps.a.no}", "score": "${steps.a.score}"}
        scored = step("a", output={"score": "${response.score}"})

        findings = found(scored, step("b"), business_ids=ids, input_schema=takes("order", "other"))

        assert sorted(findings) == ["business_ids.gone", "business_ids.no", "input_schema.properties.other"]
