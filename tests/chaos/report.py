"""How large a run is to be, and what is told about it: by fault, by workflow, and what was violated."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.faults import Fault
from tests.chaos.invariants import FINISHED, Violation, history
from tests.chaos.plan import QUICK_RATE, Tally
from tests.chaos.workloads import WORKLOADS

SHOWN = 10
"""Histories of violated sagas that are printed whole."""
ENDS = (*sorted(FINISHED), "STUCK")


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
    workflows: tuple[str, ...] = tuple(WORKLOADS)
    moments: tuple[tuple[float, Fault], ...] = ()
    restarts: tuple[float, float] | None = None
    """Between these shares PostgreSQL is restarted every five seconds."""
    patient: bool = False
    quick_rate: float = QUICK_RATE
    to_rest: float = 60.0
    """Seconds after the last order within which every saga is at rest."""
    to_arrive: float = 20.0
    """Seconds after that within which every message is where it belongs."""

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
        return "\n".join([*self._faults(), "", *self._workflows(), "", *self._summary(), *self._violated()])

    @property
    def _broken(self) -> set[str]:
        return {violation.saga_id for violation in self.violations if violation.saga_id}

    def _faults(self) -> list[str]:
        rows = [("fault", "injected", "sagas", "violations")]
        for fault in self.tally.expected:
            touched = self.tally.touched[fault]
            counts = (self.tally.injected[fault], len(touched), len(touched & self._broken))
            rows.append((fault.value, *map(str, counts)))
        return _aligned(rows)

    def _workflows(self) -> list[str]:
        rows: list[Sequence[str]] = [
            ("workflow", "sagas", *(status.lower() for status in ENDS), "dos", "undos", "violations")
        ]
        for name in self.size.workflows:
            sagas = {saga.id: saga for saga in self.evidence.sagas.values() if saga.workflow == name}
            ends = Counter(saga.status for saga in sagas.values())
            done = Counter(each.operation for saga_id in sagas for each in self.evidence.effects.get(saga_id, []))
            counts = (len(sagas), *(ends[status] for status in ENDS), done["do"], done["undo"])
            rows.append((name, *map(str, counts), str(len(sagas.keys() & self._broken))))
        return _aligned(rows)

    def _summary(self) -> list[str]:
        return [f"{name}: {value}" for name, value in self.facts.items()]

    def _violated(self) -> list[str]:
        lines = [f"violated: {each.rule}: saga {each.saga_id}: {each.detail}" for each in self.violations]
        shown = list(dict.fromkeys(each.saga_id for each in self.violations if each.saga_id))[:SHOWN]
        lines += [history(self.evidence, saga_id) for saga_id in shown]
        return lines + [f"never injected: {fault.value}" for fault in self.missing]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table: the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([name.ljust(widths[0]), *map(str.rjust, cells, widths[1:])]) for name, *cells in rows]
