"""Cash-outs from Python: what the API's views and a program of one's own both use."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from rest_framework.exceptions import ValidationError

from application.operations import Act
from application.ports import IdempotentRequest
from application.saga_orchestrator import POLL, StartRequest, wait_limit
from domain.entities import Saga
from domain.events import SagaEvent, SagaStatus
from domain.exceptions import InputInvalid, NotAllowed, SagaDriven, SagaNotFound
from domain.operations import By
from domain.workflows.cashout import ANY_BOOKMAKER, CASHOUT, CashoutSaga
from interfaces.correlation import acceptable, traceparent
from interfaces.operations_api import LONGEST_REASON
from interfaces.platform import engine, platform
from interfaces.starting import under_key
from interfaces.wire import fields_as_json


class SagaOrchestrator:
    """Starts and rolls back cash-outs: `from sagas.orchestrator import SagaOrchestrator`.

    `actor` is who the history says it was; `wait` is how many seconds a call waits for the end of its saga. One that
    goes on longer is driven by a worker: look at it again with `get_cashout_saga`.
    """

    def __init__(self, actor: str = "python", wait: float = 25.0) -> None:
        platform().prepare()
        self._actor, self._wait = actor, wait

    def start_cashout_saga(
        self,
        *,
        bet_slip_id: int,
        user_id: int,
        bookmaker_type: str = ANY_BOOKMAKER["bookmaker_type"],
        bookmaker_id: str = ANY_BOOKMAKER["bookmaker_id"],
        correlation_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Saga:
        """The saga as it ended: `saga.status` says how, and `saga.failure` why.

        Called again with its `idempotency_key` it is the first call's saga; another cash-out under that key raises
        IdempotencyConflict. Raises InputInvalid with `faults` by field, having stored nothing.
        """
        given = fields_as_json(
            {
                "bet_slip_id": bet_slip_id,
                "user_id": user_id,
                "bookmaker_type": bookmaker_type,
                "bookmaker_id": bookmaker_id,
            }
        )
        return engine().start(
            StartRequest(
                workflow=CASHOUT.name,
                input=given,
                correlation_id=_correlation(correlation_id),
                actor=self._actor,
                tenant=self._actor,
                idempotency=_idempotency(idempotency_key, given),
                traceparent=traceparent(),
                wait=self._wait,
            )
        )

    def rollback_cashout_saga(self, *, saga_transaction_id: UUID | str, reason: str) -> Saga:
        """See `roll_back`. Raises InputInvalid for a reason that is none."""
        return roll_back(saga_id_of(saga_transaction_id), By(actor=self._actor, reason=_reason(reason)), self._wait)

    def get_cashout_saga(self, saga_transaction_id: UUID | str) -> Saga:
        """See `cashout`."""
        return cashout(saga_id_of(saga_transaction_id))


def cashout(saga_id: UUID) -> Saga:
    """A cash-out as it is stored. Raises SagaNotFound, also for a saga of another workflow."""
    saga = engine().store.load(saga_id)
    if saga.definition.name != CASHOUT.name:
        raise SagaNotFound(f"saga {saga_id} is not a cash-out")
    return saga


def roll_back(saga_id: UUID, by: By, wait: float) -> Saga:
    """Undo everything that the cash-out did, last first, also when it is completed; done again it changes nothing.

    Waits until nobody drives it, and then for its end, which a worker brings. Raises SagaNotFound, NotAllowed, and
    SagaDriven when its driver is not done within the wait.
    """
    return _acted(saga_id, Saga.compensate, by, wait)


def retry(saga_id: UUID, step: str, by: By, wait: float) -> Saga:
    """Try the step again at which the cash-out stands, its undo if that was given up; raises as `roll_back` does."""
    return _acted(saga_id, partial(_retry, step), by, wait)


def _retry(step: str, saga: Saga, by: By, now: datetime) -> list[SagaEvent]:
    at_hand = CashoutSaga(saga).standing()
    if not saga.finished and saga.status is not SagaStatus.PAUSED and step not in at_hand:
        raise NotAllowed(f"The saga does not stand at {step}; it stands at {', '.join(sorted(at_hand))}.")
    return saga.retry(by, now)


def _acted(saga_id: UUID, verb: Act, by: By, wait: float) -> Saga:
    cashout(saga_id)
    clock = engine().clock
    until = clock.now() + timedelta(seconds=min(wait, wait_limit(CASHOUT)))
    while True:
        try:
            saga = platform().operations.act(saga_id, verb, by)
            return saga if saga.resting else engine().follow(saga_id, until)
        except SagaDriven:
            if clock.now() >= until:
                raise
            clock.sleep(POLL)


def saga_id_of(given: UUID | str) -> UUID:
    """Raises SagaNotFound for what no saga can have as its id."""
    try:
        return given if isinstance(given, UUID) else UUID(given)
    except (ValueError, TypeError, AttributeError):
        raise SagaNotFound(f"{given!r} is not the id of a saga") from None


def _correlation(given: str | None) -> str:
    if given is None:
        return str(uuid4())
    if not isinstance(given, str) or not acceptable(given):
        raise InputInvalid({"correlation_id": ["must be 1 to 128 letters, digits or ._:/+=@-"]})
    return given


def _idempotency(key: str | None, given: dict[str, Any]) -> IdempotentRequest | None:
    if key is None:
        return None
    try:
        return under_key(key, CASHOUT.name, None, given)
    except (ValidationError, TypeError):
        raise InputInvalid({"idempotency_key": ["must be 1 to 255 visible ASCII characters"]}) from None


def _reason(given: str) -> str:
    if not isinstance(given, str) or not 0 < len(given.strip()) <= LONGEST_REASON or "\0" in given:
        raise InputInvalid({"reason": [f"must say why, in 1 to {LONGEST_REASON} characters"]})
    return given.strip()
