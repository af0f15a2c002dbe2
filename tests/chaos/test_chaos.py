"""A short run of every fault there is, and that a run leaves no process behind, however it ends."""

import gc
import os
import signal
import subprocess
import sys
import time
from uuid import uuid4

import pytest

from tests.chaos.drivers import PROC, marked
from tests.chaos.faults import Fault
from tests.chaos.plan import Plan
from tests.chaos.run import run
from tests.chaos.sizes import SHORT, full
from tests.chaos.system import ROOT

pytestmark = pytest.mark.skipif(not (PROC / "net" / "tcp").exists(), reason="faults find their driver in Linux's /proc")
SECONDS_TO_BEGIN, SECONDS_TO_END = 90.0, 30.0


# The proxies cut connections on purpose; what the interpreter finds of them afterwards is not what is tested here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_saga_is_wrong_after_every_fault_there_is(tmp_path, capsys):
    result = run(SHORT, seed=1, directory=tmp_path)
    with capsys.disabled():
        print(f"\n{result.report()}")  # noqa: T201 - the table is what the run is for
    gc.collect()  # here, not in whichever test comes next
    assert not result.missing
    assert not result.violations


@pytest.mark.parametrize("size", [SHORT, full(5000)], ids=["short", "full"])
def test_every_fault_belongs_to_every_size(size):
    assert size.faults == set(Fault)


def test_the_same_seed_makes_the_same_plan():
    one, same, other = (Plan(seed, 200, SHORT.quotas) for seed in (1, 1, 2))
    assert one.scripts == same.scripts
    assert one.scripts != other.scripts
    assert [_strikes(one), _strikes(one)] == [_strikes(same), _strikes(one)]


def _strikes(plan):
    calls = ["reservation_stock[0]:do", "creation_commande:do", "reservation_stock[0]:undo", "checkpoint"]
    return [plan.strike(script, call, attempt) for script in plan.scripts for call in calls for attempt in (1, 2)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_run_that_ends_early_leaves_no_process_behind(number, tmp_path):
    marker = f"CHAOS_TEST={uuid4().hex}"
    environment = {**os.environ, **dict([marker.split("=")])}
    command = [sys.executable, "-m", "tests.chaos", "--sagas", "50", "--data", str(tmp_path)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _until(
            lambda: b"orders begun" in (tmp_path / "log").read_bytes() or process.poll() is not None, SECONDS_TO_BEGIN
        )
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert len(marked(marker)) > 10
    except BaseException:
        process.kill()  # the guard ends the rest
        raise
    process.send_signal(number)
    process.wait(SECONDS_TO_END)
    _until(lambda: not marked(marker))


def _until(condition, seconds=SECONDS_TO_END):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
