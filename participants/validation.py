"""What callers may send: each check returns the value, or refuses the call with 400 before anything is done."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import UUID

LONGEST_TEXT: Final = 255
LARGEST_AMOUNT: Final = Decimal(1_000_000)
CENT: Final = Decimal("0.01")

Item = TypeVar("Item")


class RequestError(Exception):
    """The call itself is at fault: nothing was done and nothing will be."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail


def invalid(detail: str) -> RequestError:
    return RequestError(400, "invalid_request", detail)


def json_object(content: bytes) -> dict[str, Any]:
    """The body as a JSON object, its decimal numbers exact; no body at all counts as an empty one."""
    try:
        body = json.loads(content or b"{}", parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise invalid(f"The body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise invalid("The body must be a JSON object")
    return body


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def integer(body: dict[str, Any], name: str, least: int, most: int) -> int:
    value = body.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise invalid(f"{name} must be an integer from {least} to {most}")
    return value


def amount(body: dict[str, Any], name: str) -> Decimal:
    """Money: not negative, at most two decimals."""
    value = body.get(name)
    if not isinstance(value, int | Decimal) or isinstance(value, bool) or not 0 <= value <= LARGEST_AMOUNT:
        raise invalid(f"{name} must be a number from 0 to {LARGEST_AMOUNT}")
    exact = Decimal(value).quantize(CENT)
    if exact != value:
        raise invalid(f"{name} must have at most two decimals")
    return exact


def text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_TEXT or not value.isprintable():
        raise invalid(f"{name} must be a text of 1 to {LONGEST_TEXT} printable characters")
    return value


def uuid(body: dict[str, Any], name: str) -> str:
    try:
        return str(UUID(text(body, name)))
    except ValueError:
        raise invalid(f"{name} must be a UUID") from None


def items(body: dict[str, Any], name: str, most: int, check: Callable[[dict[str, Any]], Item]) -> list[Item]:
    """A list of one to ``most`` objects, each checked; the error says which one is at fault."""
    values = body.get(name)
    if not isinstance(values, list) or not 0 < len(values) <= most:
        raise invalid(f"{name} must be a list of 1 to {most} objects")
    return [_item(value, f"{name}[{index}]", check) for index, value in enumerate(values)]


def _item(value: object, place: str, check: Callable[[dict[str, Any]], Item]) -> Item:
    if not isinstance(value, dict):
        raise invalid(f"{place} must be an object")
    try:
        return check(value)
    except RequestError as error:
        raise invalid(f"{place}: {error.detail}") from None
