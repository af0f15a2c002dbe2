"""cashout_flow: a bettor takes the offer for a bet that is still open, and the money for it.

Three reads find out what the bet is worth now, three calls move it: the wallet, the bookmaker's liability, the slip.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from domain.definition import Request, SagaDefinition, Step
from domain.entities import Saga
from domain.events import SagaEvent, SagaStatus
from domain.step_progress import StepProgress, StepStatus, steps_of

ANY_BOOKMAKER = {"bookmaker_type": "SYSTEM", "bookmaker_id": "system"}
"""Who holds the bet when the client does not say: the house."""

_ID = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
_SLIP, _LIABILITY = "/api/bet-slips/${input.bet_slip_id}/", "/api/liabilities/${input.bet_slip_id}/"
_WALLET = "/api/wallets/${input.user_id}/"
_UNDO_OF = {"undo_of": "${saga.do_key}"}
_AMOUNT = "${steps.cashout_quote.amount}"


class CashoutState(StrEnum):
    """The states of the whole; between the first and the last, a cash-out's state is the name of its step."""

    PENDING = "pending"
    COMPLETED = "completed"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"


CASHOUT = SagaDefinition(
    name="cashout_flow",
    version=2,  # 2 can be found by its ids
    title="Cash-out of an open bet slip",
    input_schema={
        "type": "object",
        "additionalProperties": False,
        "required": ["bet_slip_id", "user_id"],
        "properties": {
            "bet_slip_id": _ID,
            "user_id": _ID,
            "bookmaker_type": {"type": "string", "minLength": 1, "maxLength": 50},
            "bookmaker_id": {"type": "string", "minLength": 1, "maxLength": 100},
        },
    },
    business_ids={"bet_slip_id": "${input.bet_slip_id}", "user_id": "${input.user_id}"},
    initial_state=CashoutState.PENDING.value,
    completed_state=CashoutState.COMPLETED.value,
    compensating_state=CashoutState.ROLLING_BACK.value,
    compensated_state=CashoutState.ROLLED_BACK.value,
    failed_state=CashoutState.FAILED.value,
    steps=(
        Step(
            name="cashout_validation",
            safe=True,
            running_state="cashout_validation",
            action=Request(
                service="betting",
                method="GET",
                path=f"{_SLIP}cashout-eligibility/",
                query={"user_id": "${input.user_id}"},
            ),
            reject_when="${response.eligible == `false`}",
            reject_reason="bet slip ${input.bet_slip_id} cannot be cashed out: "
            "${not_null(response.reason, 'no reason was given')}",
            output={"eligible": "${response.eligible == `true` || `null`}"},  # null, so unreadable, if it is neither
        ),
        Step(
            name="live_odds_fetch",
            safe=True,
            running_state="live_odds_fetch",
            action=Request(service="risk-management", method="GET", path="/api/odds/live/${input.bet_slip_id}/"),
            output={"odds": "${response.odds}"},
        ),
        Step(
            name="cashout_quote",
            safe=True,
            running_state="cashout_quote",
            action=Request(
                service="betting",
                method="POST",
                path=f"{_SLIP}cashout-quotes/",
                body={"user_id": "${input.user_id}", "live_odds": "${steps.live_odds_fetch.odds}"},
            ),
            reject_when="${to_number(response.amount) <= `0`}",
            reject_reason="bet slip ${input.bet_slip_id} is worth nothing now: the quote is ${response.amount}",
            output={"quote_id": "${response.quote_id}", "amount": "${to_number(response.amount)}"},
        ),
        Step(
            name="wallet_credit",
            running_state="wallet_credit",
            action=Request(
                service="wallet",
                method="POST",
                path=f"{_WALLET}credits/",
                body={"amount": _AMOUNT, "quote_id": "${steps.cashout_quote.quote_id}"},
            ),
            compensation=Request(service="wallet", method="POST", path=f"{_WALLET}debits/", body=_UNDO_OF),
            output={"transaction_id": "${response.transaction_id}"},
        ),
        Step(
            name="liability_update",
            running_state="liability_update",
            action=Request(
                service="risk-management", method="POST", path=f"{_LIABILITY}reductions/", body={"amount": _AMOUNT}
            ),
            compensation=Request(
                service="risk-management", method="POST", path=f"{_LIABILITY}restorations/", body=_UNDO_OF
            ),
            output={"liability_id": "${response.liability_id}"},
        ),
        Step(
            name="cashout_completion",
            running_state="cashout_completion",
            action=Request(
                service="betting",
                method="POST",
                path=f"{_SLIP}cashout/",
                body={"quote_id": "${steps.cashout_quote.quote_id}", "amount": _AMOUNT},
            ),
            compensation=Request(service="betting", method="POST", path=f"{_SLIP}reopen/", body=_UNDO_OF),
            output={"status": "${response.status}"},
        ),
    ),
)

DEFINITIONS = (CASHOUT,)


@dataclass(frozen=True, slots=True)
class CashoutSaga:
    """A saga read as a cash-out."""

    saga: Saga

    def steps(self) -> list[StepProgress]:
        """Every step, in order, with how far it is."""
        return steps_of(self.saga)

    def standing(self) -> set[str]:
        """The steps at which it stands: whose call it waits for, whose undo was given up, or else at which it failed.

        Those are the steps that can be retried.
        """
        waited_for = {call.step for call in self.saga.waiting()}
        given_up = {step.name for step in self.steps() if step.status is StepStatus.COMPENSATION_FAILED}
        failed = {self.saga.failure.step} if self.saga.failure else set()
        return waited_for or given_up or failed

    def as_dict(self) -> dict[str, Any]:
        """The published shape of a cash-out; times are datetimes in UTC."""
        saga, steps = self.saga, self.steps()
        completed = sum(step.status is StepStatus.COMPLETED for step in steps)
        return {
            "saga_transaction_id": saga.id,
            "saga_type": saga.definition.name,
            "correlation_id": saga.origin.correlation_id,
            "status": saga.status,
            "state": saga.state,
            **ANY_BOOKMAKER,
            **saga.origin.input,
            "amount": self._paid("cashout_quote", "amount"),
            "transaction_id": self._paid("wallet_credit", "transaction_id"),
            "current_step": next((step.name for step in steps if step.name in self._current()), None),
            "progress": {
                "completed_steps": completed,
                "total_steps": len(steps),
                "percentage": 100 * completed // len(steps),
            },
            "steps": [step.as_dict(saga.outputs.get(step.name)) for step in steps],
            "events": [_event(event) for event in saga.history],
            "error": saga.failure.reason if saga.failure else None,
            "failed_step": saga.failure.step if saga.failure else None,
            "parked_reason": saga.parked_reason,
            "timeout_at": saga.deadline_at,
            "created_at": saga.origin.started_at,
            "finished_at": saga.finished_at,
        }

    def _paid(self, step: str, name: str) -> Any:
        """What a step answered, for a cash-out that stands; None for one that is not, or that a person settled."""
        output = self.saga.outputs.get(step) if self.saga.status is SagaStatus.COMPLETED else None
        return output.get(name) if isinstance(output, dict) else None

    def _current(self) -> set[str]:
        return set() if self.saga.finished else self.standing()


def _event(event: SagaEvent) -> dict[str, Any]:
    return {
        "event_type": event.type,
        "step": event.step,
        "action": event.action,
        "attempt": event.attempt,
        "status": event.status,
        "outcome": event.outcome,
        "message": event.reason,
        "actor": event.actor,
        "created_at": event.at,
    }
