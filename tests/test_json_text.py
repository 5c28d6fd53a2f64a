import json
import sys

import pytest

from st_llm_cli.json_text import parse_json, parse_json_at

LONG = "9" * (sys.get_int_max_str_digits() + 1)


def refusal(text: str | bytes) -> str:
    with pytest.raises(json.JSONDecodeError) as caught:
        parse_json(text)
    return str(caught.value)


def test_values_are_those_of_json() -> None:
    assert parse_json('{"a": [1, null, "\\u00e9"]}') == {"a": [1, None, "é"]}
    assert parse_json('"é"'.encode()) == "é"


def test_value_at_a_place_comes_with_the_place_behind_it() -> None:
    assert parse_json_at("[7] [8]", 4) == ([8], 7)


@pytest.mark.parametrize("kind", [str, str.encode])
def test_what_is_nested_too_deeply_is_an_error_at_its_innermost_begin(kind: type) -> None:
    text = '{"a": "[[",\n "b": ' + "[" * 50_000 + "]" * 50_000 + ', "c": [[]]}'
    assert refusal(kind(text)) == "nested too deeply: line 2 column 50006 (char 50017)"


def test_number_too_long_is_an_error_where_it_begins() -> None:
    digits = sys.get_int_max_str_digits()
    assert (
        refusal(f'{{"a": 1,\n"b": {LONG}}}')
        == f"a number of more than {digits} digits: line 2 column 6 (char 14)"
    )
    with pytest.raises(json.JSONDecodeError) as caught:
        parse_json_at(f"{LONG} \n{LONG}", len(LONG) + 2)
    assert caught.value.lineno == 2


def test_bytes_that_are_no_text_are_told_apart() -> None:
    with pytest.raises(UnicodeDecodeError):
        parse_json(b'"\xff"')
