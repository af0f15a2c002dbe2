"""Spans that wait to be sent: a thread of each process sends them, a batch at a time, and nobody waits for it.

What cannot be sent is counted and logged, and lost: when more waits than there is room for, when the collector does not
take it, and when the process ends before it could be sent.
"""

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from infrastructure.saga_spans import Span

logger = logging.getLogger("saga.tracing")
SENT, REFUSED, OVERFLOWED, LEFT = RESULTS = ("sent", "refused", "overflowed", "left")
"""What became of a span."""
SECONDS_TO_END: Final = 3.0
"""How long a process that ends tries to send what waits: within the ten seconds that a container has."""


class SpanQueue:
    """A queue with its thread, which begins with the first span, in each process for itself.

    `send` sends a batch and says whether it was taken; `observe` is told what became of how many.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Span]], bool],
        observe: Callable[[str, int], None],
        *,
        room: int = 16_384,
        batch: int = 2_048,
        delay: float = 1.0,
    ) -> None:
        self._send, self._observe = send, observe
        self._room, self._batch, self._delay = room, min(batch, room), delay
        self._begin_empty()
        forget = weakref.WeakMethod(self._begin_empty)
        os.register_at_fork(after_in_child=lambda: (own := forget()) and own())

    def _begin_empty(self) -> None:
        """As in a process that was just forked: what waits is its parent's."""
        self._waiting: deque[Span] = deque()
        self._under_way = self._overflowed = 0
        self._wake, self._ending = threading.Event(), threading.Event()
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, spans: Iterable[Span]) -> None:
        """Have these sent soon; of those that there is no room for, only their number is kept."""
        waiting = self._waiting
        for span in spans:
            if len(waiting) < self._room:
                waiting.append(span)
            else:
                self._overflowed += 1
        if self._thread is None:
            self._start()
        if len(waiting) >= self._batch:
            self._wake.set()

    def end(self, seconds: float = SECONDS_TO_END) -> None:
        """Send what waits, for so long at most."""
        self._ending.set()
        self._wake.set()
        if self._thread:
            self._thread.join(seconds)
        self._lost(LEFT, len(self._waiting) + self._under_way, "the process ended before they could be sent")

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wake.wait(self._delay)
            self._wake.clear()
            self.flush()
        self.flush()

    def flush(self) -> None:
        """Send what waits, however long that takes."""
        with self._sending:
            self._send_all()

    def _send_all(self) -> None:
        while count := min(len(self._waiting), self._batch):
            batch = [self._waiting.popleft() for _ in range(count)]
            self._under_way = count
            taken = self._try(batch)
            self._under_way = 0
            if taken:
                self._observe(SENT, count)
            else:
                self._lost(REFUSED, count, "the collector did not take them")
        overflowed, self._overflowed = self._overflowed, 0
        self._lost(OVERFLOWED, overflowed, "more were waiting than there is room for")

    def _try(self, batch: Sequence[Span]) -> bool:
        try:
            return self._send(batch)
        except Exception:
            logger.exception("spans could not be sent")
            return False

    def _lost(self, result: str, count: int, reason: str) -> None:
        if count:
            self._observe(result, count)
            logger.warning("spans are lost", extra={"spans": count, "reason": reason})
