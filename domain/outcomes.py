"""How a call to a participant ends: four outcomes, and they are values, not exceptions.

The difference that matters is certainty. `Rejected` and `Unavailable` say that nothing was done;
`Unknown` says that it may have been, so what may have been done is undone as well.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Succeeded:
    """Done. `output` is the participant's answer, JSON."""

    output: Any = None
    kind = "succeeded"


@dataclass(frozen=True, slots=True)
class Rejected:
    """Certainly not done, and it will not be: the participant refused."""

    reason: str
    kind = "rejected"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Certainly not done, and may work later. `retry_after`: seconds that the participant asked us to wait."""

    reason: str
    retry_after: float | None = None
    kind = "unavailable"


@dataclass(frozen=True, slots=True)
class Unknown:
    """May have been done, may still happen, may not."""

    reason: str
    kind = "unknown"


Outcome = Succeeded | Rejected | Unavailable | Unknown


@dataclass(frozen=True, slots=True)
class Postponed:
    """No outcome: the call was not made, because its participant should not be called for some `seconds`."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What the transport saw of one call, for the record and never for a decision. `duration` in seconds."""

    service: str
    method: str
    status: int | None
    duration: float


@dataclass(frozen=True, slots=True)
class Reply:
    """What a participant's adapter brings back."""

    outcome: Outcome | Postponed
    facts: CallFacts | None = None
