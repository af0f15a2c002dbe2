"""Whether a participant should be called: who is let in, who is put off, and for how long."""

import threading

import pytest

from infrastructure.guard import BUSY_WAIT, FOR_UNDO, LONGEST_PAUSE, Entry, Guard, Refusal


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def guard(time):
    return Guard(failures=3, pause=10.0, limit=4, clock=time)


def call(guard, *, healthy, undo=False, name="svc"):
    """Whether the call went out."""
    entry = guard.enter(name, undo=undo)
    if isinstance(entry, Entry):
        guard.leave(entry, healthy=healthy)
    return isinstance(entry, Entry)


def opened(guard):
    for _ in range(3):
        assert call(guard, healthy=False)


def test_a_participant_that_answers_now_and_then_is_always_called(guard):
    for _ in range(10):
        assert call(guard, healthy=False)
        assert call(guard, healthy=False)
        assert call(guard, healthy=True)


def test_one_that_does_not_answer_several_times_in_a_row_is_not_called_for_a_while(guard, time):
    opened(guard)
    refusal = guard.enter("svc", undo=False)
    assert refusal.reason == "svc did not answer 3 times in a row"
    assert refusal.seconds == pytest.approx(10)
    time.now = 9.9
    assert not call(guard, healthy=True)
    time.now = 10
    assert call(guard, healthy=True)
    assert call(guard, healthy=False)


def test_another_participant_is_called_as_before(guard):
    opened(guard)
    assert call(guard, healthy=True, name="other")


def test_a_single_probe_decides(guard, time):
    opened(guard)
    time.now = 10
    probe = guard.enter("svc", undo=False)
    assert probe == Entry("svc", probe=True)
    assert guard.enter("svc", undo=True).seconds == BUSY_WAIT
    guard.leave(probe, healthy=False)
    assert guard.enter("svc", undo=False).seconds == pytest.approx(20)
    time.now = 30
    assert call(guard, healthy=True)
    assert all(call(guard, healthy=True) for _ in range(5))


def test_the_pause_grows_to_a_limit(guard, time):
    opened(guard)
    for _ in range(10):
        time.now += LONGEST_PAUSE
        assert call(guard, healthy=False)
    assert guard.enter("svc", undo=False).seconds == pytest.approx(LONGEST_PAUSE)


def test_undo_probes_first(guard, time):
    opened(guard)
    time.now = 5
    assert not call(guard, healthy=True)
    assert call(guard, healthy=True, undo=True)
    assert call(guard, healthy=True)


def test_a_breaker_that_is_switched_off_never_opens(time):
    guard = Guard(failures=0, clock=time)
    assert all(call(guard, healthy=False) for _ in range(100))


def test_a_slow_participant_has_a_limit_and_undo_has_slots_of_its_own(guard):
    entry = Entry("svc", probe=False)
    assert [guard.enter("svc", undo=False) for _ in range(4 - FOR_UNDO)] == [entry] * (4 - FOR_UNDO)
    refusal = guard.enter("svc", undo=False)
    assert refusal.reason == "svc is busy: 2 calls are under way"
    assert refusal.seconds == BUSY_WAIT
    assert [guard.enter("svc", undo=True) for _ in range(FOR_UNDO)] == [entry] * FOR_UNDO
    assert isinstance(guard.enter("svc", undo=True), Refusal)
    assert isinstance(guard.enter("other", undo=False), Entry)
    guard.leave(entry, healthy=True)
    assert guard.enter("svc", undo=True) == entry


def test_a_call_from_before_the_opening_is_no_probe(guard, time):
    early = guard.enter("svc", undo=False)
    opened(guard)
    time.now = 10
    probe = guard.enter("svc", undo=False)
    guard.leave(early, healthy=False)
    assert guard.enter("svc", undo=True).seconds == BUSY_WAIT, "the probe is still out"
    guard.leave(probe, healthy=True)
    assert call(guard, healthy=True)


def test_a_call_that_finds_no_slot_takes_the_next_that_is_freed(time):
    guard = Guard(limit=3, clock=time)
    first = guard.enter("svc", undo=False)
    freed = threading.Thread(target=lambda: guard.leave(first, healthy=True))
    entered: list[object] = []
    waiting = threading.Thread(target=lambda: entered.append(guard.enter("svc", undo=False)))
    waiting.start()
    freed.start()
    waiting.join()
    freed.join()
    assert entered == [Entry("svc", probe=False)]


def test_an_open_circuit_is_told_with_the_time_after_which_nobody_knows_any_more(time):
    told: list[tuple[str, float]] = []
    guard = Guard(failures=2, pause=1.0, clock=time, observe=lambda *change: told.append(change))
    for _ in range(3):
        call(guard, healthy=False)
    assert told == [("svc", 0), ("svc", 61.0)]
    for now, healthy in ((1, False), (3, True), (3, True)):
        time.now = now
        call(guard, healthy=healthy)
    assert told[2:] == [("svc", 60.0), ("svc", 62.0), ("svc", 60.0), ("svc", 0)], "each probe, and what it brought"
