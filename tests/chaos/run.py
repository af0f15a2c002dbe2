"""One run: the load, the moments at which the whole system suffers, the end, and the verdict.

Faults of single sagas are the plan's and happen by themselves; what is done here is done to the whole system.
"""

import itertools
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2

from application.saga_orchestrator import LEASE
from tests.chaos.clients import Clients, Note
from tests.chaos.faults import MOMENTS, Fault
from tests.chaos.invariants import Evidence, Violation, check, gather, history
from tests.chaos.plan import QUICK_RATE, Plan, Script, Tally
from tests.chaos.system import SERVICES, System

TO_RECOVER = LEASE + 10.0
"""Seconds after a restart within which every saga that was under way is at rest."""
BETWEEN_RESTARTS = 5.0
AWAY = 0.8
"""Seconds that the gateway refuses connections."""
TICK = 0.1
PROGRESS_EVERY = 5.0
MAKE_UPS = 4
"""Rounds of orders for faults that met nobody, before the run fails for it."""
TO_BE_BUSY = 2.0
"""Seconds in which the clients get as many sagas under way as they can, before everything is killed."""
TO_MEET = 35.0
"""Seconds in which an order meets its fault: one that lost its driver before goes on when its lease has expired."""
SHOWN = 10
"""Histories of violated sagas that are printed whole."""

_LIVE = "SELECT id::text FROM sagas WHERE status NOT IN ('COMPLETED', 'COMPENSATED', 'FAILED', 'STUCK')"
_REPLACED = "SELECT count(*) FROM saga_evenements WHERE type = 'driver_replaced'"
_REFUSED = "SELECT DISTINCT saga_id::text FROM saga_evenements WHERE reason LIKE 'cannot connect:%'"
_STATUSES = "SELECT status::text, count(*) FROM sagas GROUP BY status ORDER BY status"


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a run is, and when what happens: `moments` are shares of the orders that have begun."""

    sagas: int
    clients: int
    pace: float | None
    quotas: Mapping[Fault, int]
    moments: tuple[tuple[float, Fault], ...] = ()
    restarts: tuple[float, float] | None = None
    """Between these shares PostgreSQL is restarted every five seconds."""
    patient: bool = False
    quick_rate: float = QUICK_RATE
    to_rest: float = 60.0
    """Seconds after the last order within which every saga is at rest."""

    @property
    def faults(self) -> set[Fault]:
        restarted = {Fault.POSTGRES_RESTARTED} if self.restarts else set()
        return set(self.quotas) | {fault for _, fault in self.moments} | restarted


@dataclass(slots=True)
class Result:
    """What a run found."""

    size: Size
    seed: int
    tally: Tally
    evidence: Evidence
    violations: list[Violation]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def missing(self) -> list[Fault]:
        return self.tally.missing()

    @property
    def passed(self) -> bool:
        return not self.violations and not self.missing

    def report(self) -> str:
        """The table, and the history of what was violated."""
        return "\n".join([*self._table(), "", *self._summary(), *self._violated()])

    def _table(self) -> list[str]:
        broken = {violation.saga_id for violation in self.violations if violation.saga_id}
        rows = [("fault", "injected", "sagas", "violations")]
        for fault in self.tally.expected:
            touched = self.tally.touched[fault]
            counts = (self.tally.injected[fault], len(touched), len(touched & broken))
            rows.append((fault.value, *map(str, counts)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]) for name, *cells in rows]

    def _summary(self) -> list[str]:
        return [f"{name}: {value}" for name, value in self.facts.items()]

    def _violated(self) -> list[str]:
        lines = [f"violated: {each.rule}: saga {each.saga_id}: {each.detail}" for each in self.violations]
        shown = list(dict.fromkeys(each.saga_id for each in self.violations if each.saga_id))[:SHOWN]
        lines += [history(self.evidence, saga_id) for saga_id in shown]
        return lines + [f"never injected: {fault.value}" for fault in self.missing]


def run(size: Size, seed: int, directory: Path, mutation: str | None = None, *, talk: bool = False) -> Result:
    """Run it all. Needs the main thread, which every process of the system is started from."""
    plan = Plan(seed, size.sagas, size.quotas, quick_rate=size.quick_rate, patient=size.patient)
    tally = Tally(size.faults)
    begun = time.monotonic()
    with System(directory, plan, tally, mutation) as system:
        scenario = Scenario(size, system, talk=talk)
        scenario.run()
        evidence = gather(system.database, directory, scenario.notes, doomed(tally))
        facts = scenario.facts(begun)
    return Result(size, seed, tally, evidence, [*check(evidence), *scenario.violations], facts)


def doomed(tally: Tally) -> set[str]:
    """The sagas whose undo was made to fail for good."""
    return tally.touched[Fault.UNDO_NEVER_WORKS]


class Scenario:
    """What happens during one run."""

    def __init__(self, size: Size, system: System, *, talk: bool) -> None:
        self.violations: list[Violation] = []
        self.notes: list[Note] = []
        self._size, self._system, self._talk = size, system, talk
        self._plan, self._tally = system.plan, system.tally
        self._clients = Clients(system.ports["api"], size.clients, size.pace)
        self._moments = deque(sorted(size.moments, key=lambda moment: moment[0]))
        self._services = itertools.cycle(SERVICES)
        self._restarted_at = 0.0
        self._spoken_at = 0.0
        self._recoveries: list[float] = []
        self._awaited: set[str] = set()
        self._awaited_since = 0.0

    def run(self) -> None:
        """The load, more of it for what met nobody, and the end."""
        try:
            self._load(self._plan.scripts)
            for _ in range(MAKE_UPS):
                if self._tally.missing():
                    self._make_up()
            self._rest()
        finally:
            self._clients.stop.set()
        self.notes += self._clients.notes
        self._tally.touched[Fault.REFUSED].update(saga_id for (saga_id,) in self._system.database.rows(_REFUSED))

    def facts(self, begun: float) -> dict[str, Any]:
        """What is worth knowing beside the table."""
        logs = self._system.logs()
        database = self._system.database
        return {
            "seed": self._plan.seed,
            "orders": len(self.notes),
            "sagas": dict(database.rows(_STATUSES)),
            "calls": self._system.gateway.calls,
            "drivers replaced": database.rows(_REPLACED)[0][0],
            "checkpoints that moved nothing": self._system.wire.fenced,
            "answers": self._answers(),
            "at rest after everything was killed (s)": [round(seconds, 1) for seconds in self._recoveries],
            "tracebacks in the logs": logs.count("Traceback"),
            "seconds": round(time.monotonic() - begun),
        }

    def _answers(self) -> dict[Any, int]:
        told: dict[Any, int] = {}
        for note in self.notes:
            for answer in note.answers:
                told[answer.status] = told.get(answer.status, 0) + 1
            if note.silences:
                told["none"] = told.get("none", 0) + note.silences
        return dict(sorted(told.items(), key=str))

    # --- phases -------------------------------------------------------------------------------------------------

    def _load(self, scripts: list[Script]) -> None:
        """Place these orders, and let happen meanwhile what is to happen."""
        self._clients.run(scripts)
        while self._clients.busy or self._awaited:
            self._tick()

    def _make_up(self) -> None:
        """An order more for each fault that met nobody yet."""
        missing = self._tally.missing()
        self._moments += [(0.0, fault) for fault in missing if fault in MOMENTS]
        self._load([self._plan.add(fault) for fault in missing if fault not in MOMENTS])
        end = time.monotonic() + TO_MEET
        while self._tally.missing() and self._rows(_LIVE) and time.monotonic() < end:
            self._tick()

    def _rest(self) -> None:
        """Nothing new; what is under way comes to its end."""
        end = time.monotonic() + self._size.to_rest
        while self._rows(_LIVE) and time.monotonic() < end:
            self._tick()
        self._system.settle()

    # --- what happens meanwhile ---------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._system.tend()
        share = self._clients.issued / max(1, self._size.sagas)
        while self._moments and self._moments[0][0] <= share and not self._awaited:
            self._happen(self._moments.popleft()[1])
        window = self._size.restarts
        due = time.monotonic() - self._restarted_at >= BETWEEN_RESTARTS
        if window and window[0] <= share < window[1] and due and not self._awaited:
            self._happen(Fault.POSTGRES_RESTARTED)
        self._look_at_recovery()
        self._speak()
        time.sleep(TICK)

    def _happen(self, fault: Fault) -> None:
        happenings: dict[Fault, Callable[[], None]] = {
            Fault.REFUSED: lambda: self._system.refuse(AWAY),
            Fault.PARTICIPANT_KILLED: lambda: self._system.kill_participant(next(self._services)),
            Fault.POSTGRES_RESTARTED: lambda: self._restart_postgres(Fault.POSTGRES_RESTARTED, "fast"),
            Fault.POSTGRES_KILLED: lambda: self._restart_postgres(Fault.POSTGRES_KILLED, "immediate"),
            Fault.EVERYTHING_KILLED: self._kill_everything,
        }
        happenings[fault]()

    def _restart_postgres(self, fault: Fault, mode: str) -> None:
        touched = self._live()
        self._system.restart_postgres(mode)
        self._restarted_at = time.monotonic()
        self._tally.count(fault, *touched)

    def _kill_everything(self) -> None:
        """Kill all at once, start all again, and watch what was under way come to rest."""
        self._plan.calm = True
        self._clients.hurry = True
        end = time.monotonic() + TO_BE_BUSY
        while len(self._live()) < self._size.clients // 2 and time.monotonic() < end:
            self._system.tend()
        self._system.kill_everything()
        self._clients.hurry = False
        self._system.start_postgres()
        self._awaited = self._live()
        self._tally.count(Fault.EVERYTHING_KILLED, *self._awaited)
        self._system.start_drivers()
        self._awaited_since = time.monotonic()

    def _look_at_recovery(self) -> None:
        if not self._awaited:
            return
        seconds = time.monotonic() - self._awaited_since
        self._awaited &= self._live()
        late = seconds > TO_RECOVER
        if self._awaited and not late:
            return
        rule = f"what was under way when everything was killed is at rest {TO_RECOVER:.0f} s after the restart"
        self.violations += [Violation(rule, saga_id, f"{seconds:.1f} s") for saga_id in sorted(self._awaited)]
        self._recoveries.append(seconds)
        self._awaited, self._plan.calm = set(), False

    def _live(self) -> set[str]:
        """The sagas under way, but those whose undo fails at every repetition: they take long by design."""
        return {saga_id for (saga_id,) in self._rows(_LIVE)} - doomed(self._tally)

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        """None while PostgreSQL is away."""
        try:
            return self._system.database.rows(statement)
        except psycopg2.OperationalError:
            return []

    def _speak(self) -> None:
        now = time.monotonic()
        if self._talk and now - self._spoken_at >= PROGRESS_EVERY:
            self._spoken_at = now
            begun = f"{self._clients.issued} of {self._size.sagas} orders begun"
            injected = f"{sum(self._tally.injected.values())} faults"
            phase = ", recovering from the death of everything" if self._awaited else ""
            say(f"{begun}, {len(self._rows(_LIVE))} sagas under way, {injected}{phase}")
