"""How the console writes what it shows often: times, durations, statuses."""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from typing import Any

from django import template
from django.utils.formats import get_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from interfaces.console import words

register = template.Library()

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@register.filter
def when(at: datetime | None) -> SafeString | str:
    """A time in UTC, which the browser's script shows as how long ago, with the whole time on its title."""
    if at is None:
        return ""
    return format_html('<time datetime="{}">{}</time>', at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S UTC"))


@register.filter
def clock(at: datetime | None) -> SafeString | str:
    """A time in UTC to the millisecond, as it is."""
    if at is None:
        return ""
    return format_html('<time datetime="{}" data-exact>{}</time>', at.isoformat(), at.strftime("%H:%M:%S.%f")[:-3])


def decimal(number: str) -> str:
    """A number with the decimal sign of the language."""
    return number.replace(".", str(get_format("DECIMAL_SEPARATOR")))


@register.filter
def seconds(value: float | None) -> str:
    """A duration in the unit that a person would use."""
    if value is None:
        return ""
    if value < 1:
        return decimal(f"{value * 1000:.3g} ms")
    if value < _MINUTE:
        return decimal(f"{value:.3g} s")
    if value < _HOUR:
        return _("%(minutes).0f min %(seconds).0f s") % {"minutes": value // _MINUTE, "seconds": value % _MINUTE}
    if value < _DAY:
        return _("%(hours).0f h %(minutes).0f min") % {"hours": value // _HOUR, "minutes": value % _HOUR // _MINUTE}
    return _("%(days).0f d %(hours).0f h") % {"days": value // _DAY, "hours": value % _DAY // _HOUR}


@register.filter
def took(row: dict[str, Any]) -> str:
    """How long a listed saga took; nothing while it is live."""
    return seconds((row["finished_at"] - row["created_at"]).total_seconds()) if row["finished_at"] else ""


@register.filter
def status(word: str) -> SafeString:
    """A status as a pill: its colour says no more than its word."""
    return format_html('<span class="status" data-status="{}">{}</span>', word, word)


@register.filter
def word(published: str | None) -> str:
    """A published word (an outcome, an action, a verb, an event) as people say it in their language."""
    return str(words.WORDS.get(published or "", published or ""))


@register.filter
def reason(text: str | None) -> str:
    """Why something ended as it did; the engine's own reasons in the language of the page."""
    return words.reason(text or "")


@register.filter
def translated(text: str) -> str:
    """A sentence of the domain in the language of the page."""
    return words.translated(text)


@register.filter
def share(part: float | None) -> str:
    """A part of one in percent; what is nearly all or nearly none does not become all or none by rounding."""
    if part is None:
        return ""
    percent = part * 100
    return decimal(f"{min(max(percent, 0.1), 99.9) if 0 < part < 1 else percent:.3g} %")


@register.filter
def after(text: object, what: object) -> str:
    """The text after what it is said of, with the colon of the language."""
    return _("%(what)s: %(text)s") % {"what": what, "text": text}


@register.filter
def together(texts: Sequence[str]) -> str:
    """Several faults as one text."""
    return reduce(lambda one, more: _("%(one)s; %(more)s") % {"one": one, "more": more}, texts)
