"""The sizes of runs: the short one of the test suite, the full one of `make chaos`, and those aimed at one mutation."""

from dataclasses import replace

from tests.chaos.faults import AT_A_CALL, AT_A_CHECKPOINT, AT_A_MESSAGE, Fault
from tests.chaos.report import Size

_KILLS = (Fault.KILL_BEFORE_CALL, Fault.KILL_AFTER_CALL, Fault.KILL_BETWEEN_UNDOS)
_OTHERS = (
    Fault.ANSWERS_ALL_LOST,
    Fault.INQUIRY_LOST,
    Fault.DO_AFTER_UNDO,
    Fault.UNDO_NEVER_WORKS,
    Fault.CREATION_ANSWER_LOST,
)

SHORT = Size(
    sagas=180,
    clients=14,
    pace=6.0,
    quotas={
        Fault.STOP_BEYOND_LEASE: 1,
        Fault.TWO_DRIVERS: 3,
        **dict.fromkeys(_KILLS, 2),
        Fault.KILL_BETWEEN_UNDOS: 3,  # has the longest way to go until it can happen
        **dict.fromkeys(sorted(AT_A_CHECKPOINT), 2),
        **dict.fromkeys(_OTHERS, 2),
        **dict.fromkeys(AT_A_MESSAGE, 1),
        **dict.fromkeys(sorted(AT_A_CALL), 2),
    },
    moments=(
        (0.05, Fault.PARTICIPANT_KILLED),
        (0.10, Fault.REFUSED),
        (0.25, Fault.PARTICIPANT_KILLED),
        (0.30, Fault.REFUSED),
        (0.35, Fault.BROKER_KILLED),
        (0.45, Fault.RELAY_KILLED),
        (0.50, Fault.BROKER_CUT),
        (0.55, Fault.PARTICIPANT_KILLED),
        (0.62, Fault.POSTGRES_KILLED),
        (0.85, Fault.EVERYTHING_KILLED),
    ),
    restarts=(0.15, 0.60),
)


def full(sagas: int) -> Size:
    """As many sagas as wanted; the number of faults grows with them."""

    def share(part: float, least: int = 2) -> int:
        return max(least, round(sagas * part))

    def spread(fault: Fault, part: float, begin: float) -> list[tuple[float, Fault]]:
        count = share(part)
        return [(begin + 0.9 * n / count, fault) for n in range(count)]

    moments = spread(Fault.PARTICIPANT_KILLED, 0.0044, 0.02) + spread(Fault.REFUSED, 0.003, 0.05)
    moments += spread(Fault.BROKER_KILLED, 0.001, 0.03) + spread(Fault.BROKER_CUT, 0.001, 0.07)
    moments += spread(Fault.RELAY_KILLED, 0.001, 0.09)
    moments += [(0.66, Fault.POSTGRES_KILLED), (0.72, Fault.POSTGRES_KILLED), (0.78, Fault.POSTGRES_KILLED)]
    moments += [(0.35, Fault.EVERYTHING_KILLED), (0.85, Fault.EVERYTHING_KILLED)]
    return Size(
        sagas=sagas,
        clients=32,
        pace=8.0,
        quotas={
            Fault.STOP_BEYOND_LEASE: share(0.001),
            Fault.TWO_DRIVERS: share(0.008),
            **dict.fromkeys(_KILLS, share(0.003)),
            **dict.fromkeys(sorted(AT_A_CHECKPOINT), share(0.003)),
            **dict.fromkeys(_OTHERS, share(0.006)),
            **dict.fromkeys(AT_A_MESSAGE, share(0.001)),
            **dict.fromkeys(sorted(AT_A_CALL), share(0.008)),
        },
        moments=tuple(moments),
        restarts=(0.45, 0.60),
        patient=True,
        to_rest=180.0,
    )


_MUTATED = ("commandes", "order_processing")
"""One that undoes by what was asked for, item by item, and one that inquires and undoes by what was answered."""


TO_BE_FOUND = 8.0
"""Seconds in which a mutated saga may come to rest."""


def _aimed(sagas: int, quotas: dict[Fault, int]) -> Size:
    """Nothing but these faults, and all at once."""
    return Size(
        sagas=sagas, clients=sagas, pace=None, quotas=quotas, workflows=_MUTATED, quick_rate=0, to_rest=TO_BE_FOUND
    )


MUTATIONS = {
    "no_fencing": _aimed(12, {Fault.TWO_DRIVERS: 10}),
    "unknown_not_undone": _aimed(8, {Fault.ANSWERS_ALL_LOST: 6}),
    "new_key_per_attempt": _aimed(10, {Fault.ANSWER_LOST: 4, Fault.HTML: 4}),
    "forgotten_before_sent": replace(
        _aimed(10, {}),
        clients=4,
        workflows=("commandes", "partner_creation"),
        moments=((0.2, Fault.RELAY_KILLED),),
        to_rest=3.0,
        to_arrive=2.0,
    ),
}
"""For each deliberate bug the smallest run that meets it."""
