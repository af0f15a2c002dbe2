"""Cash-outs from Python: what the API's views and a program of one's own both use."""

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

from application.operations import Act
from application.saga_orchestrator import POLL, StartRequest, wait_limit
from domain.entities import Saga
from domain.events import SagaEvent, SagaStatus
from domain.exceptions import NotAllowed, SagaDriven, SagaNotFound
from domain.operations import By
from domain.workflows.cashout import ANY_BOOKMAKER, CASHOUT, CashoutSaga
from interfaces.correlation import traceparent
from interfaces.platform import engine, platform


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
    ) -> Saga:
        """The saga as it ended: `saga.status` says how, and `saga.failure` why. Raises InputInvalid."""
        given = {
            "bet_slip_id": bet_slip_id,
            "user_id": user_id,
            "bookmaker_type": bookmaker_type,
            "bookmaker_id": bookmaker_id,
        }
        return engine().start(
            StartRequest(
                workflow=CASHOUT.name,
                input=given,
                correlation_id=correlation_id or str(uuid4()),
                actor=self._actor,
                tenant=self._actor,
                traceparent=traceparent(),
                wait=self._wait,
            )
        )

    def rollback_cashout_saga(self, *, saga_transaction_id: UUID | str, reason: str) -> Saga:
        """See `roll_back`."""
        return roll_back(_id(saga_transaction_id), By(actor=self._actor, reason=reason), self._wait)

    def get_cashout_saga(self, saga_transaction_id: UUID | str) -> Saga:
        """See `cashout`."""
        return cashout(_id(saga_transaction_id))


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


def _id(given: UUID | str) -> UUID:
    """Raises SagaNotFound for a text that no saga can have as its id."""
    try:
        return given if isinstance(given, UUID) else UUID(given)
    except ValueError:
        raise SagaNotFound(f"{given!r} is not the id of a saga") from None
