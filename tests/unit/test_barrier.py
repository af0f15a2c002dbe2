"""One suite for every database the barrier runs on: the guarantees are the same sentences on each."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import psycopg2.extensions
import pytest

from saga_barrier import Answer, Barrier, BarrierError

KEY = "01900000-0000-7000-8000-000000000001:reservation_stock[0]:do"
DEADLINE = 20.0
SCHEMA = "CREATE TABLE account (balance integer NOT NULL)"
SEED = "INSERT INTO account (balance) VALUES (100)"


class SqliteService:
    """A service with one account, on SQLite."""

    barrier = Barrier("sqlite")

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(self.connect()) as connection:
            connection.executescript(Barrier.schema("sqlite") + SCHEMA + ";" + SEED)

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=DEADLINE)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with closing(self.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection.cursor()
            except BaseException:
                connection.rollback()
                raise
            connection.commit()


class PostgresqlService:
    """The same service on PostgreSQL, in a schema of its own."""

    barrier = Barrier("postgresql")

    def __init__(self, url: str) -> None:
        self.url, self.schema = url, f"barrier_{uuid4().hex}"
        with self.transaction() as cursor:
            cursor.execute(f"CREATE SCHEMA {self.schema}")
            cursor.execute(Barrier.schema("postgresql") + SCHEMA + ";" + SEED)

    def connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(self.url, options=f"-c search_path={self.schema} -c lock_timeout={int(DEADLINE)}s")

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        with closing(self.connect()) as connection, connection, connection.cursor() as cursor:
            yield cursor

    def drop(self) -> None:
        with self.transaction() as cursor:
            cursor.execute(f"DROP SCHEMA {self.schema} CASCADE")


Service = SqliteService | PostgresqlService


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    if request.param == "sqlite":
        yield SqliteService(tmp_path / "service.sqlite3")
        return
    postgresql = PostgresqlService(request.getfixturevalue("postgres_url"))
    yield postgresql
    postgresql.drop()


def add(cursor: Any, amount: int, status: int = 201) -> Answer:
    cursor.execute(f"UPDATE account SET balance = balance + {amount}")
    return Answer(status, {"receipt": uuid4().hex, "été": "oui"})


def do(service: Service, key: str = KEY, status: int = 201) -> Answer:
    with service.transaction() as cursor:
        return service.barrier.do(cursor, key, lambda: add(cursor, 10, status))


def undo(service: Service, key: str = KEY, status: int = 200) -> Answer:
    with service.transaction() as cursor:
        return service.barrier.undo(cursor, key, lambda _: add(cursor, -10, status))


def inquire(service: Service, key: str = KEY) -> Answer:
    with service.transaction() as cursor:
        return service.barrier.inquire(cursor, key)


def balance(service: Service) -> int:
    with service.transaction() as cursor:
        cursor.execute("SELECT balance FROM account")
        return cursor.fetchone()[0]


def at_once(*calls: Callable[[], Answer]) -> list[Answer]:
    """All calls start together, each in a thread of its own."""
    barrier = threading.Barrier(len(calls), timeout=DEADLINE)

    def run(call: Callable[[], Answer]) -> Answer:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(DEADLINE) for future in [pool.submit(run, call) for call in calls]]


def test_a_repeated_do_has_one_effect_and_the_first_answer(service):
    first, second = do(service), do(service)
    assert (first.status, second) == (201, first)
    assert (first.replayed, second.replayed) == (False, True)
    assert balance(service) == 110


def test_a_repeated_undo_has_one_effect_and_the_first_answer(service):
    do(service)
    first, second = undo(service), undo(service)
    assert (first.status, second) == (200, first)
    assert balance(service) == 100


def test_different_keys_are_different_calls(service):
    assert do(service, "saga:step[0]:do") != do(service, "saga:step[1]:do")
    assert balance(service) == 120


def test_an_undo_of_what_never_happened_succeeds_without_effect_and_is_remembered(service):
    answer = undo(service)
    assert (answer.status, answer.body) == (200, {"outcome": "nothing_to_undo"})
    assert undo(service) == answer
    assert balance(service) == 100


def test_a_do_after_its_undo_is_refused_without_effect(service):
    undo(service)
    answers = [do(service), do(service)]
    assert [(answer.status, answer.body["code"]) for answer in answers] == [(409, "call_was_undone")] * 2
    assert balance(service) == 100


def test_a_do_repeated_after_it_was_undone_does_not_claim_to_be_done(service):
    do(service)
    undo(service)
    assert do(service).status == 409
    assert undo(service).status == 200
    assert balance(service) == 100


def test_a_refused_do_leaves_no_effect_and_repeats_its_refusal(service):
    first, second = do(service, status=409), do(service, status=201)
    assert (first.status, second) == (409, first)
    assert balance(service) == 100


def test_the_undo_of_a_refused_do_is_an_empty_undo(service):
    do(service, status=402)
    assert undo(service).body == {"outcome": "nothing_to_undo"}
    assert balance(service) == 100


def test_a_refused_undo_is_forgotten_and_can_be_tried_again(service):
    do(service)
    assert undo(service, status=409).status == 409
    assert balance(service) == 110
    assert undo(service).status == 200
    assert balance(service) == 100


def test_an_undo_is_given_what_the_do_answered(service):
    done, seen = do(service), []
    with service.transaction() as cursor:
        service.barrier.undo(cursor, KEY, lambda first: seen.append(first) or Answer(200, {}))
    assert seen == [done]


@pytest.mark.parametrize("operation", [Barrier.do, Barrier.undo])
def test_an_effect_that_raises_leaves_nothing_and_may_be_repeated(service, operation):
    if operation is Barrier.undo:
        do(service)
    before = balance(service)

    def fail(*_: object) -> Answer:
        add(cursor, 1000)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), service.transaction() as cursor:
        operation(service.barrier, cursor, KEY, fail)
    assert balance(service) == before
    assert (do(service) if operation is Barrier.do else undo(service)).replayed is False


def test_an_inquiry_tells_done_with_the_output(service):
    done = do(service)
    assert inquire(service) == Answer(200, {**done.body, "outcome": "done"})


def test_an_inquiry_that_said_not_done_settles_it(service):
    assert inquire(service) == inquire(service) == Answer(200, {"outcome": "not_done"})
    assert do(service).status == 409
    assert undo(service).body == {"outcome": "nothing_to_undo"}
    assert balance(service) == 100


def test_a_refused_or_undone_call_is_reported_as_not_done(service):
    do(service, "saga:refused:do", status=409)
    do(service, "saga:undone:do")
    undo(service, "saga:undone:do")
    assert inquire(service, "saga:refused:do").body == {"outcome": "not_done"}
    assert inquire(service, "saga:undone:do").body == {"outcome": "not_done"}


def test_twenty_equal_dos_at_once_have_one_effect_and_one_answer(service):
    answers = at_once(*[lambda: do(service)] * 20)
    assert len({answer.body["receipt"] for answer in answers}) == 1
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 19
    assert balance(service) == 110


def test_twenty_equal_undos_at_once_have_one_effect_and_one_answer(service):
    do(service)
    answers = at_once(*[lambda: undo(service)] * 20)
    assert len({answer.body["receipt"] for answer in answers}) == 1
    assert balance(service) == 100


def test_twenty_equal_refusals_at_once_are_one_refusal(service):
    answers = at_once(*[lambda: do(service, status=409)] * 20)
    assert len({answer.body["receipt"] for answer in answers}) == 1
    assert balance(service) == 100


def test_a_do_and_its_undo_at_once_never_leave_an_effect(service):
    for attempt in range(15):
        key = f"saga:step[{attempt}]:do"
        done, undone = at_once(lambda key=key: do(service, key), lambda key=key: undo(service, key))
        assert undone.status == 200
        assert (done.status == 409) == (undone.body == {"outcome": "nothing_to_undo"})
    assert balance(service) == 100


def test_a_do_its_undo_and_an_inquiry_at_once_agree(service):
    for attempt in range(15):
        key = f"saga:step[{attempt}]:do"
        done, asked = at_once(lambda key=key: do(service, key), lambda key=key: inquire(service, key))
        assert (done.status, asked.body["outcome"]) in {(201, "done"), (409, "not_done")}


def test_a_second_do_waits_for_the_first_and_repeats_its_answer(service):
    started, finish, second = threading.Event(), threading.Event(), []

    def slow() -> Answer:
        started.set()
        assert finish.wait(DEADLINE)
        return Answer(201, {"receipt": "the first"})

    def first() -> None:
        with service.transaction() as cursor:
            service.barrier.do(cursor, KEY, slow)

    threads = [threading.Thread(target=first), threading.Thread(target=lambda: second.append(do(service)))]
    threads[0].start()
    assert started.wait(DEADLINE)
    threads[1].start()
    threads[1].join(0.2)
    assert second == []
    finish.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert second == [Answer(201, {"receipt": "the first"})]


def test_without_a_transaction_the_barrier_refuses_to_work(service):
    with closing(service.connect()) as connection:
        if isinstance(service, PostgresqlService):
            connection.autocommit = True
        with pytest.raises(BarrierError, match="Begin a transaction first"):
            service.barrier.do(connection.cursor(), KEY, lambda: Answer(201, {}))


@pytest.mark.parametrize("status", [100, 500, 503])
def test_an_answer_that_is_neither_done_nor_refused_is_not_remembered(service, status):
    with pytest.raises(BarrierError, match="2xx or 4xx"):
        do(service, status=status)
    assert do(service).replayed is False


@pytest.mark.parametrize("key", ["", "x" * 256, "new\nline", "nul\0"])
def test_a_key_that_could_not_be_stored_or_logged_is_refused(service, key):
    with pytest.raises(BarrierError, match="printable"):
        do(service, key)


def test_a_call_committed_without_its_answer_is_reported_not_guessed(service):
    with service.transaction() as cursor:
        cursor.execute(f"INSERT INTO saga_barrier (call_key, operation, cause) VALUES ('{KEY}', 'do', 'do')")
    with pytest.raises(BarrierError, match="its effect had raised"):
        do(service)
