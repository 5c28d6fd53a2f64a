import json
import sys
import time

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


def test_deeper_value_behind_is_not_the_one_named() -> None:
    text = "[" * 50_000 + "]" * 50_000 + ",\n" + "[" * 60_000 + "]" * 60_000
    with pytest.raises(json.JSONDecodeError) as caught:
        parse_json_at(text, 0)
    assert caught.value.lineno == 1


@pytest.mark.parametrize("before", [f'"{LONG}"', f"0.{LONG}", f"1e{LONG}", f"{LONG}.5", '"\\"1"'])
def test_digits_of_texts_and_fractions_are_not_the_number_that_is_too_long(before: str) -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        parse_json(f'{{"a": {before},\n\n"b": -{LONG}}}')
    assert (caught.value.lineno, caught.value.colno) == (3, 6)


@pytest.mark.parametrize(
    "text",
    ["[" * 50_000 + '"' + '\\"' * 20_000, "[" + f"0.{'9' * 4000}, " * 150 + f"{LONG}]"],
    ids=["a text without an end", "long fractions"],
)
def test_place_of_an_error_is_found_at_once(text: str) -> None:
    began = time.perf_counter()
    refusal(text)
    assert time.perf_counter() - began < 3  # a search that goes back over each takes ten seconds


def test_bytes_that_are_no_text_are_told_apart() -> None:
    with pytest.raises(UnicodeDecodeError):
        parse_json(b'"\xff"')
