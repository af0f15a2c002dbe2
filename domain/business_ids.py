"""By what people of the business know a saga: its order, its payment, its customer, as its workflow's templates say.

An id is known once its template gives a text or a number. One that it does not give yet, or never, is no fault.
"""

from collections.abc import Sequence
from functools import lru_cache

from domain.events import EventType, SagaEvent
from domain.exceptions import TemplateError
from domain.progress import Progress
from domain.templates import Expression, Scope, parse, render

LONGEST = 200
"""Characters of an id; a longer text is none, since nobody would look for it."""
_BRINGS = frozenset({EventType.STEP_SUCCEEDED, EventType.STEP_SKIPPED, EventType.INQUIRY_ANSWERED})
"""What happens when a step gives its output."""


def business_ids(saga: Progress) -> dict[str, str]:
    """Those that are known now, by name."""
    return _known(saga, list(saga.definition.business_ids))


def newly_known(saga: Progress, events: Sequence[SagaEvent]) -> dict[str, str]:
    """Those that became known with these events, its latest; one that was known before may be among them."""
    templates = saga.definition.business_ids
    if not templates:
        return {}
    if events[0].seq == 1:
        return business_ids(saga)
    given = {event.step for event in events if event.type in _BRINGS}
    return _known(saga, [name for name, text in templates.items() if not given.isdisjoint(_steps(text))])


def _known(saga: Progress, names: list[str]) -> dict[str, str]:
    if not names:
        return {}
    scope, templates = saga.scope(), saga.definition.business_ids
    found = ((name, _text(templates[name], scope)) for name in names)
    return {name: text for name, text in found if text}


def _text(template: str, scope: Scope) -> str | None:
    try:
        value = render(template, scope)
    except TemplateError:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value)
    return text if len(text) <= LONGEST else None


@lru_cache(maxsize=4096)
def _steps(template: str) -> frozenset[str]:
    """The steps whose outputs it reads."""
    reads = (path for part in parse(template) if isinstance(part, Expression) for path in part.reads)
    return frozenset(path[1] for path in reads if path[0] == "steps")
