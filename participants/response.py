"""What goes back over the connection."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from participants.validation import RequestError

JSON = {"Content-Type": "application/json; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Response:
    """``chunks`` may take its time; ``length`` is the number of bytes that they announce."""

    status: int
    chunks: Iterable[bytes]
    length: int
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def json_response(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(body, ensure_ascii=False).encode()
    return Response(status, [content], len(content), {**JSON, **headers} if headers else JSON)


def error_response(error: RequestError, headers: Mapping[str, str] | None = None) -> Response:
    return json_response(error.status, {"code": error.code, "detail": error.detail}, headers)
