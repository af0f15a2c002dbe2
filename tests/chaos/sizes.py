"""The sizes of runs: the short one of the test suite, the full one of `make chaos`, and those aimed at one mutation."""

from tests.chaos.faults import AT_A_CALL, AT_A_CHECKPOINT, Fault
from tests.chaos.run import Size

_KILLS = (Fault.KILL_BEFORE_CALL, Fault.KILL_AFTER_CALL, Fault.KILL_BETWEEN_UNDOS)
_OTHERS = (Fault.ANSWERS_ALL_LOST, Fault.DO_AFTER_UNDO, Fault.UNDO_NEVER_WORKS, Fault.CREATION_ANSWER_LOST)

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
        **dict.fromkeys(sorted(AT_A_CALL), 2),
    },
    moments=(
        (0.05, Fault.PARTICIPANT_KILLED),
        (0.10, Fault.REFUSED),
        (0.25, Fault.PARTICIPANT_KILLED),
        (0.30, Fault.REFUSED),
        (0.62, Fault.POSTGRES_KILLED),
        (0.85, Fault.EVERYTHING_KILLED),
    ),
    restarts=(0.15, 0.60),
)


def full(sagas: int) -> Size:
    """As many sagas as wanted; the number of faults grows with them."""

    def share(part: float, least: int = 2) -> int:
        return max(least, round(sagas * part))

    moments = [(0.02 + 0.9 * n / share(0.002), Fault.PARTICIPANT_KILLED) for n in range(share(0.002))]
    moments += [(0.05 + 0.9 * n / share(0.003), Fault.REFUSED) for n in range(share(0.003))]
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
            **dict.fromkeys(sorted(AT_A_CALL), share(0.008)),
        },
        moments=tuple(moments),
        restarts=(0.45, 0.60),
        patient=True,
        to_rest=180.0,
    )


MUTATIONS = {
    "no_fencing": Size(sagas=12, clients=12, pace=None, quotas={Fault.TWO_DRIVERS: 10}, quick_rate=0, to_rest=8),
    "unknown_not_undone": Size(
        sagas=8, clients=8, pace=None, quotas={Fault.ANSWERS_ALL_LOST: 6}, quick_rate=0, to_rest=8
    ),
    "new_key_per_attempt": Size(
        sagas=10, clients=10, pace=None, quotas={Fault.ANSWER_LOST: 4, Fault.HTML: 4}, quick_rate=0, to_rest=8
    ),
}
"""For each deliberate bug the smallest run that meets it."""
