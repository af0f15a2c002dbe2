"""One run: the load, the moments at which the whole system suffers, the end, and the verdict.

Faults of single sagas are the plan's and happen by themselves; what is done here is done to the whole system.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import psycopg2

from application.saga_orchestrator import LEASE
from tests.chaos.clients import Clients, Note
from tests.chaos.evidence import Evidence, Participants, commands, stored_sagas
from tests.chaos.faults import MOMENTS, WAITS_IN_VAIN, Fault
from tests.chaos.invariants import Violation, check
from tests.chaos.plan import Plan, Script, Tally
from tests.chaos.report import Result, Size, say
from tests.chaos.system import System
from tests.chaos.workloads import WORKLOADS

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

_LIVE = "SELECT id::text FROM sagas WHERE status NOT IN ('COMPLETED', 'COMPENSATED', 'FAILED', 'STUCK')"
_LIVE_WORKFLOWS = _LIVE.replace("id::text", "id::text, workflow")
_SEQS = "SELECT id::text, seq FROM sagas"
_REPLACED = "SELECT count(*) FROM saga_evenements WHERE type = 'driver_replaced'"
_REFUSED = "SELECT DISTINCT saga_id::text FROM saga_evenements WHERE reason LIKE 'cannot connect:%'"
_STATUSES = "SELECT status::text, count(*) FROM sagas GROUP BY status ORDER BY status"


def run(size: Size, seed: int, directory: Path, mutation: str | None = None, *, talk: bool = False) -> Result:
    """Run it all. Needs the main thread, which every process of the system is started from."""
    plan = Plan(
        seed, size.sagas, size.quotas, workflows=size.workflows, quick_rate=size.quick_rate, patient=size.patient
    )
    tally = Tally(size.faults)
    begun = time.monotonic()
    with System(directory, plan, tally, mutation) as system:
        scenario = Scenario(size, system, talk=talk)
        scenario.run()
        evidence = scenario.evidence()
        facts = scenario.facts(begun)
    return Result(size, seed, tally, evidence, [*check(evidence), *scenario.violations], facts)


class Scenario:
    """What happens during one run."""

    def __init__(self, size: Size, system: System, *, talk: bool) -> None:
        self.violations: list[Violation] = []
        self.notes: list[Note] = []
        self._size, self._system, self._talk = size, system, talk
        self._plan, self._tally = system.plan, system.tally
        self._clients = Clients(system.ports["api"], size.clients, size.pace)
        self._moments = deque(sorted(size.moments, key=lambda moment: moment[0]))
        services = system.services.copy()
        Random(f"{self._plan.seed}:services").shuffle(services)
        self._services = itertools.cycle(services)
        self._participants = Participants(system.directory, self._plan.workloads)
        self._before = self._participants.levels()
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

    def evidence(self) -> Evidence:
        """All that is known; nothing may move any more."""
        return Evidence(
            sagas=stored_sagas(self._system.database),
            effects=self._participants.effects(),
            before=self._before,
            after=self._participants.levels(),
            things=self._participants.things(),
            commands=commands(self._system.database),
            settled=self._participants.settled(),
            heard=self._heard(),
            notes=self.notes,
            doomed=frozenset(self._doomed),
        )

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
            "events told again": self._system.audience.again if self._system.audience else 0,
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
        end = time.monotonic() + self._size.to_arrive
        while not self._has_arrived() and time.monotonic() < end:
            self._tick()

    def _has_arrived(self) -> bool:
        """Whether every message is where it belongs: commands are settled, and events heard."""
        settled, heard = self._participants.settled(), self._heard()
        told = heard is None or all(len(heard.get(saga_id, [])) >= seq for saga_id, seq in self._rows(_SEQS))
        return told and all((key, action) in settled for _, key, action in commands(self._system.database))

    def _heard(self) -> dict[str, list[int]] | None:
        """By saga, the numbers of its events, as they came."""
        return dict(self._system.audience.heard) if self._system.audience else None

    # --- what happens meanwhile ---------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._system.tend()
        self._system.message_faults.look()
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
            Fault.BROKER_CUT: self._cut_broker,
            Fault.BROKER_KILLED: self._kill_broker,
            Fault.RELAY_KILLED: self._kill_relay,
            Fault.EVERYTHING_KILLED: self._kill_everything,
        }
        happenings[fault]()

    def _restart_postgres(self, fault: Fault, mode: str) -> None:
        touched = self._live()
        self._system.restart_postgres(mode)
        self._restarted_at = time.monotonic()
        self._tally.count(fault, *touched)

    def _cut_broker(self) -> None:
        self._tally.touched[Fault.BROKER_CUT] |= self._speaking()
        self._system.cut_broker(AWAY)

    def _kill_broker(self) -> None:
        touched = self._speaking()
        self._system.kill_broker()
        self._system.start_broker()
        self._tally.count(Fault.BROKER_KILLED, *touched)

    def _kill_relay(self) -> None:
        self._tally.touched[Fault.RELAY_KILLED] |= self._speaking()
        self._system.wire.kill_relay = True

    def _speaking(self) -> set[str]:
        """The sagas under way that send messages."""
        return {saga_id for saga_id, workflow in self._rows(_LIVE_WORKFLOWS) if WORKLOADS[workflow].speaks}

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
        if self._system.speaks:
            self._system.start_broker()
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
        """The sagas under way, but those that take long by design.

        Their undo fails at every repetition, or they wait out the time for a message that does not come.
        """
        waiting = {saga_id for fault in WAITS_IN_VAIN for saga_id in self._tally.touched[fault]}
        return {saga_id for (saga_id,) in self._rows(_LIVE)} - self._doomed - waiting

    @property
    def _doomed(self) -> set[str]:
        """The sagas whose undo was made to fail for good."""
        return self._tally.touched[Fault.UNDO_NEVER_WORKS]

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
