"""`manage.py saga_definitions`: workflows as files, for people and for pipelines."""

import json
from copy import deepcopy
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from test_api_definitions import LOAN, SPEAKING, changed

from domain.workflows import shipped_definitions
from domain.workflows.commandes import COMMANDES
from saga_service import bootstrap

FIXTURES = Path(__file__).parents[2] / "fixtures"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _registered(db):
    bootstrap.definitions()._loaded.clear()  # another test may have stored another workflow under the same version
    bootstrap.start()


def run(*given):
    """The exit status, what was written, and what was said to be wrong."""
    out, err = StringIO(), StringIO()
    status = 0
    try:
        call_command("saga_definitions", *map(str, given), stdout=out, stderr=err)
    except SystemExit as exited:
        status = exited.code
    except CommandError as error:
        status = error.returncode
        err.write(f"{error}\n")
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def written(tmp_path):
    """A file with this definition; its name is its workflow's and version's."""

    def write(content, name=None):
        file = tmp_path / (name or f"{content['name']}.{content['version']}.json")
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return file

    return write


def test_a_file_is_loaded_once_and_is_unchanged_the_second_time(written):
    file = written(LOAN)

    assert run("load", file) == (0, f"{file}: loan version 1 stored\n", "")
    assert run("load", file) == (0, f"{file}: loan version 1 unchanged\n", "")
    assert bootstrap.definitions().newest("loan").title == "A loan"


@pytest.mark.parametrize("name", [definition.name for definition in shipped_definitions()])
def test_the_files_of_what_ships_differ_in_nothing_from_what_is_stored(name):
    assert run("diff", FIXTURES / f"{name}.json") == (0, "", "")
    assert run("export", name)[1] == (FIXTURES / f"{name}.json").read_text(encoding="utf-8")


def test_the_directory_of_files_is_loaded_as_it_stands():
    status, out, err = run("load", FIXTURES)
    assert (status, err) == (0, "")
    assert f"{FIXTURES}/loan.json: loan version 1 stored" in out
    assert out.count("unchanged") == len(shipped_definitions())
    assert run("lint", "--strict", *FIXTURES.glob("*.json"))[0] == 0


def test_a_directory_is_loaded_by_the_names_of_its_files(written, tmp_path):
    written(LOAN)
    written(changed("version", 2))
    written("no definition", "README.txt")

    status, out, _ = run("load", tmp_path)
    assert (status, [line.split(": ")[1] for line in out.splitlines()]) == (
        0, ["loan version 1 stored", "loan version 2 stored"],
    )  # fmt: skip


def test_one_that_is_wrong_keeps_all_out_and_every_fault_is_named(written):
    good, bad = written(LOAN), deepcopy(LOAN) | {"version": 0, "retires": 1}
    bad["steps"][0]["action"]["service"] = "mail"
    file = written(bad)

    status, out, err = run("load", good, file)

    assert (status, out) == (1, "")
    assert f"{file}: error: retires: is not a field" in err
    assert f"{file}: error: version: must be from 1" in err
    assert "1 of 2 refused; nothing was stored" in err
    bad |= {"version": 1}
    del bad["retires"]
    assert "error: steps[0].action.service: no URL is configured for 'mail'" in run("load", written(bad))[2]
    assert run("diff", "loan:1", "commandes")[0] == 2, "there is no loan"


def test_another_content_under_a_stored_version_is_refused(written):
    run("load", written(LOAN))

    status, _, err = run("load", written(changed("title", "Another")))
    assert status == 1
    assert "never changes; publish this one under the next number" in err


def test_two_files_that_claim_one_version_keep_each_other_out(written):
    status, _, err = run("load", written(LOAN, "a.json"), written(changed("title", "Another"), "b.json"))

    assert status == 1
    assert "loan version 1 is there twice, and differs" in err
    assert run("load", written(LOAN, "a.json"), written(LOAN, "b.json"))[0] == 0


def test_a_dry_run_stores_nothing(written):
    file = written(LOAN)

    assert run("load", "--dry-run", file) == (0, f"{file}: loan version 1 would be stored\n", "")
    assert "loan" not in run("list")[1]


@pytest.mark.parametrize("content", ["", "{", "[1, NaN]", '{"a": "\\u0000"}'])
def test_what_is_no_json_is_trouble(written, content):
    status, _, err = run("load", written(content, "x.json"))

    assert status == 2
    assert "x.json: " in err


def test_a_file_that_is_not_there_is_trouble(tmp_path):
    assert run("load", tmp_path / "none.json") == (2, "", f"{tmp_path / 'none.json'}: No such file or directory\n")
    assert run("load", tmp_path)[0] == 2, "an empty directory"


@pytest.mark.parametrize("definition", shipped_definitions(), ids=lambda each: each.name)
def test_what_is_exported_loads_back_identically(definition, written):
    which = f"{definition.name}:{definition.version}"
    status, text, _ = run("export", which)
    file = written(text, "exported.json")

    assert status == 0
    assert run("load", file)[1].endswith("unchanged\n")
    assert run("export", file) == (0, text, "")
    assert run("diff", file) == (0, "", "")


def test_the_order_of_free_names_in_a_file_is_not_kept(written):
    turned = deepcopy(LOAN)
    turned["input_schema"] = dict(reversed(LOAN["input_schema"].items()))

    assert run("export", written(LOAN, "a.json"))[1] == run("export", written(turned, "b.json"))[1]


def test_all_stored_versions_are_exported_into_a_directory(tmp_path, written):
    run("load", written(LOAN))
    target = tmp_path / "exported"

    status, out, _ = run("export", "--directory", target)

    assert status == 0
    names = {f"{each.name}.{each.version}.json" for each in shipped_definitions()} | {"loan.1.json"}
    assert {file.name for file in target.iterdir()} == names
    assert set(out.split()) == {str(target / name) for name in names}
    assert run("load", target)[0] == 0
    assert run("export")[0] == 2, "several need a directory"


def test_two_versions_are_compared(written):
    run("load", written(LOAN), written({**changed("steps", 1, "action", "timeout", 7.5), "version": 2}))

    status, out, _ = run("diff", "loan:1", "loan")

    assert status == 1
    lines = out.splitlines()
    assert lines[:2] == ["--- loan:1", "+++ loan"]
    assert [line for line in lines[2:] if line[0] in "+-"] == [
        '-  "version": 1,',
        '+  "version": 2,',
        '-        "timeout": 5.0',
        '+        "timeout": 7.5',
    ]
    assert run("diff", "loan:1", "loan:1") == (0, "", "")


def test_a_file_is_compared_with_what_is_stored(written):
    file = written(LOAN)
    assert run("diff", file) == (2, "", "there is no workflow 'loan' yet\n")
    run("load", file)

    assert run("diff", file) == (0, "", "")
    status, out, _ = run("diff", written(changed("version", 3), "next.json"))
    assert status == 1
    assert '+  "version": 3,' in out
    assert run("diff", "loan")[0] == 2, "with what?"
    assert run("diff", written("{}", "bad.json"), "loan")[0] == 2


def test_findings_and_faults_are_named_and_faults_are_an_exit_status(written):
    file = written(changed("steps", 1, "action", "timeout", 12))

    status, out, _ = run("lint", file)
    assert status == 0
    assert f"{file}: warning: steps[1].action.timeout: is 12 s, but the gateway gives" in out
    assert run("lint", "--strict", file)[0] == 1
    status, out, _ = run("lint", "--strict", written(LOAN, "clean.json"))
    assert (status, "warning" in out, "info: deadline: is 30 s" in out) == (0, False, True)

    status, out, err = run("lint", written({}, "bad.json"), file)
    assert status == 1
    assert "bad.json: error: steps: is required" in err and "steps[1].action.timeout" in out
    assert run("lint", "nothing")[0] == 1


def test_all_that_is_stored_is_checked_unless_told():
    status, out, err = run("lint", "--strict")

    assert (status, err) == (0, "")
    assert f"commandes:{COMMANDES.version}: info: steps[0].output.quantite_disponible" in out


def test_the_versions_are_listed_with_the_newest_marked(written):
    run("load", written(LOAN), written(changed("version", 12)))

    listed = [line.split()[:2] for line in run("list")[1].splitlines()]
    assert ["loan", "1"] in listed and ["loan", "12*"] in listed


@pytest.mark.parametrize("which", ["loan:", "loan:x", "loan:-1", "loan:1:2"])
def test_what_names_no_version_is_trouble(which):
    assert run("export", which)[0] == 2


def test_a_database_that_is_away_is_trouble_in_words(monkeypatch):
    def away(*_):
        raise OperationalError("connection refused")

    monkeypatch.setattr("infrastructure.definition_store.DefinitionStore.all", away)

    assert run("list") == (2, "", "the database does not answer: connection refused\n")


@pytest.mark.parametrize("action", ["load", "export", "diff", "lint", "list"])
def test_each_action_explains_itself(action, capsys):
    with pytest.raises(SystemExit) as exited:
        call_command("saga_definitions", action, "--help")
    assert exited.value.code == 0
    assert action in capsys.readouterr().out


def test_a_workflow_of_messages_is_not_loaded_where_there_is_no_broker(written):
    status, _, errors = run("load", written(SPEAKING))

    assert status == 1
    assert "error: steps[1].publish.topic: no message broker is configured" in errors


def test_who_loaded_a_version_is_kept_and_a_shipped_name_must_be_meant(written):
    mine = written({**json.loads(run("export", "commandes")[1]), "version": COMMANDES.version + 1})

    status, _, errors = run("load", mine)
    assert (status, "--shipped" in errors) == (1, True)
    assert run("load", "--shipped", "--actor", "anna", mine)[0] == 0

    definitions = bootstrap.definitions()
    assert definitions.publication(definitions.newest("commandes")).by == "anna"


def test_files_are_examined_without_a_database(written, monkeypatch):
    def away(*_):
        raise OperationalError("connection refused")

    monkeypatch.setattr("django.db.models.query.QuerySet._fetch_all", away)
    for content in (LOAN, SPEAKING):
        assert run("lint", written(content))[0] == 0
