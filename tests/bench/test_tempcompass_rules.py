"""TempCompass: how replies are read, strictly and by the official rules."""

import re
from typing import Any

import pytest

from st_llm_cli.bench.tempcompass import (
    caption_letter,
    released_caption,
    released_yes_no,
    yes_or_no,
)
from tests.bench.golden import golden_rows

CAPTIONS = re.compile(r"^(?:Caption|Option|Sentence) \w: (.*)$", re.MULTILINE)
RULES = golden_rows("tempcompass_rules.jsonl")


def of_kind(kind: str) -> list[Any]:
    found = [pytest.param(row, id=row["id"]) for row in RULES if row["kind"] == kind]
    assert found
    return found


@pytest.mark.parametrize("row", of_kind("yes_no"))
def test_official_yes_or_no(row: dict[str, Any]) -> None:
    assert (released_yes_no(row["raw_output"]) or False) == row["expected"]


@pytest.mark.parametrize("row", of_kind("caption_matching"))
def test_official_caption(row: dict[str, Any]) -> None:
    said = released_caption(row["raw_output"], row["question"], CAPTIONS.findall(row["question"]))
    expected = {None: "fail"}.get(said, int(row["answer"].endswith(str(said))))
    assert expected == row["expected"]


@pytest.mark.parametrize("row", of_kind("caption_matching"))
def test_strict_caption_reads_more_and_never_otherwise(row: dict[str, Any]) -> None:
    captions = CAPTIONS.findall(row["question"])
    option = caption_letter(row["raw_output"], row["question"], captions).option
    said = released_caption(row["raw_output"], row["question"], captions)
    if said is not None:
        assert option is not None and captions[option] == said
    elif row["raw_output"]:
        assert option is not None


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("**Yes**", "yes"),
        ("The answer is no.", "no"),
        ("noon", None),
        ("", None),
        ("Not sure", None),
        ("yes and no", "yes"),
        ("It is either yes or no", None),
    ],
)
def test_strict_yes_or_no(reply: str, said: str | None) -> None:
    assert yes_or_no(reply)[0] == said
