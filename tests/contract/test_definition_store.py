"""Which version of a workflow new sagas start under: the newest in the database, for every process alike."""

import logging
from dataclasses import replace

import api_support
import pytest
from api_support import ORDER, START, problem, shaped
from django.db import OperationalError, connection

from domain.definition import SagaDefinition
from domain.exceptions import DefinitionUnreadable, WorkflowUnknown
from domain.workflows.commandes import COMMANDES
from infrastructure.definition_store import FRESH, DefinitionStore
from interfaces.contracts import DEFINITION_LIST, SAGA
from saga_service import bootstrap
from tests.support.dialogue import step, workflow

api = api_support.api
pytestmark = pytest.mark.django_db

FIRST = workflow(step("a"), name="loan")
SECOND = replace(FIRST, version=2, title="second")


class Elapsed:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def process(*shipped: SagaDefinition, elapsed: Elapsed | None = None) -> DefinitionStore:
    """A process that has started, with what it was shipped with."""
    store = DefinitionStore(shipped, elapsed or Elapsed())
    store.register()
    return store


def forget(definition: SagaDefinition) -> None:
    with connection.cursor() as cursor:
        key = [definition.name, definition.version]
        cursor.execute("DELETE FROM saga_definitions WHERE (name, version) = (%s, %s)", key)


def store_what_only_a_later_release_can_read(definition: SagaDefinition) -> None:
    process(definition)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE saga_definitions DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE saga_definitions SET content = content || %s WHERE (name, version) = (%s, %s)",
            ['{"only_when": "${input.vip}"}', definition.name, definition.version],
        )
        cursor.execute("ALTER TABLE saga_definitions ENABLE TRIGGER USER")


def test_an_old_process_starts_new_sagas_under_the_version_that_a_new_one_brought():
    old, new = process(FIRST), process(FIRST, SECOND)

    assert old.newest("loan") == new.newest("loan") == SECOND


def test_a_process_that_was_shipped_with_an_older_version_only_does_not_bring_it_back():
    process(SECOND)

    assert process(FIRST).newest("loan") == SECOND


@pytest.mark.parametrize("look", [DefinitionStore.all, lambda store: store.version("loan", 2)], ids=["all", "version"])
def test_looking_at_a_version_changes_nothing(look):
    elapsed = Elapsed()
    old = process(FIRST, elapsed=elapsed)
    assert old.newest("loan") == FIRST
    process(SECOND)

    look(old)

    assert old.newest("loan") == FIRST, "as it was read a moment ago"
    elapsed.seconds += FRESH
    assert old.newest("loan") == SECOND


def test_a_process_stores_what_it_was_shipped_with_and_not_what_it_has_looked_at():
    store = process(FIRST)
    process(SECOND)
    assert store.version("loan", 2) == SECOND
    forget(SECOND)

    store.register()

    assert store.all() == [FIRST]


def test_a_workflow_that_is_stored_while_a_process_runs_can_be_started_there_at_once():
    running = process()
    with pytest.raises(WorkflowUnknown, match="there is no workflow 'loan'"):
        running.newest("loan")

    process(FIRST)

    assert running.newest("loan") == FIRST


def test_the_newest_version_is_read_once_a_second_and_not_once_a_start(django_assert_num_queries):
    elapsed = Elapsed()
    store = process(FIRST, elapsed=elapsed)
    for _ in range(3):
        with django_assert_num_queries(1):
            for _ in range(100):
                store.newest("loan")
        elapsed.seconds += FRESH


def test_a_version_that_is_stored_while_the_newest_is_being_read_is_the_newest_at_once():
    store = process(FIRST)

    def store_the_next_once_it_is_read(execute, *arguments):
        found = execute(*arguments)
        if "MAX" in arguments[0]:
            store.add(SECOND, "anna")
        return found

    with connection.execute_wrapper(store_the_next_once_it_is_read):
        store.newest("loan")

    assert store.newest("loan") == SECOND


def test_a_newest_version_that_cannot_be_read_here_is_not_replaced_by_an_older_one():
    old = process(FIRST)
    store_what_only_a_later_release_can_read(SECOND)

    with pytest.raises(DefinitionUnreadable, match="does not know only_when"):
        old.newest("loan")
    assert old.version("loan", 1) == FIRST


def test_a_database_that_is_away_for_a_moment_is_left_to_whoever_stores_the_saga(monkeypatch):
    elapsed = Elapsed()
    store = process(FIRST, elapsed=elapsed)
    store.newest("loan")

    def away(*_):
        raise OperationalError("connection refused")

    monkeypatch.setattr("django.db.models.QuerySet.aggregate", away)
    elapsed.seconds += FRESH

    assert store.newest("loan") == FIRST
    with pytest.raises(OperationalError):
        store.newest("another")


# --- over HTTP ------------------------------------------------------------------------------------------------------


def test_an_unreadable_version_refuses_its_starts_with_its_reason_and_leaves_the_rest_alone(api, caplog):
    store_what_only_a_later_release_can_read(replace(COMMANDES, version=COMMANDES.version + 1))
    bootstrap.definitions()._newest.clear()
    asked = {"workflow": "commandes", "input": ORDER}

    refused = api.post(START, asked)
    assert "only_when" in problem(refused, 503, "definition_unreadable")["detail"]
    assert refused.headers["Retry-After"] == "5"

    assert shaped(api.post(START, {**asked, "version": COMMANDES.version}), SAGA, 201)
    with caplog.at_level(logging.WARNING, "saga"):
        listed = shaped(api.get("/api/sagas/definitions/"), DEFINITION_LIST)["results"]
    assert [each["version"] for each in listed if each["name"] == "commandes"] == [COMMANDES.version]
    assert "unreadable definition" in caplog.text
