"""`${...}`: a whole one keeps its type, one in a text must be a scalar, one in a path is one quoted segment."""

from typing import Any

import pytest

from domain.exceptions import TemplateError
from domain.templates import is_whole, render, render_path

SCOPE: dict[str, Any] = {
    "input": {"n": 2, "ok": True, "price": 1.5, "name": "a b", "none": None, "list": [{"id": 1}, {"id": 2}]},
    "item": "x",
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${input.n}", 2),
        ("${input.ok}", True),
        ("${input.list}", [{"id": 1}, {"id": 2}]),
        ("${input.list[*].id}", [1, 2]),
        ("${input.list[?id > `1`] | [0].id}", 2),
        ("${input.none}", None),
        ("${input.missing.deeper}", None),
        ("${input.n.deeper}", None),
        ("${item}", "x"),
        ("${'}'}", "}"),
        ("${{a: input.n}}", {"a": 2}),
        ("n=${input.n}, ok=${input.ok}, ${input.price}", "n=2, ok=true, 1.5"),
        ("${item}${item}", "xx"),
        ("$${item}", "${item}"),
        ("a $${item} ${item}", "a ${item} x"),
        ("plain $ {text}", "plain $ {text}"),
        ("", ""),
        (5, 5),
        (None, None),
        ({"a": ["${item}", {"b": "${input.n}"}], "${item}": 1}, {"a": ["x", {"b": 2}], "${item}": 1}),
    ],
)
def test_a_template_has_the_value_of_its_expressions(template, value):
    assert render(template, SCOPE) == value


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("a ${input.none}", "is null inside a text"),
        ("a ${input.list}", "is a list, which cannot stand inside a text"),
        ("${length(input.n)}", "cannot be evaluated"),
        ("${to_number('nan')}", "is nan, which is not JSON"),
        ("${to_number('-1e999')}", "is -inf, which is not JSON"),
        ("${item", "not closed"),
        ("${a..b}", "not JMESPath"),
    ],
)
def test_a_template_without_a_value_says_why(template, fault):
    with pytest.raises(TemplateError, match=fault):
        render(template, SCOPE)


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("../secret", "..%2Fsecret"),
        ("a?b#c", "a%3Fb%23c"),
        ("a%2Fb", "a%252Fb"),
        ("a\r\nb", "a%0D%0Ab"),
        ("é", "%C3%A9"),
        ("...", "..."),
        (7, "7"),
        (True, "true"),
    ],
)
def test_a_value_in_a_path_is_one_quoted_segment(value, segment):
    assert render_path("/x/${v}/y", {"v": value}) == f"/x/{segment}/y"


@pytest.mark.parametrize("value", ["", ".", "..", None, [], {}])
def test_a_value_that_would_change_the_route_is_refused(value):
    for path in ("/x/${v}/y", "/x/${v}${v}", "/x/.${v}"):
        with pytest.raises(TemplateError):
            render_path(path, {"v": value})


def test_a_whole_template_is_one_expression_and_nothing_else():
    assert is_whole("${input.n}")
    assert not any(
        is_whole(template) for template in ("x${input.n}", "${item}${item}", "$${item}", "", None, 5, ["${x}"])
    )
