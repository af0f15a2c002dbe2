"""What a JSON Schema asks for: how many checks one value of an input may lead to.

Twenty definitions that each refer twice to the one before them are two kilobytes and a million checks of one value.
What is counted is an upper bound: all branches of an `anyOf`, and the same again for each level of the input in a
schema that refers to itself. A schema is looked at once for each level, however often it is referred to.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

MOST_CHECKS = 10_000
"""Checks that one value of an input, with what stands in it along one path, may lead to."""
MOST_VALUES = 20_000
"""Values in a schema's own JSON."""
LONGEST_CHAIN = 100
"""Schemas that follow from each other for one and the same value."""
LEVELS = 64
"""Levels that an input may have."""
_MOST_STEPS = 300_000
_SEVERAL = ("allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies")
_SINGLE = ("not", "if", "then", "else")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_PARTS = (
    ("key", "properties", "patternProperties", ("additionalProperties", "unevaluatedProperties", "propertyNames")),
    ("index", "prefixItems", "", ("items", "additionalItems", "contains", "unevaluatedItems")),
)
"""Of objects and of lists: the schemas of single parts, of several, of any."""
_CHOICES_A_CHECK = 50
"""Choices of an `enum` that take as long as another check."""
_AGAIN = 3
"""How often `unevaluated...` has what stands beside it checked."""

Children = dict[tuple[str, Any], Counter[int]]
"""Which schemas a part of the value is checked against, and how often, by the part: `("key", "amount")`."""


class TooManyChecks(Exception):
    """A schema that asks for more than may be asked; where, and why."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class SchemaCost:
    """The cost of a schema. Raises TooManyChecks when it is beyond what may be asked."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema, self._steps, self.has_alternatives = dict(schema), 0, False
        self._anchors: dict[str, list[Any]] = defaultdict(list)
        self._nodes: dict[int, Any] = {}
        self._paths: dict[int, str] = {id(self._schema): "input_schema"}
        self._here: dict[int, tuple[int, Children]] = {}
        self._below: dict[tuple[int, int], int] = {}
        self._chain: list[int] = []
        self._find_anchors()
        self.checks = self._cost(self._schema, LEVELS)
        """Checks that one value may lead to."""

    def _find_anchors(self) -> None:
        """By the way through every value of the schema's JSON, of which there may not be too many either."""
        left: list[Any] = [self._schema]
        for _ in range(MOST_VALUES):
            if not left:
                return
            each = left.pop()
            if isinstance(each, dict):
                for name in ("$anchor", "$dynamicAnchor"):
                    if isinstance(each.get(name), str):
                        self._anchors[each[name]].append(each)
                left += each.values()
            elif isinstance(each, list):
                left += each
        if left:
            raise TooManyChecks("input_schema", f"has more than {MOST_VALUES} values")

    def _cost(self, node: Any, levels: int) -> int:
        """Checks of a value that has this many levels, along its most expensive path."""
        if not isinstance(node, dict):
            return 1
        known = self._below.get((id(node), levels))
        if known is not None:
            return known
        total, children = self._in_place(node)
        if levels:
            total += max((self._all(parts, levels - 1) for parts in _groups(children)), default=0)
        self._limit(node, total)
        self._below[id(node), levels] = total
        return total

    def _all(self, parts: list[Counter[int]], levels: int) -> int:
        total = 0
        for part in parts:
            for child, times in part.items():
                self._step()
                total += times * self._cost(self._nodes[child], levels)
        return total

    def _in_place(self, node: Any) -> tuple[int, Children]:
        """Checks of one value itself, and what its parts are checked against."""
        if not isinstance(node, dict):
            return 1, {}
        if id(node) in self._here:
            return self._here[id(node)]
        if id(node) in self._chain:
            raise TooManyChecks(self._paths[id(node)], "refers to itself for one and the same value")
        if len(self._chain) >= LONGEST_CHAIN:
            reason = f"is more than {LONGEST_CHAIN} references, or combinations, away from where the value is"
            raise TooManyChecks(self._paths[id(node)], reason)
        self._chain.append(id(node))
        again = _AGAIN if "unevaluatedProperties" in node or "unevaluatedItems" in node else 1
        choices = node.get("enum")
        total = 1 + (len(choices) // _CHOICES_A_CHECK if isinstance(choices, list) else 0)
        children = self._own_children(node)
        for part in self._combined(node):
            checks, more = self._in_place(part)
            total += again * checks
            self._limit(node, total)
            for key, counted in more.items():
                there = children.setdefault(key, Counter())
                for child, times in counted.items():
                    self._step()
                    there[child] += again * times
        self._chain.pop()
        self._here[id(node)] = total, children
        return total, children

    def _combined(self, node: dict[str, Any]) -> Iterator[Any]:
        """The schemas that the same value is checked against."""
        self.has_alternatives |= "anyOf" in node or "oneOf" in node
        for name in _SEVERAL:
            yield from (part for _, part in self._named(node, name))
        for name in _SINGLE:
            yield from self._one(node, name)
        for name in _REFERENCES:
            if isinstance(node.get(name), str):
                yield from self._referred(node, name)

    def _own_children(self, node: dict[str, Any]) -> Children:
        children: Children = {}
        for kind, fixed, several, others in _PARTS:
            for key, part in self._named(node, fixed):
                children[kind, key] = Counter([self._known(part)])
            rest = [part for _, part in self._named(node, several)]
            rest += [part for name in others for part in self._one(node, name)]
            if rest:
                children[kind, None] = Counter(map(self._known, rest))
        return children

    def _one(self, node: dict[str, Any], name: str) -> Iterator[Any]:
        part = node.get(name)
        if isinstance(part, dict):
            self._paths.setdefault(id(part), f"{self._paths[id(node)]}.{name}")
            yield part

    def _named(self, node: dict[str, Any], name: str) -> Iterator[tuple[str | int, Any]]:
        """The schemas in a list, or in an object of them, each with its place there."""
        whole = node.get(name)
        parts: Any = whole.items() if isinstance(whole, dict) else enumerate(whole) if isinstance(whole, list) else ()
        for key, part in parts:
            place = f".{key}" if isinstance(key, str) else f"[{key}]"
            self._paths.setdefault(id(part), f"{self._paths[id(node)]}.{name}{place}")
            yield key, part

    def _known(self, part: Any) -> int:
        self._nodes[id(part)] = part
        return id(part)

    def _referred(self, node: dict[str, Any], name: str) -> Iterator[Any]:
        """What a reference leads to; the schema itself may have an address."""
        reference, own = node[name], self._schema.get("$id")
        if isinstance(own, str) and reference.startswith(own):
            reference = reference.removeprefix(own) or "#"
        address, _, fragment = unquote(reference).partition("#")
        found = [] if address else self._anchors.get(fragment, []) if fragment[:1] not in ("", "/") else [self._schema]
        if fragment.startswith("/"):
            found = [self._at(part, fragment) for part in found]
        if not found or None in found:
            raise TooManyChecks(f"{self._paths[id(node)]}.{name}", "leads out of the schema")
        for part in found:
            self._paths.setdefault(id(part), f"input_schema{fragment.replace('/', '.')}")
            yield part

    def _at(self, whole: Any, pointer: str) -> Any:
        for token in pointer.split("/")[1:]:
            name = token.replace("~1", "/").replace("~0", "~")
            if isinstance(whole, dict):
                whole = whole.get(name)
            elif isinstance(whole, list) and name.isdecimal() and int(name) < len(whole):
                whole = whole[int(name)]
            else:
                return None
        return whole

    def _limit(self, node: Any, checks: int) -> None:
        if checks > MOST_CHECKS:
            reason = f"leads to more than {MOST_CHECKS} checks of one value, with all that it refers to"
            raise TooManyChecks(self._paths[id(node)], reason)

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise TooManyChecks("input_schema", "combines more schemas than can be looked at")


def _groups(children: Children) -> Iterator[list[Counter[int]]]:
    """What one part of the value is checked against: by its name, and as any part of its kind."""
    for (kind, key), own in children.items():
        rest = children.get((kind, None)) if key is not None else None
        yield [own, rest] if rest else [own]
