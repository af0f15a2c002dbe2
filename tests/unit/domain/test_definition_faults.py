"""A definition that cannot be run safely is refused when it is built, with every fault of it named by its path."""

from dataclasses import replace
from typing import Any

import pytest

from domain.definition import Request, RetryPolicy, SagaDefinition, Step
from domain.exceptions import DefinitionInvalid
from tests.support.dialogue import step, workflow

THERE_IS = "saga.correlation_id, saga.id, saga.workflow"


def request(**options: Any) -> Request:
    return Request(**{"service": "svc", "method": "POST", "path": "/a", **options})


def refused(*steps: Step, **options: Any) -> list[str]:
    """The faults of a workflow of these steps."""
    with pytest.raises(DefinitionInvalid) as caught:
        workflow(*steps, **options)
    return list(caught.value.faults)


def fault_of(**options: Any) -> str:
    """The one fault of a step `a` that is sound but for these options."""
    [fault] = refused(step("a", **options))
    assert fault.startswith("steps[0]")
    return fault.removeprefix("steps[0] (a)").removeprefix("steps[0]")


def test_every_fault_is_named_at_once_with_its_path():
    first = step("a", action=request(method="FETCH", path="a", timeout=0), concurrency=0)
    second = Step(name="a", action=request(body={"x": ["${steps.z.id}", "${unknown}", "${a b}"]}))
    faults = refused(first, second, name="Not A Name", version=0, completed_state="begun")
    assert [fault.partition(":")[0] for fault in faults] == [
        "name",
        "version",
        "initial_state",
        "steps[0] (a).concurrency",
        "steps[0] (a).action.method",
        "steps[0] (a).action.path",
        "steps[0] (a).action.timeout",
        "steps[1] (a)",
        "steps[1] (a).action.body.x[0]",
        "steps[1] (a).action.body.x[1]",
        "steps[1] (a).action.body.x[2]",
        "steps[1].name",
    ]


def test_the_message_holds_every_fault_for_whoever_reads_only_that():
    with pytest.raises(DefinitionInvalid, match=r"'test' has 2 fault\(s\): version: .+; steps: there must be at least"):
        workflow(version=0)


class TestTheWhole:
    @pytest.mark.parametrize("name", ["", "Orders", "1st", "with-dash", "x" * 64, "a\n"])
    def test_has_a_name_that_fits_addresses_and_labels(self, name):
        assert refused(step("a"), name=name)[0].startswith("name: ")

    @pytest.mark.parametrize("deadline", [0, -1, float("nan"), float("inf"), 1e12])
    def test_has_a_deadline_that_can_come(self, deadline):
        assert refused(step("a"), deadline=deadline) == ["deadline: must be more than 0 and at most 31622400 seconds"]

    def test_masks_fields_by_their_names(self):
        names: Any = ("", "x" * 101, 7, "email")
        found = "must be a field's name, of 1 to 100 characters"
        assert refused(step("a"), masked=names) == [f"masked[{index}]: {found}" for index in range(3)]
        assert refused(step("a"), masked="email") == ["masked: must be a list of names"]

    @pytest.mark.parametrize(
        ("name", "template", "fault"),
        [
            ("order", "${steps.b.id}", "${steps.b.id} reads the output of 'b', which is not an earlier step"),
            ("order", "${item.id}", "${item.id} reads 'item', which is not known here (known: input, saga, steps.a)"),
            ("o", "${response}", "${response} reads 'response', which is not known here (known: input, saga, steps.a)"),
            ("order", "${steps}", "${steps} reads all steps; name one of the earlier ones"),
            ("o", "${saga.do_key}", "${saga.do_key} reads saga.do_key; there is " + THERE_IS),
            ("order", "${input.", "'${input.' has a ${ that is not closed"),
            ("order", "the order", "must have a ${...}, or all sagas would have the same"),
            ("order", 7, "must be a text"),
            ("order-id", "${input.id}", "'order-id' must be letters, digits and _, beginning with a letter"),
        ],
    )  # fmt: skip
    def test_is_found_by_ids_that_its_templates_can_give(self, name, template, fault):
        assert refused(step("a"), business_ids={name: template}) == [f"business_ids.{name}: {fault}"]

    def test_is_found_by_a_few_ids(self):
        ids = {f"id{number}": "${input.id}" for number in range(11)}
        assert refused(step("a"), business_ids=ids) == [
            "business_ids: must be at most 10, each is looked up by an index"
        ]

    def test_takes_an_object_described_in_json(self):
        assert refused(step("a"), input_schema={"type": "array"}) == ["input_schema.type: must be 'object'"]
        schema = {"type": "object", "pattern": "${", "default": {1}, "maximum": float("inf")}
        assert refused(step("a"), input_schema=schema) == [
            "input_schema.default: a set is not JSON; a definition holds no code",
            "input_schema.maximum: inf is not JSON",
        ]


class TestEveryStep:
    def test_can_be_undone_or_says_why_it_need_not(self):
        [fault] = refused(Step(name="a", action=request()))
        assert fault == "steps[0] (a): has no undo; give it a compensation, or declare it safe or pivot"

    @pytest.mark.parametrize(
        "options",
        [
            {"safe": True, "compensation": request()},
            {"safe": True, "pivot": True},
            {"pivot": True, "compensation": request()},
            {"safe": True, "inquiry": request()},
        ],
    )
    def test_is_only_one_of_safe_undoable_and_pivot(self, options):
        assert "drop" in fault_of(**options)

    def test_has_a_name_of_its_own(self):
        assert refused(step("a"), step("a")) == [
            "steps[1].name: 'a' is used twice; give each step its own name",
        ]

    @pytest.mark.parametrize("name", ["", "1a", "a-b", "a[0]", "a:do", "é"])
    def test_has_a_name_that_fits_a_key_and_a_template(self, name):
        [fault] = refused(Step(name=name, action=request(), safe=True))
        assert "must be letters, digits and _" in fault

    def test_does_items_at_once_only_if_it_has_items(self):
        assert fault_of(concurrency=2) == ".concurrency: only a foreach step has items to do at once"
        assert fault_of(concurrency=0, foreach="${input.items}") == ".concurrency: must be 1 or more"

    @pytest.mark.parametrize(
        ("policy", "place"),
        [
            ({"max_retries": -1}, "max_retries"),
            ({"base": 0}, "base"),
            ({"base": float("nan")}, "base"),
            ({"cap": 1e12}, "cap"),
            ({"base": 5, "cap": 1}, "cap"),
            ({"factor": 0.5}, "factor"),
            ({"factor": 1e10}, "factor"),
        ],
    )
    def test_retries_at_times_that_can_come(self, policy, place):
        for name in ("retry", "undo_retry"):
            assert fault_of(**{name: RetryPolicy(**policy)}).startswith(f".{name}.{place}: ")

    @pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy(factor=100, cap=9, max_retries=0)])
    def test_never_waits_longer_than_its_policy_says(self, policy):
        assert all(0 < policy.ceiling(attempt) <= policy.cap for attempt in (1, 2, 65, 10_000))


class TestARequest:
    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            ({"method": "get"}, "action.method: 'get' is not one of DELETE, GET, PATCH, POST, PUT"),
            ({"service": "My_Svc"}, "action.service: 'My_Svc' must be lower case letters, digits and -"),
            ({"timeout": 0}, "action.timeout: must be more than 0 and at most 31622400 seconds"),
            ({"path": "a"}, "action.path: must begin with /"),
            ({"path": "${input.path}"}, "action.path: must begin with /"),
            ({"path": "/a?b=${input.b}"}, "action.path: put what follows ? into query"),
            ({"path": "/a\r\nHost: x"}, "percent-encode them"),
            ({"path": "/a b"}, "percent-encode them"),
            ({"path": "/a/../b"}, "must not have . or .. as a segment"),
            ({"path": "/a/%2E%2e/b"}, "must not have . or .. as a segment"),
            ({"body": {"x": object()}}, "action.body.x: a object is not JSON; a definition holds no code"),
            ({"body": {"x": [len]}}, "action.body.x[0]: a builtin_function_or_method is not JSON"),
            ({"body": {1: "x"}}, "action.body: the key 1 is not text"),
            ({"query": {"x": float("nan")}}, "action.query.x: nan is not JSON"),
        ],
    )
    def test_is_complete_and_holds_no_code(self, options, fault):
        assert fault in fault_of(action=request(**options))

    def test_may_have_a_filter_in_its_path(self):
        workflow(step("a", action=request(path="/a/${input.lines[?id == `1`].id | [0]}")))

    def test_of_every_kind_is_checked(self):
        bad = request(method="X")
        faults = refused(step("a", action=bad, compensation=bad, inquiry=bad))
        assert [fault.partition(":")[0].rpartition(")")[2] for fault in faults] == [
            ".action.method",
            ".inquiry.method",
            ".compensation.method",
        ]


class TestATemplate:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("${input.x", "has a ${ that is not closed"),
            ("${}", "is not JMESPath"),
            ("${input..x}", "is not JMESPath"),
            ("${shell('ls')}", "there is no function shell()"),
            ("${[?foo(@)]}", "there is no function foo()"),
            ("${!input.ok}", "is always null, since ! binds closer than the dot; write !(...)"),
            ("${os.environ}", "reads 'os', which is not known here (known: input, saga)"),
            ("${@}", "reads '@', which is not known here"),
            *((f"${{{place}}}", "reads '@', which is not known here") for place in ("*", "*.a", "* | [0]", "[*].a")),
            *((f"${{{place}}}", "reads '@', which is not known here") for place in ("[]", "[0]", "[:1]", "[?a]")),
            ("${item.id}", "reads 'item', which is not known here"),
            ("${response.id}", "reads 'response', which is not known here"),
            ("${saga.secret}", "reads saga.secret; there is saga.correlation_id, saga.do_key, saga.id, saga.workflow"),
            ("${steps.b.id}", "reads the output of 'b', which is not an earlier step"),
            ("${steps.a.id}", "reads the output of 'a', which is not an earlier step"),
            ("${steps}", "reads all steps; name one of the earlier ones"),
            ("${{x: input.y, z: nowhere.at.all}}", "reads 'nowhere'"),
            ("${input.a || nowhere}", "reads 'nowhere'"),
            ("${join(',', [input.a, nowhere])}", "reads 'nowhere'"),
        ],
    )
    def test_reads_only_what_is_known_where_it_stands(self, text, fault):
        found = fault_of(action=request(body={"deep": [text]}))
        assert found.startswith(".action.body.deep[0]: ")
        assert fault in found

    def test_may_read_the_input_the_saga_its_item_and_earlier_steps(self):
        body = ["${input}", "${saga.id}", "${item.id}", "${steps.a[*].id}", "${sort_by(steps.a, &id)[0]}", "$${x}"]
        workflow(step("a", foreach="${input.items}"), step("b", foreach="${steps.a}", action=request(body=body)))

    @pytest.mark.parametrize("foreach", ["", "lines", "x${input.items}", "${item}", "${response}", "${steps.a}"])
    def test_of_a_list_is_one_whole_and_known_before_the_step(self, foreach):
        assert fault_of(foreach=foreach).startswith(".foreach: ")

    @pytest.mark.parametrize("condition", ["true", "is ${input.ok}", "${response.ok}", "${item}", "${steps.a}"])
    def test_of_a_condition_is_one_whole_over_what_is_known_before(self, condition):
        assert fault_of(when=condition, foreach="${input.items}").startswith(".when: ")

    @pytest.mark.parametrize("verdict", ["true", "is ${response.ok}", "${nowhere}"])
    def test_of_a_verdict_is_one_whole_over_the_answer(self, verdict):
        assert fault_of(reject_when=verdict).startswith(".reject_when: ")

    def test_of_an_output_is_checked_too(self):
        assert fault_of(output={"id": "${nowhere}"}).startswith(".output.id: ")
        assert fault_of(reject_reason="${nowhere}").startswith(".reject_reason: ")


class TestAnUndo:
    def test_that_needs_the_answer_is_refused_with_the_remedy(self):
        undo = request(body={"id": "${response.id}"})
        assert fault_of(compensation=undo) == (
            ".compensation.body.id: ${response.id} needs the step's output, which an unknown outcome does not have; "
            "use its input and ${saga.do_key}"
        )

    def test_that_needs_its_output_is_refused_unless_an_inquiry_can_supply_it(self):
        undo = request(path="/a/${steps.a.id}/cancel")
        assert fault_of(compensation=undo).endswith("use its input, or declare an inquiry")
        workflow(step("a", compensation=undo, inquiry=request(method="GET")))

    def test_that_looks_everywhere_is_refused(self):
        undo = request(body={"id": "${*.a}"})  # the steps are among everything, and its own output among them
        assert "reads '@'" in fault_of(compensation=undo)

    def test_may_need_the_output_of_earlier_steps(self):
        workflow(step("a"), step("b", compensation=request(path="/b/${steps.a.id}")))


class TestAState:
    @pytest.mark.parametrize(
        ("options", "fault"),
        [
            ({"completed_state": "undone"}, "compensated_state: 'undone' also means completed"),
            ({"completed_state": "refused"}, "failed_state: 'refused' also means completed"),
            ({"initial_state": "done"}, "initial_state: 'done' is impossible, it also means an end"),
            ({"compensating_state": "undone"}, "compensating_state: 'undone' is impossible, it also means an end"),
            ({"compensating_state": "begun"}, "compensating_state: 'begun' is impossible, it is the initial state"),
            ({"failed_state": "not a name"}, "failed_state: 'not a name' is not a state's name"),
            ({"initial_state": ""}, "initial_state: '' is not a state's name"),
        ],
    )
    def test_of_the_whole_tells_an_end_from_a_stage(self, options, fault):
        assert any(found.startswith(fault) for found in refused(step("a"), **options))

    @pytest.mark.parametrize("name", ["running_state", "done_state", "failed_state"])
    @pytest.mark.parametrize("word", ["done", "undone", "refused", "undoing"])
    def test_of_a_step_is_none_of_the_whole(self, name, word):
        assert "it names a stage of the whole" in fault_of(**{name: word})

    def test_is_never_entered_again_after_it_was_left(self):
        steps = [step("a", running_state="x", done_state="y"), step("b", running_state="x")]
        assert refused(*steps) == [
            "steps[1].running_state: 'x' is entered twice; the saga cannot go back to a state that it has left"
        ]

    def test_of_progress_is_none_of_failure(self):
        steps = [step("a", failed_state="x"), step("b", running_state="x")]
        assert refused(*steps) == ["steps[1].running_state: 'x' is impossible, it is also a failed state"]
        assert "initial_state: 'begun' is impossible, it is also a failed state" in refused(
            step("a", failed_state="begun")
        )

    def test_may_be_shared_by_steps_that_follow_each_other_and_by_failures(self):
        workflow(
            step("a", safe=True, running_state="x", failed_state="broken"),
            step("b", running_state="x", done_state="y", failed_state="broken"),
        )

    def test_of_failure_has_one_way_out_whichever_step_fails_into_it(self):
        shared = workflow(step("a", safe=True, failed_state="broken"), step("b", failed_state="broken"))
        own = workflow(step("a", safe=True, failed_state="broken"), step("b"))
        assert ("broken", "undoing") in shared.transitions() and ("broken", "refused") not in shared.transitions()
        assert ("broken", "refused") in own.transitions() and ("broken", "undoing") not in own.transitions()


def test_a_changed_definition_is_checked_again():
    sound: SagaDefinition = workflow(step("a"))
    with pytest.raises(DefinitionInvalid):
        replace(sound, steps=())
