"""Spans in OTLP's protocol (opentelemetry-proto v1, trace.proto), written byte by byte.

The exporter's own encoder builds three objects for each attribute, which costs nine times as much (docs/adr/0009).
tests/unit/infrastructure/test_otlp.py holds this one against it.
"""

from collections.abc import Iterable
from functools import lru_cache
from itertools import starmap
from struct import Struct
from typing import Final

from infrastructure.saga_spans import Span

_TIMES: Final = Struct("<BQBQ").pack
_FIXED64: Final = Struct("<Q").pack
_from_hex: Final = bytes.fromhex
_ERROR: Final = b"\x18\x02"
_FLAGS: Final = b"\x85\x01\x00\x01\x00\x00"
"""The parent is known to be here or elsewhere; which is not said."""


def export_request(resource: bytes, scope: bytes, spans: Iterable[Span]) -> bytes:
    """An ExportTraceServiceRequest of these spans; `resource` and `scope` are encoded already."""
    scoped = _field(0x0A, scope) + b"".join([_field(0x12, _span(span)) for span in spans])
    return _field(0x0A, _field(0x0A, resource) + _field(0x12, scoped))


def _span(span: Span) -> bytes:
    trace, name, own, parent, begin, end, attributes, kind, failure, happened = span
    return b"".join(
        (
            b"\x0a\x10",
            _from_hex(trace),
            b"\x12\x08",
            _from_hex(own),
            b"\x22\x08" + _from_hex(parent) if parent else b"",
            _named(name, kind),
            _TIMES(0x39, begin, 0x41, end),
            *starmap(_attribute, attributes.items()),
            *[_field(0x5A, b"\x09" + _FIXED64(at) + _field(0x12, what.encode())) for what, at in happened],
            _field(0x7A, _field(0x12, failure.encode()) + _ERROR) if failure else b"\x7a\x00",
            _FLAGS,
        )
    )


@lru_cache(maxsize=1024)
def _named(name: str, kind: int) -> bytes:
    return _field(0x2A, name.encode()) + b"\x30%c" % kind


@lru_cache(maxsize=4096)
def _attribute(name: str, value: str | int) -> bytes:
    """Most recur in nearly every saga; of what does not, its id, few are kept."""
    content = b"\x18" + _varint(value) if isinstance(value, int) else _field(0x0A, value.encode())
    return _field(0x4A, _field(0x0A, name.encode()) + _field(0x12, content))


def _field(tag: int, content: bytes) -> bytes:
    """A field of a length."""
    size = len(content)
    if size < 0x80:  # noqa: PLR2004 - seven bits a byte
        return b"%c%c%b" % (tag, size, content)
    if size < 0x4000:  # noqa: PLR2004 - as nearly every span
        return b"%c%c%c%b" % (tag, size & 0x7F | 0x80, size >> 7, content)
    return b"%c%b%b" % (tag, _varint(size), content)


def _varint(number: int) -> bytes:
    """A whole number, not negative."""
    found = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
