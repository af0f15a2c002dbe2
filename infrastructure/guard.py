"""Whether a participant should be called now: a circuit breaker and a bulkhead for each, in this process.

What may not go out is put off by the driver, at no cost to the saga's attempts. Undo goes first: it may use every slot,
and it probes a participant that was out of order before a do may.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

logger = logging.getLogger("saga")

SLOT_WAIT = 0.25
"""Seconds that a call waits for a slot: a quick participant frees one, and a slow one may not hold up the thread."""
FOR_UNDO = 2
"""Slots of each participant that only undo may take."""
BUSY_WAIT = 1.0
"""Seconds until a call that found no slot, or another one probing, is tried again."""
LONGEST_PAUSE = 60.0
FORGOTTEN_AFTER = 60.0
"""Seconds after its pause for which an open circuit is told as open when nobody comes to probe it."""


@dataclass(slots=True)
class _Service:
    calls: int = 0
    failures: int = 0
    pause: float = 0.0
    """How long the circuit is open this time; 0 while it is closed."""
    opened_at: float = 0.0
    probing: bool = False
    freed: threading.Condition = field(default_factory=threading.Condition)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call may not go out now, and in how many seconds to ask again."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Entry:
    """The right to one call; `probe`: it decides whether the circuit closes."""

    name: str
    probe: bool


class Guard:
    """The breakers and bulkheads of one process. `limit`: calls to a participant at once; 0 `failures`: never opens.

    `observe` is told for how many seconds from now a participant counts as not called; 0 when it is called again.
    """

    def __init__(
        self,
        failures: int = 5,
        pause: float = 5.0,
        limit: int = 12,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        self._failures, self._pause, self._limit = failures, pause, max(limit, FOR_UNDO + 1)
        self._slot_wait = SLOT_WAIT
        self._clock = clock
        self._observe = observe or (lambda _service, _seconds: None)
        self._services: dict[str, _Service] = {}
        self._lock = threading.Lock()

    def resize(self, limit: int, slot_wait: float) -> None:
        """Another limit, and another patience: a worker has other sagas to drive, a request has a client who waits."""
        self._limit, self._slot_wait = max(limit, FOR_UNDO + 1), slot_wait

    def enter(self, name: str, *, undo: bool) -> "Entry | Refusal":
        """Take a slot, or say why not. Whoever got an entry must `leave` with it."""
        service = self._service(name)
        limit = self._limit if undo else self._limit - FOR_UNDO
        with service.freed:
            refusal = self._closed_to(service, name, undo=undo)
            if refusal:
                return refusal
            if not service.freed.wait_for(lambda: service.calls < limit, timeout=self._slot_wait):
                return Refusal(f"{name} is busy: {service.calls} calls are under way", BUSY_WAIT)
            # The circuit may have opened while this one waited.
            refusal = self._closed_to(service, name, undo=undo)
            if refusal:
                return refusal
            service.calls += 1
            service.probing = bool(service.pause)
            if service.probing:
                self._observe(name, FORGOTTEN_AFTER)
            return Entry(name, probe=service.probing)

    def leave(self, entry: "Entry", *, healthy: bool | None) -> None:
        """Give the slot back, and say whether the participant gave an answer of its own; None: it was not asked."""
        name = entry.name
        service = self._service(name)
        with service.freed:
            service.calls -= 1
            was_open = bool(service.pause)
            if healthy:
                service.failures, service.pause = 0, 0.0
            elif healthy is not None:
                service.failures += 1
                if self._failures and (entry.probe or (not was_open and service.failures >= self._failures)):
                    service.pause = min(max(2 * service.pause, self._pause), LONGEST_PAUSE)
                    service.opened_at = self._clock()
                    self._observe(name, service.pause + FORGOTTEN_AFTER)
            if entry.probe or healthy:
                service.probing = False
            service.freed.notify_all()
            is_open = bool(service.pause)
            if was_open and not is_open:
                self._observe(name, 0)
        if is_open != was_open:
            words = "is not called for now" if is_open else "is called again"
            logger.warning("participant %s", words, extra={"service": name, "failures": service.failures})

    def _closed_to(self, service: _Service, name: str, *, undo: bool) -> Refusal | None:
        """Why the breaker lets this call not go out. Undo may probe after half the time."""
        if not service.pause:
            return None
        left = service.opened_at + service.pause * (0.5 if undo else 1.0) - self._clock()
        if left > 0:
            return Refusal(f"{name} did not answer {service.failures} times in a row", max(left, 0.05))
        return Refusal(f"{name} is being probed after it did not answer", BUSY_WAIT) if service.probing else None

    def _service(self, name: str) -> _Service:
        with self._lock:
            if name not in self._services:
                self._services[name] = _Service()
                self._observe(name, 0)
            return self._services[name]
