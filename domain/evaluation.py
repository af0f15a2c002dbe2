"""How much a template may do and make: JMESPath, evaluated within bounds.

A pipe of forty `[@, @]` is two hundred characters and 2^40 values, all of them the same few in memory until somebody
walks them. So whatever an expression makes is measured when it is made, and measuring stops at the bound.
"""

from inspect import getmembers, isfunction
from math import isfinite
from typing import Any

from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter, _is_comparable

from domain.exceptions import TemplateError

LARGEST = 4_000_000
"""The size of all that one template gives, which is never more than the characters of its JSON: more than any message
may have, and so more than an input or an answer that is passed on whole."""
DEEPEST_VALUE = 128
"""Levels of what a template gives: an answer may have 64, and a workflow puts it into others."""
MOST_WORK = 1_000_000
"""Steps for all expressions of one template: nodes visited, and values made or handed to a function. About a second."""
_TEXT_STEP = 16
"""Characters that are copied as fast as one value is walked."""
_CONTAINER = (dict, list)
WALKED = (dict, list, str)
"""What is larger than one value."""
_MAKES = frozenset(
    {
        "multi_select_list",
        "multi_select_dict",
        "flatten",
        "slice",
        "projection",
        "value_projection",
        "filter_projection",
        "function_expression",
    }
)
"""What gives a value that was not there before."""


class Allowance:
    """What the rendering of one template may still make and do."""

    __slots__ = ("size", "work")

    def __init__(self) -> None:
        self.size, self.work = LARGEST, MOST_WORK

    def take(self, size: int) -> None:
        """Count something that becomes part of the whole. Raises TemplateError when the whole is too large."""
        self.size -= size
        if self.size < 0:
            raise too_large()

    def do(self, steps: int) -> None:
        """Count work. Raises TemplateError when it is too much."""
        self.work -= steps
        if self.work < 0:
            raise TemplateError(f"an expression takes more than {MOST_WORK} steps; give it less to go over")


def too_large() -> TemplateError:
    """Why a template that gives this much has no value."""
    return TemplateError(f"a template gives more than {LARGEST} characters of JSON")


def measure(value: Any) -> tuple[int, int]:
    """(size, values) of a JSON value: its size is at most the characters of its JSON.

    Parts that are there twice count twice. Raises TemplateError for what is larger than `LARGEST`, having walked no
    further, and for more than `DEEPEST_VALUE` levels.
    """
    if isinstance(value, str):
        return 1 + len(value), 1
    if not isinstance(value, _CONTAINER):
        return 1, 1
    text, values, level = 0, 0, [value]
    for _ in range(DEEPEST_VALUE):
        deeper: list[Any] = []
        for each in level:
            if isinstance(each, str):
                text += len(each)
            elif isinstance(each, dict):
                text += sum(map(len, each))
                deeper.extend(each.values())
            elif isinstance(each, list):
                deeper.extend(each)
            if text + values + len(deeper) > LARGEST:
                raise too_large()
        values += len(level)
        if not deeper:
            return text + values, values
        level = deeper
    raise TemplateError(f"a template gives more than {DEEPEST_VALUE} levels")


def evaluate(parsed: dict[str, Any], scope: Any, allowance: Allowance) -> Any:
    """The value of a parsed expression. Raises TemplateError beyond the allowance, and JMESPath's own errors."""
    return _Interpreter(allowance).visit(parsed, scope)


class _Interpreter(TreeInterpreter):  # type: ignore[misc]  # jmespath has no types
    """JMESPath's interpreter, which counts what it does."""

    def __init__(self, allowance: Allowance) -> None:
        super().__init__(_OPTIONS)
        self._allowance = allowance

    def visit(self, node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """The node's value; one that is made here is measured."""
        self._allowance.work -= 1
        kind = node["type"]
        value = _METHODS[kind](self, node, *args, **kwargs)
        if kind in _MAKES:
            self._count(value)
        return value

    def visit_comparator(self, node: dict[str, Any], value: Any) -> Any:
        """Both sides are walked to be compared."""
        one, other = (self.visit(child, value) for child in node["children"])
        self._count(one)
        self._count(other)
        if node["value"] not in self._EQUALITY_OPS and not (_is_comparable(one) and _is_comparable(other)):
            return None
        return self.COMPARATOR_FUNC[node["value"]](one, other)

    def visit_function_expression(self, node: dict[str, Any], value: Any) -> Any:
        """The arguments are walked by the function; `join` puts its first between all parts of its second."""
        name, arguments = node["value"], [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            self._count(argument)
        if name == "join" and isinstance(arguments[-1], list):
            self._allowance.do(len(arguments[-1]) * (measure(arguments[0])[0] // _TEXT_STEP))
        result = self._functions.call_function(name, arguments)
        if isinstance(result, float) and not isfinite(result):  # to_number('nan'), a sum beyond numbers
            raise TemplateError(f"what {name}() gives is {result}, which is not JSON")
        return result

    def _count(self, value: Any) -> None:
        """Count what is walked; without it, what was visited since."""
        steps = 0
        if isinstance(value, WALKED):
            size, values = measure(value)
            steps = values + size // _TEXT_STEP
        self._allowance.do(steps)


_FUNCTIONS = Functions()
_OPTIONS = Options(custom_functions=_FUNCTIONS)
_METHODS = {
    name.removeprefix("visit_"): method for name, method in getmembers(_Interpreter, isfunction) if name[:6] == "visit_"
}
