"""What is told of the processes stays whole while one of them ends."""

import pytest

from infrastructure import process_numbers
from infrastructure.process_numbers import Processes

TOLD = {"saga_process_cpu_seconds", "saga_process_count", "saga_process_resident_memory_bytes"}


def told():
    return {family.name for family in Processes("1").collect()}


@pytest.fixture
def ending(monkeypatch):
    """`ending(n)`: the next n times that a process is looked at it has just ended."""
    read, left = process_numbers._read, []

    def one(pid):
        if left:
            left.pop()
            raise FileNotFoundError(f"/proc/{pid}/stat")
        return read(pid)

    monkeypatch.setattr(process_numbers, "_read", one)
    return lambda times: left.extend(range(times))


def test_a_worker_that_ends_while_it_is_looked_at_takes_nothing_with_it(ending):
    ending(1)
    assert told() >= TOLD


def test_without_proc_the_version_and_the_start_are_told(ending):
    ending(process_numbers.TRIES)
    assert told() == {"saga_build", "saga_process_start_time_seconds"}
