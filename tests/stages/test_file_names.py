import os

from st_llm_cli.stages.file_names import as_text


def test_name_that_is_text_stays_what_it_is() -> None:
    assert as_text("käse \\ 動画\n.mp4") == "käse \\ 動画\n.mp4"


def test_bytes_that_are_no_text_are_spelt() -> None:
    assert as_text(os.fsdecode(b"caf\xe9 \xff.mp4")) == r"caf\xe9 \xff.mp4"


def test_half_a_character_is_spelt() -> None:
    assert as_text("\ud800.mp4") == r"\ud800.mp4"
