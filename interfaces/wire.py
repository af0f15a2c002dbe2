"""JSON in and out: strict about what comes in, quick about what goes out."""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from django.conf import settings
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from application.strict_json import DEEPEST, Flaw, flaw, number
from domain.exceptions import InputInvalid

logger = logging.getLogger("saga")


def _plain(value: object) -> str:
    """A text that knows more than its letters (domain/sentences.py), as a text."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(f"{type(value)} is no JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


class BodyTooLarge(APIException):
    """The body is larger than this service reads."""

    status_code = 413
    default_code = "body_too_large"


class BodyIncomplete(APIException):
    """The body ended before it was whole."""

    status_code = 400
    default_code = "body_incomplete"
    default_detail = "The body ended before it was whole; nothing was done."


class BodyTooSlow(APIException):
    """The body did not come in the time that gunicorn's worker gives."""

    status_code = 408
    default_code = "request_timeout"
    default_detail = "The body was not sent in time; nothing was done."


class LengthRequired(APIException):
    """Nobody tells where the body ends."""

    status_code = 411
    default_code = "length_required"
    default_detail = "Send the body with a Content-Length: this server does not decode a Transfer-Encoding."


Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def measured(application: Application) -> Application:
    """The WSGI application, which reads a body without a length too: as long as one may be.

    Django takes a body that comes in chunks, and so has no Content-Length, for none.
    """

    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if "HTTP_TRANSFER_ENCODING" in environ:
            environ["CONTENT_LENGTH"] = str(settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1)
        return application(environ, start_response)

    return wrapped


class StrictJSONParser(BaseParser):
    """Real JSON only: no NaN, no lone surrogates, no NUL (PostgreSQL cannot store it); not too much, not too deep.

    `2.0` is 2: JSON has one kind of number, JSON Schema calls both an integer, and whatever reads it next may not.
    """

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        """The value. Raises ParseError (400), or what `_read` does."""
        assert parser_context is not None, "DRF gives one"
        body = _read(stream, parser_context["request"].META)
        return strict_json(body)


def strict_json(body: bytes) -> Any:
    """The value of this JSON. Raises ParseError."""
    try:
        value = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError(_("The body is not JSON: %(why)s") % {"why": error}) from None
    fault = flaw(value, body)
    if fault is Flaw.DEEP:
        raise ParseError(_("The body has more than %(most)s levels.") % {"most": DEEPEST})
    if fault:  # half a character is none to the decoder
        raise ParseError(_("The body has a NUL character (\\u0000) in a text."))
    return value


def fields_as_json(given: Any) -> dict[str, Any]:
    """A dictionary of Python values as an API's client would have sent it; money may be a Decimal.

    Raises InputInvalid, field by field, for what JSON cannot carry, and for what is no dictionary.
    """
    if not isinstance(given, Mapping):
        raise InputInvalid({"input": [f"must be a dictionary, and is a {type(given).__name__}"]})
    fields: dict[str, Any] = {}
    faults = {}
    for name, value in given.items():
        try:
            fields |= strict_json(json.dumps({name: value}, default=_carried).encode())
        except (ParseError, TypeError, ValueError, RecursionError) as error:
            said = str(error.detail).removeprefix("The body ") if isinstance(error, ParseError) else str(error)
            faults[str(name).replace("\0", "?")] = [f"cannot be JSON: {said}"]
    if faults:
        raise InputInvalid(faults)
    return fields


def _carried(value: Any) -> Any:
    """What JSON has for a value of another kind. Raises TypeError where it has nothing."""
    if isinstance(value, Decimal) and value.is_finite():
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is none of its kinds")


class JSONRenderer(BaseRenderer):
    """JSON by msgspec: UUIDs as text, times in RFC 3339."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """The bytes; none for no data."""
        return b"" if data is None else _ENCODER.encode(data)


_DECODER = msgspec.json.Decoder(float_hook=number)


def _read(stream: Any, meta: Mapping[str, Any]) -> bytes:
    """The whole body. Raises BodyTooLarge, BodyIncomplete, BodyTooSlow or LengthRequired."""
    limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    chunked = "HTTP_TRANSFER_ENCODING" in meta
    if chunked and not meta.get("wsgi.input_terminated"):
        raise LengthRequired
    try:
        body: bytes = stream.read(limit + 1)
    except Exception as error:  # noqa: BLE001 - the connection's, or gunicorn's about chunks: the client's in any case
        logger.info("a request's body could not be read", extra={"reason": str(error) or type(error).__name__})
        raise (BodyTooSlow if isinstance(error.__cause__, TimeoutError) else BodyIncomplete) from None
    if len(body) > limit:
        raise BodyTooLarge(f"The body is larger than {limit} bytes.")
    if not chunked and len(body) < int(meta.get("CONTENT_LENGTH") or 0):
        raise BodyIncomplete
    return body
