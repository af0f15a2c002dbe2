"""What can go wrong in the orchestrator itself, as words. A participant's answer is never an exception.

`code` is the API's error code; the docstring is the default message, which translators find too.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from domain.sentences import said


class SagaError(Exception):
    """The saga orchestrator could not do this."""

    code = "saga_error"

    def __init__(self, message: str | None = None) -> None:
        self.sentence = message or (self.__doc__ or "").strip()
        """What the error says, as it was made: `str(error)` is the same in English."""
        super().__init__(self.sentence)


class DefinitionInvalid(SagaError):
    """The workflow definition is wrong."""

    code = "definition_invalid"

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        self.name, self.faults = name, tuple(faults)
        super().__init__(f"The definition of {name!r} has {len(self.faults)} fault(s): " + "; ".join(self.faults))


class DefinitionChanged(SagaError):
    """A stored definition differs from the one being started under the same name and version."""

    code = "definition_changed"


class WorkflowShipped(SagaError):
    """A workflow of this name ships with the product, and the releases publish its versions."""

    code = "workflow_shipped"


class DefinitionUnreadable(SagaError):
    """This release cannot read a stored definition; the release that stored it can."""

    code = "definition_unreadable"


class TemplateError(SagaError):
    """A ${...} template cannot be read, or has no value here."""

    code = "template_error"


class InputInvalid(SagaError):
    """The input does not fit the workflow's schema. Nothing was stored."""

    code = "input_invalid"

    def __init__(self, faults: dict[str, list[str]]) -> None:
        self.faults = faults
        super().__init__()


class WorkflowUnknown(SagaError):
    """There is no workflow of that name and version."""

    code = "workflow_unknown"


class SagaNotFound(SagaError):
    """There is no saga with that id."""

    code = "saga_not_found"


class IdempotencyConflict(SagaError):
    """This Idempotency-Key was used before with another body. Use a new key for a new request."""

    code = "idempotency_key_reused"


class OutcomeUnexpected(SagaError):
    """The saga is not waiting for that outcome."""

    code = "outcome_unexpected"


class NotAllowed(SagaError):
    """The saga's status does not allow this."""

    code = "not_allowed"


class NotAwaited(SagaError):
    """The saga does not wait for this message."""

    code = "not_awaited"


class SagaDriven(SagaError):
    """A driver owns this saga now. Try again when it is done."""

    code = "saga_driven"

    def __init__(self, owner: str, until: datetime) -> None:
        self.until = until
        super().__init__(
            said(
                "The driver %(driver)s owns this saga, until %(time)s at most. Try again soon.",
                driver=owner,
                time=until.isoformat(timespec="seconds"),
            )
        )


class SagaMoved(SagaError):
    """The saga has moved since you looked. Nothing was done: look at it again."""

    code = "saga_moved"


class GroupGrown(SagaError):
    """More sagas are in this trouble now than you looked at. Nothing was done: look again."""

    code = "group_grown"


class LeaseLost(SagaError):
    """Another driver owns this saga now; this one has changed nothing and must stop."""

    code = "lease_lost"


class BrokerMissing(SagaError):
    """The workflow speaks through a message broker, and none is configured here."""

    code = "broker_missing"


class BrokerUnavailable(SagaError):
    """The message broker does not answer. What is to be sent waits in the outbox."""

    code = "broker_unavailable"


class TopicsUnavailable(BrokerUnavailable):
    """The message broker does not take what is for some topics. Everything else was sent."""

    code = "topics_unavailable"

    def __init__(self, reasons: Mapping[int, str]) -> None:
        """Why, by the place of each message that was not sent, or not for certain, among those that were to be."""
        self.reasons = dict(reasons)
        super().__init__("; ".join(dict.fromkeys(self.reasons.values())))


class StoreUnavailable(SagaError):
    """The saga database does not answer. What was started goes on by itself when it is back."""

    code = "store_unavailable"

    def __init__(self, message: str | None = None, saga_id: UUID | None = None) -> None:
        self.saga_id = saga_id
        super().__init__(message)


class ContentRefused(SagaError):
    """The saga database cannot store this content, however often it is tried."""

    code = "content_refused"


class MessageRefused(SagaError):
    """Some of these messages no broker would take. Nothing was sent."""

    code = "message_refused"

    def __init__(self, reasons: Mapping[int, str]) -> None:
        """Why, by the message's place among those that were to be sent."""
        self.reasons = dict(reasons)
        super().__init__("; ".join(self.reasons.values()))
