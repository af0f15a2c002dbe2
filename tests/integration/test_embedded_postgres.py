"""The embedded PostgreSQL: started once however often it is asked for, durable, and back after any death."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from devstack import postgres

SECONDS = 20


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "postgres"
    postgres.stop(tmp_path / "postgres", "immediate")


def ask(url: str, *statements: str) -> object:
    """The first value of the last statement."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)
        row = cursor.fetchone()
        return row[0] if row else None


def postmaster(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().splitlines()[0])


def kill_everything_of(directory: Path) -> None:
    for pid in postgres.processes(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while postgres.processes(directory):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_started_server_has_the_saga_database_and_syncs_every_commit(directory):
    url = postgres.ensure_running(directory)

    assert postgres.is_running(directory)
    assert ask(url, "SELECT current_database()") == "saga"
    assert ask(url, "SHOW fsync") == "on"
    assert ask(url, "SHOW synchronous_commit") == "on"
    assert ask(url, "SHOW listen_addresses") == "127.0.0.1"


def test_asking_again_changes_nothing(directory):
    url = postgres.ensure_running(directory)
    first = postmaster(directory)

    assert postgres.ensure_running(directory) == url
    assert postmaster(directory) == first


def test_a_stopped_server_comes_back_on_its_port_with_its_data(directory):
    url = postgres.ensure_running(directory)
    ask(url, "CREATE TABLE kept AS SELECT 7 AS value", "SELECT 1")

    postgres.stop(directory)

    assert not postgres.is_running(directory)
    assert postgres.processes(directory) == []
    assert postgres.ensure_running(directory) == url
    assert ask(url, "SELECT value FROM kept") == 7


def test_a_port_taken_meanwhile_is_replaced_by_a_free_one(directory):
    url = postgres.ensure_running(directory)
    postgres.stop(directory)

    with socket.create_server(("127.0.0.1", int((directory / "port").read_text()))):
        other = postgres.ensure_running(directory)

    assert other != url
    assert ask(other, "SELECT 1") == 1


def test_a_port_asked_for_and_taken_is_an_error_that_names_it(directory):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(postgres.PostgresError, match=str(port)):
            postgres.ensure_running(directory, port)


def test_settings_reach_the_server(directory):
    url = postgres.ensure_running(directory, settings={"work_mem": "8MB", "application_name": "with 'quotes' and $"})

    assert ask(url, "SHOW work_mem") == "8MB"


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_every_way_to_stop_keeps_what_was_committed(directory, mode):
    url = postgres.ensure_running(directory)
    ask(url, "CREATE TABLE kept AS SELECT 7 AS value", "SELECT 1")

    postgres.stop(directory, mode)

    assert ask(postgres.ensure_running(directory), "SELECT value FROM kept") == 7


def test_stopping_what_does_not_run_or_exist_is_no_error(directory):
    postgres.stop(directory)
    postgres.ensure_running(directory)
    postgres.stop(directory)
    postgres.stop(directory)

    assert not postgres.is_running(directory)


def test_a_killed_server_recovers_what_was_committed(directory):
    url = postgres.ensure_running(directory)
    ask(url, "CREATE TABLE kept AS SELECT 7 AS value", "SELECT 1")

    kill_everything_of(directory)

    assert postgres.ensure_running(directory) == url
    assert ask(url, "SELECT value FROM kept") == 7


def test_a_killed_postmaster_is_replaced_once_its_children_are_gone(directory):
    url = postgres.ensure_running(directory)

    os.kill(postmaster(directory), signal.SIGKILL)

    assert ask(postgres.ensure_running(directory), "SELECT 1") == 1
    assert ask(url, "SELECT 1") == 1


def test_a_pid_file_whose_pid_is_another_programs_now_does_not_stop_the_start(directory):
    postgres.ensure_running(directory)
    path = directory / "data" / "postmaster.pid"
    lines = path.read_text().splitlines()
    kill_everything_of(directory)
    path.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    assert ask(postgres.ensure_running(directory), "SELECT 1") == 1


def test_an_initialisation_that_was_killed_does_not_pass_for_a_cluster(directory):
    (directory / "data.new").mkdir(parents=True)
    (directory / "data.new" / "PG_VERSION").write_text("18\n")

    assert ask(postgres.ensure_running(directory), "SELECT 1") == 1


def test_processes_that_start_it_at_once_share_one_server(directory):
    command = [sys.executable, "-m", "devstack.postgres", "start", "--directory", str(directory)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    answers = [starter.communicate(timeout=60)[0] for starter in starters]

    assert [starter.returncode for starter in starters] == [0, 0, 0, 0]
    assert len(set(answers)) == 1
    assert ask(answers[0].strip(), "SELECT 1") == 1


def test_two_directories_are_two_servers(directory, tmp_path):
    other = tmp_path / "other"
    try:
        assert postgres.ensure_running(directory) != postgres.ensure_running(other)
    finally:
        postgres.stop(other, "immediate")


def test_a_directory_with_a_long_name_only_loses_the_unix_socket(tmp_path):
    directory = tmp_path / ("d" * 120)
    try:
        assert ask(postgres.ensure_running(directory), "SHOW unix_socket_directories") == ""
    finally:
        postgres.stop(directory, "immediate")
