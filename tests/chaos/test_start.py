"""What a chaos run met about starting: found there, held here."""

import os
import signal
import time
from urllib.request import Request

import pytest

from devstack.processes import answers
from tests.chaos.drivers import PROC, children
from tests.chaos.plan import Plan, Tally
from tests.chaos.system import OWN_KEY, System

pytestmark = pytest.mark.skipif(not (PROC / "net" / "tcp").exists(), reason="a driver is found in Linux's /proc")


def test_a_process_of_gunicorn_that_is_replaced_while_postgresql_is_away_waits_for_it(tmp_path):
    with System(tmp_path, Plan(1, 0, {}, workflows=("commandes",)), Tally([])) as system:
        system.stop_postgres("fast")
        [dead, *_] = system.driver_pids()
        os.kill(dead, signal.SIGKILL)
        _until(lambda: "waiting for the database" in system.logs(), system)
        system.start_postgres()
        ready = Request(f"http://127.0.0.1:{system.ports['api']}/api/saga/health/", headers={"X-API-Key": OWN_KEY})
        _until(lambda: answers(ready), system)
        assert len(children(system.gunicorn)) == 2


def _until(condition, system):
    end = time.monotonic() + 30
    while not condition():
        system.tend()  # raises when gunicorn has ended
        assert time.monotonic() < end
        time.sleep(0.05)
