"""Who meets what: the orders of a run, how their clients behave, and the faults that strike them.

All of it follows from the seed: order number 17 of seed 3 is always the same order, placed in the same way, and meets
the same faults at the same calls. What a run adds of its own is timing. The quota of each fault is dealt out to orders
first, so that none is left to luck; cheap faults are drawn for any other call besides.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Any
from uuid import UUID

from participants.assortment import BLOCKED_CLIENT, PRODUCTS, STORES
from tests.chaos.faults import AT_A_CALL, AT_A_CHECKPOINT, QUICK, Fault

PLENTY, SCARCE, NONE = PRODUCTS[5].id, PRODUCTS[3].id, PRODUCTS[4].id
QUICK_RATE = 0.03
LAST_STRUCK_ATTEMPT = 3
"""Later attempts of a call are left alone by what is drawn, so that only what is planned to fail for good does."""
CHECKPOINTS = 6
"""So many checkpoints, at least, has an order of two lines."""


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
    """One order: what is asked for, how, and which fault it was dealt."""

    number: int
    correlation_id: str
    order: Mapping[str, Any]
    manner: Manner
    engines_own_api: bool
    fault: Fault | None = None
    call: str = ""
    """The call that the fault strikes: `step[item]:action` or `checkpoint`."""
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
        quick_rate: float = QUICK_RATE,
        patient: bool = False,
    ) -> None:
        self.seed = seed
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
        if script.fault and script.call == call and script.attempt in {attempt, 0}:
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
        if Fault.STOP_BEYOND_LEASE in deck:
            deck.remove(Fault.STOP_BEYOND_LEASE)
            deck.insert(2, Fault.STOP_BEYOND_LEASE)
        return deck + [None] * (sagas - len(deck))

    def _script(self, number: int, fault: Fault | None) -> Script:
        draw = Random(f"{self.seed}:{number}")
        call, attempt = _place(draw, fault)
        to_be_undone = call.endswith(":undo")
        return Script(
            number=number,
            correlation_id=f"chaos-{self.seed}-{number}",
            order=_order(draw, planned=fault is not None, to_be_undone=to_be_undone),
            manner=draw.choices(list(_MANNERS), weights=list(_MANNERS.values()))[0],
            engines_own_api=draw.random() < 0.4,
            fault=fault,
            call=call,
            attempt=attempt,
        )


def _place(draw: Random, fault: Fault | None) -> tuple[str, int]:
    """The call, or checkpoint, at which a planned fault strikes an order of two lines."""
    effects = ["reservation_stock[0]:do", "reservation_stock[1]:do", "creation_commande:do"]
    undos = ["reservation_stock[1]:undo", "reservation_stock[0]:undo"]
    reads = ["verification_stock[0]:do", "information_produit[1]:do"]
    if fault is Fault.CREATION_ANSWER_LOST:
        return "creation", 1
    if fault in AT_A_CHECKPOINT:
        return "checkpoint", draw.randint(1, CHECKPOINTS)
    if fault in AT_A_CALL:
        return draw.choice(effects + effects + undos + reads), 1
    places = {
        Fault.KILL_BEFORE_CALL: (effects + undos[:1] + reads[:1], 1),
        Fault.KILL_AFTER_CALL: (effects + undos[:1], 1),
        Fault.KILL_BETWEEN_UNDOS: (undos[1:], 1),  # with two lines, the first line's undo is the second undo
        Fault.STOP_BEYOND_LEASE: (effects, 1),
        Fault.TWO_DRIVERS: (effects + undos, 1),
        Fault.ANSWERS_ALL_LOST: (effects, 0),
        Fault.DO_AFTER_UNDO: (effects[1:], 0),
        Fault.UNDO_NEVER_WORKS: (undos, 0),
    }
    calls, attempt = places.get(fault, ([""], 1))
    return draw.choice(calls), attempt


def _order(draw: Random, *, planned: bool, to_be_undone: bool) -> dict[str, Any]:
    """An order: most succeed; of the others some are refused at the stock check, some at the last step."""
    chance = 1.0 if planned else draw.random()
    product, units, client = PLENTY, draw.randint(1, 5), str(UUID(int=draw.getrandbits(128), version=4))
    lines = 2 if planned else draw.randint(1, 3)
    if to_be_undone or chance < 0.12:
        client = BLOCKED_CLIENT
    elif chance < 0.17:
        product, units = NONE, 30
    elif chance < 0.22:
        product, units = SCARCE, 1
    return {
        "client_id": client,
        "magasin_id": draw.choice(STORES),
        "lignes": [{"produit_id": product, "quantite": units} for _ in range(lines)],
    }


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
