"""`${...}` templates: values of a workflow that depend on the run, in JMESPath over a scope of JSON.

A string that is one whole `${...}` keeps the type of its value; inside a longer string the value is
interpolated, and a null there is an error. `$${` is a literal `${`. Dictionaries and lists are templates
of their parts. Each string is parsed once in the life of the process.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import jmespath
import jmespath.exceptions
from jmespath.functions import Functions

from domain.evaluation import WALKED, Allowance, evaluate, measure
from domain.exceptions import TemplateError

Scope = Mapping[str, Any]
_QUOTES = "'\"`"
DEEPEST = 64
"""Levels of an expression: more is a mistake or an attack, and evaluating it would end in Python's own limit."""

LONGEST_QUOTED = 300
"""Characters of an expression, or of why it has no value, that an error repeats."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One JMESPath expression: its text, how to evaluate it, and the root paths that it reads."""

    text: str
    evaluate: Callable[[Scope, Allowance], Any]
    reads: frozenset[tuple[str, ...]]


def render(template: Any, scope: Scope) -> Any:
    """The template's value in this scope.

    Raises TemplateError when a part inside a text is null or not a scalar, and when the whole is more than a template
    may give (evaluation.py).
    """
    return _filled(template, scope, Allowance())


def render_path(template: str, scope: Scope) -> str:
    """A URL path in which every value is one quoted segment: a value can never reach another route."""
    return str(_render_text(template, scope, Allowance(), _path_segment))


def is_whole(template: object) -> bool:
    """Whether the template is exactly one `${...}`, so that its value keeps its type."""
    return isinstance(template, str) and len(parse(template)) == 1 and isinstance(parse(template)[0], Expression)


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[str | Expression, ...]:
    """The literal texts and expressions of a template, in order."""
    parts: list[str | Expression] = []
    position, literal = 0, ""
    while (start := text.find("${", position)) >= 0:
        if start > 0 and text[start - 1] == "$":
            literal += text[position : start - 1] + "${"
            position = start + 2
            continue
        literal += text[position:start]
        end = _closing_brace(text, start + 2)
        parts += [literal] if literal else []
        parts.append(_expression(text[start + 2 : end]))
        position, literal = end + 1, ""
    literal += text[position:]
    return (*parts, literal) if literal or not parts else tuple(parts)


def _filled(template: Any, scope: Scope, allowance: Allowance) -> Any:
    if isinstance(template, str):
        return _render_text(template, scope, allowance, str)
    allowance.take(1)
    if isinstance(template, dict):
        return {key: _filled(value, scope, allowance) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [_filled(value, scope, allowance) for value in template]
    return template


def _render_text(text: str, scope: Scope, allowance: Allowance, as_text: Callable[[str], str]) -> Any:
    parts = parse(text)
    if len(parts) == 1 and as_text is str:
        part = parts[0]
        if isinstance(part, str):
            allowance.take(1 + len(part))
            return part
        value = part.evaluate(scope, allowance)
        allowance.take(measure(value)[0] if isinstance(value, WALKED) else 1)
        return value
    texts = []
    for part in parts:
        said = part if isinstance(part, str) else as_text(_scalar(part, scope, allowance))
        allowance.take(1 + len(said))
        texts.append(said)
    return "".join(texts)


def _scalar(expression: Expression, scope: Scope, allowance: Allowance) -> str:
    value = expression.evaluate(scope, allowance)
    if value is None:
        raise TemplateError(f"${{{expression.text}}} is null inside a text")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TemplateError(f"${{{expression.text}}} is a {type(value).__name__}, which cannot stand inside a text")


def _path_segment(value: str) -> str:
    if value in {"", ".", ".."}:
        raise TemplateError(f"{value!r} cannot be a segment of a path")
    return quote(value, safe="")


def _closing_brace(text: str, start: int) -> int:
    """Where the expression that begins at `start` ends: braces nest, and those in quotes do not count."""
    depth, quoted, position = 1, "", start
    while position < len(text):
        char = text[position]
        if quoted:
            if char == "\\":
                position += 1
            elif char == quoted:
                quoted = ""
        elif char in _QUOTES:
            quoted = char
        elif char in "{}":
            depth += 1 if char == "{" else -1
            if depth == 0:
                return position
        position += 1
    raise TemplateError(f"{text!r} has a ${{ that is not closed")


def _expression(text: str) -> Expression:
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", text, re.ASCII):
        names = tuple(text.split("."))
        return Expression(text, _walk(names), frozenset({names}))
    try:
        compiled = jmespath.compile(text)
    except jmespath.exceptions.JMESPathError as error:
        raise TemplateError(f"${{{text}}} is not JMESPath: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise TemplateError("an expression is nested too deeply") from None
    if _is_deeper(compiled.parsed, DEEPEST):
        raise TemplateError(f"an expression has more than {DEEPEST} levels")
    for node in _nodes(compiled.parsed):
        if not _is_storable(node.get("value")):
            raise TemplateError("an expression has a literal that is not JSON, or that no database stores (NUL)")
        if node["type"] == "function_expression" and node["value"] not in Functions.FUNCTION_TABLE:
            raise TemplateError(f"${{{text}}} is not JMESPath: there is no function {node['value']}()")
        if node["type"] == "subexpression" and node["children"][0]["type"] == "not_expression":
            raise TemplateError(f"${{{text}}} is always null, since ! binds closer than the dot; write !(...)")
    return Expression(text, _search(text, compiled), frozenset(_reads(compiled.parsed)))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a parsed expression, for what jmespath itself finds out only when it is evaluated."""
    yield node
    for child in node.get("children", []):
        if isinstance(child, dict):  # a slice's are numbers
            yield from _nodes(child)


def _is_deeper(node: dict[str, Any], levels: int) -> bool:
    """Whether a parsed expression has more levels than what evaluates it should be asked for."""
    level = [node]
    for _ in range(levels):
        level = [child for each in level for child in each.get("children", []) if isinstance(child, dict)]
        if not level:
            return False
    return True


def _walk(names: tuple[str, ...]) -> Callable[[Scope, Allowance], Any]:
    """A dotted path, which is nearly every expression, without the interpreter: some twenty times as fast."""

    def walk(scope: Scope, _: Allowance) -> Any:
        value: Any = scope
        for name in names:
            if not isinstance(value, dict):
                return None
            value = value.get(name)
        return value

    return walk


def _search(text: str, compiled: Any) -> Callable[[Scope, Allowance], Any]:
    def search(scope: Scope, allowance: Allowance) -> Any:
        try:
            return evaluate(compiled.parsed, scope, allowance)
        except TemplateError as error:
            raise TemplateError(f"${{{_shortened(text)}}} cannot be evaluated: {error}") from None
        except _FAILURES as error:
            reason = _shortened(str(error)) or type(error).__name__
            raise TemplateError(f"${{{_shortened(text)}}} cannot be evaluated: {reason}") from None

    return search


_FAILURES = (
    jmespath.exceptions.JMESPathError,
    TypeError,
    ValueError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    RecursionError,
)
"""What evaluating an expression can come to."""


def _shortened(text: str) -> str:
    """A reason is stored and shown: it repeats no megabytes."""
    return text if len(text) <= LONGEST_QUOTED else f"{text[:LONGEST_QUOTED]}..."


def _is_storable(literal: Any) -> bool:
    """Whether a literal is what a definition's own JSON may have: no NaN, no NUL, no half a character."""
    try:
        return b"\\u0000" not in json.dumps(literal, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False


def _reads(node: dict[str, Any]) -> set[tuple[str, ...]]:
    """The paths from the root that a parsed expression reads; what follows a projection is relative to it."""
    kind, children = node["type"], node.get("children", [])
    if kind == "field":
        return {(node["value"],)}
    if kind in {"current", "identity"}:  # the identity is what a projection at the root (`*.a`) goes over
        return {("@",)}
    if kind == "subexpression":
        paths = _reads(children[0])
        for child in children[1:]:
            relative = _reads(child) - {("@",)}
            paths = {(*path, *more) for path in paths for more in relative} or paths
        return paths
    if kind in {"index_expression", "projection", "value_projection", "filter_projection", "flatten", "pipe"}:
        return _reads(children[0])
    if kind in {"literal", "expref", "index", "slice"}:
        return set()
    return set().union(*(_reads(child) for child in children))
