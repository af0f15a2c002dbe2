"""The workflows as files: those that ship say what their modules say, and the sixth is what the documents show."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from domain.definition import SagaDefinition
from domain.definition_reader import read_definition
from domain.lint import Limits, Severity, lint
from domain.workflows import shipped_definitions
from infrastructure.definition_codec import to_json
from infrastructure.input_schema import schema_faults

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
LOAN = read_definition(json.loads((FIXTURES / "loan.json").read_bytes()))


def test_there_is_a_file_for_each_workflow_that_ships_and_for_one_that_does_not():
    shipped = {definition.name for definition in shipped_definitions()}
    assert {file.stem for file in FIXTURES.glob("*.json")} == {*shipped, "loan"}


@pytest.mark.parametrize("definition", shipped_definitions(), ids=lambda each: each.name)
def test_a_file_says_what_its_module_says(definition):
    said = (FIXTURES / f"{definition.name}.json").read_text(encoding="utf-8")
    exported = json.dumps(to_json(definition), indent=2, ensure_ascii=False) + "\n"
    assert said == exported, f"manage.py saga_definitions export {definition.name} > fixtures/{definition.name}.json"


def test_the_sixth_is_the_workflow_that_the_guide_writes_in_python():
    guide = (ROOT / "docs/workflows.md").read_text(encoding="utf-8")
    example = re.search(r"```python\n(.*?)```", guide, re.DOTALL)
    written: dict[str, Any] = {}
    exec(example[1], written)
    assert written["DEFINITIONS"] == (LOAN,)


def test_the_sixth_is_warned_of_nothing():
    assert isinstance(LOAN, SagaDefinition)
    assert schema_faults(LOAN.input_schema) == []
    assert [each for each in lint(LOAN, Limits()) if each.severity is Severity.WARNING] == []


@pytest.mark.parametrize("document", ["README.md", "docs/workflows.md"])
def test_what_a_document_has_sent_is_there(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    named = re.findall(r"--data @(\S+)", text)
    assert named
    assert all((ROOT / name).is_file() for name in named)
    for given in re.findall(r'"workflow": "loan", "input": (\{.*?\})', text):
        assert set(json.loads(given)) == set(LOAN.input_schema["required"])
