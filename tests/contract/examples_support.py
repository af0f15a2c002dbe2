"""Published examples as they are written: `curl` commands sent to the API, and what is typed into a shell."""

import json
import shlex
from textwrap import dedent
from typing import Any
from urllib.parse import urlsplit

from django.core.management import call_command

# Sent in-process by a contract test, and over a real broker by an integration test.
START_PARTNER = """curl -X POST http://localhost:5003/api/v1/saga/partner-creation \\
  -H "Content-Type: application/json" \\
  -d '{
    "nombre": "Example Partner",
    "email": "partner@example.com",
    "telefono": "+1234567890",
    "direccion": "123 Main Street",
    "correlation_id": "unique-correlation-id"
  }'"""
PARTNER_STARTED = """{
  "mensaje": "Partner creation saga started successfully",
  "saga_id": "550e8400-e29b-41d4-a716-446655440000",
  "correlation_id": "unique-correlation-id",
  "status": "started"
}"""
PARTNER_STATUS = """{
  "saga": {
    "saga_id": "550e8400-e29b-41d4-a716-446655440000",
    "status": "completed",
    "partner_id": "partner-123",
    "alliance_id": "alliance-456",
    "created_at": "2025-09-19T16:58:19Z",
    "completed_at": "2025-09-19T16:58:45Z"
  }
}"""


def curl(api: Any, command: str) -> Any:
    """The answer to a curl command, whose host and port are this API's."""
    words = iter(shlex.split(command.replace("\\\n", " ")))
    assert next(words) == "curl"
    method, address, headers, body = None, "", {}, None
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name.replace("-", "_")] = value
        elif word == "-d":
            body = next(words).encode()
        else:
            assert word.startswith("http://"), word
            address = word
    place = urlsplit(address)
    path = place.path + (f"?{place.query}" if place.query else "")
    return api.call(method or "GET", path, raw=body, **headers)


def typed(text: str) -> None:
    """What is typed into `python manage.py shell`."""
    call_command("shell", "--no-imports", command=dedent(text))


class AsyncClient:
    """What an example calls `httpx.AsyncClient`, over the API of the tests."""

    def __init__(self, api: Any) -> None:
        self._api = api

    async def post(self, address: str, json: Any) -> Any:
        return self._api.post(urlsplit(address).path, json)

    async def get(self, address: str) -> Any:
        return self._api.get(urlsplit(address).path)


def ran(example: Any) -> Any:
    """What an asynchronous example returns; it waits for nothing, so no event loop is needed."""
    try:
        example.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something")


def printed(capsys: Any) -> list[str]:
    """The lines that the example has printed."""
    return capsys.readouterr().out.splitlines()


def same_shape(value: Any, example: str) -> None:
    """Every field of the published JSON is there, and is of its kind; null where nothing is known yet."""
    _shaped(value, json.loads(example), "")


def _shaped(value: Any, example: Any, place: str) -> None:
    if isinstance(example, dict):
        assert isinstance(value, dict), place
        for name, part in example.items():
            assert name in value, f"{place}.{name} is missing"
            _shaped(value[name], part, f"{place}.{name}")
    elif isinstance(example, list):
        assert isinstance(value, list), place
        for part in example[:1]:
            assert value, f"{place} is empty"
            _shaped(value[0], part, f"{place}[0]")
    elif value is not None:
        assert type(value) is type(example), f"{place} is {value!r}"
