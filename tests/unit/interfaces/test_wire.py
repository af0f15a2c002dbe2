"""What comes in as JSON: one kind of number, whole ones as whole numbers."""

from io import BytesIO
from types import SimpleNamespace

import pytest
from rest_framework.exceptions import ParseError

from interfaces.wire import StrictJSONParser


def parsed(text):
    request = SimpleNamespace(META={"CONTENT_LENGTH": str(len(text))})
    return StrictJSONParser().parse(BytesIO(text.encode()), parser_context={"request": request})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", "2"),
        ("2.0", "2"),
        ("-2.0", "-2"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ("9007199254740992.0", "9007199254740992"),
        ("2.5", "2.5"),
        ("1e-3", "0.001"),
        ("1e300", "1e+300"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
    ],
)
def test_a_whole_number_is_one_however_it_is_written(text, value):
    assert repr(parsed(text)) == value
    assert repr(parsed(f'{{"deep": [{text}]}}')["deep"][0]) == value


@pytest.mark.parametrize("text", ["1e400", "-1e400", "[1e999]", "NaN", "1.", ".5", "01.0"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ParseError):
        parsed(text)
