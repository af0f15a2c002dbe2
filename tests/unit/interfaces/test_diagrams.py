"""A workflow's diagrams: every line is one that Mermaid reads, and together they are the workflow's."""

import re
from pathlib import Path

import pytest

from domain.definition import Await, Publish, Step
from domain.workflows import shipped_definitions
from domain.workflows.commandes import COMMANDES
from interfaces.diagrams import state_diagram, step_diagram
from tests.support.dialogue import step, workflow
from tests.unit.infrastructure.test_definition_codec import WHOLE

README = Path(__file__).resolve().parents[3] / "README.md"
MESSAGES = workflow(
    Step(
        name="ask",
        publish=Publish(topic="asked", body={}),
        awaits=Await(types=("answered", "refused")),
        undo_publish=Publish(topic="asked", body={"undo_of": "${saga.do_key}"}),
    ),
    Step(name="hear", awaits=Await(types=("heard",))),
)
ALL = [*shipped_definitions(), WHOLE, MESSAGES]
NAME = r"[A-Za-z][A-Za-z0-9_]*"
STATE_EDGE = re.compile(rf"(\[\*\]|{NAME}) --> (\[\*\]|{NAME})")
STEP_EDGE = re.compile(rf"({NAME}) (?:-->|-\. [a-z ]+ \.->) ({NAME})")
NODE = re.compile(rf'({NAME})(?:\["[^"]+"\]|\{{\{{"[^"]+"\}}\}}|\(\["[^"]+"\]\))')


def lines(diagram, head):
    first, *rest = diagram.splitlines()
    assert first == head
    assert diagram.endswith("\n") and all(line.startswith("    ") for line in rest)
    return [line.strip() for line in rest]


def edges(definition):
    drawn = [STATE_EDGE.fullmatch(line) for line in lines(state_diagram(definition), "stateDiagram-v2")]
    return [edge.groups() for edge in drawn]


@pytest.mark.parametrize("definition", ALL, ids=lambda definition: definition.name)
def test_the_states_are_drawn_with_every_transition_once_a_beginning_and_the_ends(definition):
    drawn = edges(definition)

    assert len(set(drawn)) == len(drawn)
    assert {edge for edge in drawn if "[*]" not in edge} == definition.transitions()
    assert [end for start, end in drawn if start == "[*]"] == [definition.initial_state]
    assert {start for start, end in drawn if end == "[*]"} == {end for _, end in definition.transitions()} & {
        definition.completed_state, definition.compensated_state, definition.failed_state
    }  # fmt: skip


def test_the_readme_shows_what_is_generated():
    assert f"```mermaid\n{state_diagram(COMMANDES)}```\n" in README.read_text()


@pytest.mark.parametrize("word", ["end", "State", "note", "class", "AS", "direction", "style"])
def test_a_state_named_like_a_word_of_mermaids_has_another_id_and_shows_its_name(word):
    drawn = lines(state_diagram(workflow(step("a", running_state=word))), "stateDiagram-v2")

    assert drawn[0] == f'state "{word}" as {word}_'
    assert f"begun --> {word}_" in drawn
    assert all(STATE_EDGE.fullmatch(line) for line in drawn[1:])
    assert not any(word in line.split() for line in drawn[1:])


def test_two_states_keep_two_ids():
    drawn = edges_without_names(workflow(step("a", running_state="note", done_state="note_")))

    assert [line for line in drawn if line.startswith("note")][:2] == ["note__ --> note_", "note_ --> done"]


def edges_without_names(definition):
    return lines(state_diagram(definition), "stateDiagram-v2")[1:]


@pytest.mark.parametrize("definition", ALL, ids=lambda definition: definition.name)
def test_the_steps_are_drawn_without_a_loose_end(definition):
    drawn = lines(step_diagram(definition), "flowchart TD")
    begin, *rest = drawn
    assert begin == f'begin(["{definition.initial_state}"]) --> s0'
    nodes = [found[1] for line in rest if (found := NODE.fullmatch(line))]
    arrows = [found.groups() for line in rest if (found := STEP_EDGE.fullmatch(line))]

    assert len(nodes) + len(arrows) == len(rest)
    assert len(set(nodes)) == len(nodes)
    assert {place for arrow in arrows for place in arrow} == set(nodes)
    assert {end for _, end in arrows} >= set(nodes) - {"s0"}


def test_what_a_failure_leads_to_depends_on_what_was_done():
    drawn = step_diagram(
        workflow(
            step("look", safe=True),
            step("reserve"),
            step("lines", foreach="${input.lines}"),
            step("pay", pivot=True),
            step("tell", safe=True),
        )
    )

    assert [line.strip() for line in drawn.splitlines() if "-." in line] == [
        "s0 -. fails .-> failed",
        "s1 -. not done .-> failed",
        "s1 -. perhaps done .-> u1",
        "s2 -. fails .-> u2",
        "s3 -. not done .-> u2",
        "s3 -. perhaps done .-> parked",
        "s4 -. fails .-> parked",
    ]
    assert "u2 --> u1\n" in drawn and "u1 --> compensated\n" in drawn
    assert '\n    s3{{"4. pay<br/>POST svc"}}\n' in drawn
    assert "for each item" in drawn


def test_a_message_is_drawn_with_what_it_waits_for():
    drawn = step_diagram(MESSAGES)

    assert 's0["1. ask<br/>publish to asked, await answered, refused"]' in drawn
    assert 's1["2. hear<br/>await heard"]' in drawn
    assert 'u0["undo ask<br/>publish to asked"]' in drawn
