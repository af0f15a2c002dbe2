"""The faults of the chaos suite: each is a row of the table that a run prints, and each must happen in every run."""

from enum import StrEnum


class Fault(StrEnum):
    """What goes wrong. The value is what the table says."""

    KILL_BEFORE_CALL = "driver killed before its call arrives"
    KILL_AFTER_CALL = "driver killed after its call, before its checkpoint"
    KILL_BETWEEN_UNDOS = "driver killed between two undos"
    STOP_BEYOND_LEASE = "driver stopped beyond its lease, then woken with its answer"
    TWO_DRIVERS = "lease expired under a live driver: two drivers"
    ANSWER_LOST = "participant executes, answer lost"
    ANSWERS_ALL_LOST = "participant executes, the answers of all attempts lost"
    INQUIRY_LOST = "no attempt answered, executed or not, nor the first inquiry"
    EXECUTED_TOO_LATE = "participant executes after the caller gave up"
    DO_AFTER_UNDO = "do delivered only after its undo"
    DUPLICATE = "call delivered twice"
    CONCURRENT_DUPLICATE = "call delivered twice at once"
    TOO_MANY_REQUESTS = "429 with Retry-After"
    SERVER_ERROR = "500, executed or not"
    HTML = "HTML page instead of the answer"
    TRUNCATED = "answer cut in its middle"
    DRIP = "answer byte by byte"
    GATEWAY_401 = "the gateway's own 401"
    GATEWAY_502 = "the gateway's own 502"
    GATEWAY_504 = "the gateway's own 504"
    REFUSED = "gateway refuses connections for a moment"
    PARTICIPANT_KILLED = "participant killed and restarted"
    UNDO_NEVER_WORKS = "undo that fails for the whole run"
    KILL_BEFORE_COMMIT = "driver killed before its checkpoint reaches PostgreSQL"
    KILL_AFTER_COMMIT = "driver killed after its checkpoint committed"
    COMMIT_ANSWER_LOST = "checkpoint committed, its answer lost"
    CHECKPOINT_LOST = "connection to PostgreSQL broken before the checkpoint"
    CREATION_ANSWER_LOST = "saga created, the answer of PostgreSQL lost"
    POSTGRES_RESTARTED = "PostgreSQL restarted (fast)"
    POSTGRES_KILLED = "PostgreSQL killed (immediate) and restarted"
    COMMAND_FAILED = "message that fails at first, and is delivered again"
    COMMAND_LOST = "message lost on its way to the participant"
    ANSWER_TOO_LATE = "message answered after the saga gave up"
    ANSWER_TWICE = "message answered twice"
    ANSWER_MALFORMED = "message answered with what is no JSON"
    ANSWER_ASTRAY = "message answered for a saga that there is not"
    BROKER_CUT = "connections to the broker cut, and refused for a moment"
    BROKER_KILLED = "broker killed and restarted"
    RELAY_KILLED = "worker killed between sending a message and noting it"
    EVERYTHING_KILLED = "everything killed under load and restarted"


AT_A_CALL = frozenset(
    {
        Fault.ANSWER_LOST,
        Fault.EXECUTED_TOO_LATE,
        Fault.DUPLICATE,
        Fault.CONCURRENT_DUPLICATE,
        Fault.TOO_MANY_REQUESTS,
        Fault.SERVER_ERROR,
        Fault.HTML,
        Fault.TRUNCATED,
        Fault.DRIP,
        Fault.GATEWAY_401,
        Fault.GATEWAY_502,
        Fault.GATEWAY_504,
    }
)
"""Faults of one attempt of one call, whichever it is."""

AT_A_CHECKPOINT = frozenset(
    {Fault.KILL_BEFORE_COMMIT, Fault.KILL_AFTER_COMMIT, Fault.COMMIT_ANSWER_LOST, Fault.CHECKPOINT_LOST}
)

AT_A_MESSAGE = {
    Fault.COMMAND_FAILED: "failed",
    Fault.COMMAND_LOST: "ignored",
    Fault.ANSWER_TOO_LATE: "answered_late",
    Fault.ANSWER_TWICE: "answered_twice",
    Fault.ANSWER_MALFORMED: "answered_malformed",
    Fault.ANSWER_ASTRAY: "answered_for_nobody",
}
"""Faults of a message or its answer, each with its name among the participants' scripted faults."""

WAITS_IN_VAIN = frozenset(AT_A_MESSAGE) - {Fault.COMMAND_FAILED, Fault.ANSWER_TWICE}
"""Its saga rests only when the time for an answer is over."""

QUICK = (
    Fault.ANSWER_LOST,
    Fault.DUPLICATE,
    Fault.CONCURRENT_DUPLICATE,
    Fault.TOO_MANY_REQUESTS,
    Fault.SERVER_ERROR,
    Fault.HTML,
    Fault.TRUNCATED,
    Fault.GATEWAY_401,
    Fault.GATEWAY_502,
)
"""Faults that cost no time and hit nobody else: drawn for any call, beside those that are planned."""

MOMENTS = frozenset(
    {
        Fault.REFUSED,
        Fault.PARTICIPANT_KILLED,
        Fault.POSTGRES_RESTARTED,
        Fault.POSTGRES_KILLED,
        Fault.BROKER_CUT,
        Fault.BROKER_KILLED,
        Fault.RELAY_KILLED,
        Fault.EVERYTHING_KILLED,
    }
)
"""Faults of the whole system at a moment of the run; every other fault strikes a saga that was chosen for it."""
