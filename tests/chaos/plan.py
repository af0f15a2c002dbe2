"""Who meets what: the orders of a run, how their clients behave, and the faults that strike them.

All of it follows from the seed: order number 17 of seed 3 is always the same order, placed in the same way, and meets
the same faults at the same calls. What a run adds of its own is timing. The quota of each fault is dealt out to orders
first, so that none is left to luck; cheap faults are drawn for any other call besides.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Any

from tests.chaos.faults import AT_A_CALL, AT_A_CHECKPOINT, AT_A_MESSAGE, QUICK, WAITS_IN_VAIN, Fault
from tests.chaos.workloads import ENGINE, WORKLOADS, Api, Wish, Workload

QUICK_RATE = 0.03
LAST_STRUCK_ATTEMPT = 3
"""Later attempts of a call are left alone by what is drawn, so that only what is planned to fail for good does."""
MESSAGE = "message"
"""Where a fault strikes that is one of a saga's message."""


class Manner(Enum):
    """How a client places its order."""

    WAITS = auto()
    REPEATS = auto()  # with an Idempotency-Key, until it is told the end
    TWICE_AT_ONCE = auto()  # the same request under one Idempotency-Key from two connections
    ASYNCHRONOUS = auto()  # Prefer: respond-async
    IMPATIENT = auto()  # Prefer: wait=1
    HANGS_UP = auto()


_MANNERS = {
    Manner.WAITS: 40,
    Manner.REPEATS: 18,
    Manner.TWICE_AT_ONCE: 7,
    Manner.ASYNCHRONOUS: 15,
    Manner.IMPATIENT: 10,
    Manner.HANGS_UP: 10,
}


@dataclass(frozen=True, slots=True)
class Script:
    """One order: what is asked for, of which workflow, how, and which fault it was dealt."""

    number: int
    correlation_id: str
    workflow: str
    given: Mapping[str, Any]
    manner: Manner
    api: Api
    fault: Fault | None = None
    call: str = ""
    """The call that the fault strikes: `step[item]:action`, `step` for all its calls, `checkpoint` or `message`."""
    attempt: int = 1
    """Which attempt of it, or which checkpoint; 0 is every one."""


class Plan:
    """The scripts of a run, and what strikes each call and checkpoint."""

    def __init__(
        self,
        seed: int,
        sagas: int,
        quotas: Mapping[Fault, int],
        *,
        workflows: Sequence[str] = tuple(WORKLOADS),
        quick_rate: float = QUICK_RATE,
        patient: bool = False,
    ) -> None:
        self.seed = seed
        self.workloads = [WORKLOADS[name] for name in workflows]
        self.patient = patient
        """Whether there is time for undos that use up all their repetitions, beside those that are refused at once."""
        self.calm = False
        """While true nothing is struck: a recovery is being measured."""
        self._quick_rate = quick_rate
        self._scripts: list[Script] = []
        for fault in self._dealt(sagas, quotas):
            self.add(fault)

    def add(self, fault: Fault | None) -> Script:
        """One more order."""
        script = self._script(len(self._scripts), fault)
        self._scripts.append(script)
        return script

    @property
    def scripts(self) -> list[Script]:
        return list(self._scripts)

    def script_of(self, correlation_id: str) -> Script | None:
        head, _, number = correlation_id.rpartition("-")
        if head != f"chaos-{self.seed}" or not number.isdecimal() or int(number) >= len(self._scripts):
            return None
        return self._scripts[int(number)]

    def strike(self, script: Script | None, call: str, attempt: int) -> Fault | None:
        """The fault that strikes this attempt of this call, or this checkpoint."""
        if script is None or (self.calm and script.fault is not Fault.UNDO_NEVER_WORKS):
            return None
        if script.fault and script.call in {call, call.rpartition(":")[0]} and script.attempt in {attempt, 0}:
            return script.fault
        if attempt > LAST_STRUCK_ATTEMPT or call in {"checkpoint", "creation"}:
            return None
        draw = self.draw(script, call, attempt)
        return draw.choice(QUICK) if draw.random() < self._quick_rate else None

    def draw(self, script: Script, call: str, attempt: int) -> Random:
        """The dice of this attempt."""
        return Random(f"{self.seed}:{script.number}:{call}:{attempt}")

    def undo_is_refused(self, script: Script) -> bool:
        """Whether an undo that never works is refused, which gives it up at once; else it fails at each repetition."""
        return not self.patient or self.draw(script, "refused", 0).random() < 0.5

    def _dealt(self, sagas: int, quotas: Mapping[Fault, int]) -> list[Fault | None]:
        """A fault, or none, for each order: what takes long comes first, the last sixth meets nothing planned."""
        deck: list[Fault | None] = [fault for fault, count in quotas.items() for _ in range(count)]
        room = max(len(deck), sagas * 5 // 6)
        deck += [None] * (room - len(deck))
        Random(f"{self.seed}:deck").shuffle(deck)
        slow = [fault for fault in deck if fault in {Fault.STOP_BEYOND_LEASE, *WAITS_IN_VAIN}]
        for fault in slow:
            deck.remove(fault)
            deck.insert(2, fault)
        return deck + [None] * (sagas - len(deck))

    def _script(self, number: int, fault: Fault | None) -> Script:
        draw = Random(f"{self.seed}:{number}")
        able = {workload.name: places for workload in self.workloads if (places := _places(workload, fault))}
        workload = WORKLOADS[draw.choices(list(able), [WORKLOADS[name].share for name in able])[0]]
        call, attempt = draw.choice(able[workload.name])
        own_api = workload.own_api if draw.random() < 0.6 else None
        return Script(
            number=number,
            correlation_id=f"chaos-{self.seed}-{number}",
            workflow=workload.name,
            given=workload.given(draw, Wish(number, _refused_at(draw, workload, fault, call), fault is not None)),
            manner=draw.choices(list(_MANNERS), weights=list(_MANNERS.values()))[0],
            api=own_api or ENGINE,
            fault=fault,
            call=call,
            attempt=attempt,
        )


def _places(workload: Workload, fault: Fault | None) -> list[tuple[str, int]]:
    """The calls or checkpoints, each with the attempt, at which a planned fault can strike a saga of this workflow.

    The more often one is named, the likelier it is struck.
    """
    reads, effects, undos = workload.reads(), workload.dos(), workload.undos()
    if fault is None:
        return [("", 1)]
    if fault is Fault.CREATION_ANSWER_LOST:
        return [("creation", 1)]
    if fault in AT_A_CHECKPOINT:
        return [("checkpoint", number) for number in range(1, workload.checkpoints() + 1)]
    if fault in AT_A_MESSAGE:
        return [(MESSAGE, 1)] if workload.speaks else []
    if fault in AT_A_CALL:
        return [(call, 1) for call in effects + effects + undos + reads[::2]]
    calls, attempt = {
        Fault.KILL_BEFORE_CALL: (effects + undos[:1] + reads[:1], 1),
        Fault.KILL_AFTER_CALL: (effects + undos[:1], 1),
        Fault.KILL_BETWEEN_UNDOS: (undos[1:], 1),
        Fault.STOP_BEYOND_LEASE: (effects, 1),
        Fault.TWO_DRIVERS: (effects + undos, 1),
        Fault.ANSWERS_ALL_LOST: (effects, 0),
        Fault.INQUIRY_LOST: (workload.inquired(), 0),
        Fault.DO_AFTER_UNDO: (effects, 0),
        Fault.UNDO_NEVER_WORKS: (undos, 0),
    }[fault]
    return [(call, attempt) for call in calls]


def _refused_at(draw: Random, workload: Workload, fault: Fault | None, call: str) -> str | None:
    """The step at which the order is refused: the last where an undo is wanted, and of the unplanned some anywhere."""
    if fault:
        return workload.last_step if call.endswith(":undo") else None
    chance = draw.random() * 100
    for step, share in workload.refusals.items():
        chance -= share
        if chance < 0:
            return step
    return None


class Tally:
    """How often each fault was injected, and into which sagas."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.expected = [fault for fault in Fault if fault in set(faults)]
        self.injected: dict[Fault, int] = defaultdict(int)
        self.touched: dict[Fault, set[str]] = defaultdict(set)

    def count(self, fault: Fault, *saga_ids: str) -> None:
        self.injected[fault] += 1
        self.touched[fault].update(saga_ids)

    def missing(self) -> list[Fault]:
        return [fault for fault in self.expected if not self.injected[fault]]
