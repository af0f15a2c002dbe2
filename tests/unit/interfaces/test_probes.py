"""Readiness is told in time, also where a part hangs."""

import threading
import time

import pytest

from application.queries import Check
from interfaces.health import Probes

SECONDS = 0.2


@pytest.fixture
def hang():
    """A check that hangs until the test lets it go, and counts how often it was begun."""
    released, begun = threading.Event(), []

    def check():
        begun.append(threading.current_thread())
        released.wait(20)
        return Check(ok=True)

    check.release, check.begun = released.set, begun
    yield check
    released.set()
    for thread in begun:
        thread.join()


def test_each_part_says_what_it_found():
    checks = {"database": lambda: Check(ok=True), "gateway": lambda: Check(ok=False, detail="refused")}

    assert Probes(20).results(checks) == {name: check() for name, check in checks.items()}


def test_a_check_that_breaks_is_a_part_that_does_not_work():
    assert Probes(20).results({"database": lambda: 1 / 0}) == {"database": Check(ok=False, detail="ZeroDivisionError")}


def test_parts_that_hang_are_told_of_together_and_in_time(hang):
    began = time.monotonic()
    found = Probes(SECONDS).results({"database": hang, "worker": hang, "gateway": lambda: Check(ok=True)})

    assert time.monotonic() - began < 5 * SECONDS
    late = Check(ok=False, detail="no answer within 0.2 s")
    assert found == {"database": late, "worker": late, "gateway": Check(ok=True)}


def test_a_part_that_hangs_is_not_asked_again_until_it_answers(hang):
    probes = Probes(SECONDS)
    for _ in range(3):
        assert not probes.results({"database": hang})["database"].ok
    assert len(hang.begun) == 1

    hang.release()
    hang.begun[0].join()

    assert probes.results({"database": hang})["database"].ok
    assert len(hang.begun) == 2
