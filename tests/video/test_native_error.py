from __future__ import annotations

import pytest

from st_llm_cli.video.native_error import plain_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[12:00:01] /src/video_reader.cc:151: Check failed: st_nb >= 0\n\nStack trace:",
            "Check failed: st_nb >= 0",
        ),
        ("Decoder, /__w/Single.cpp:52, \nCould not open file", "Could not open file"),
        ("Error reading /videos/dog.mp4...", "Error reading /videos/dog.mp4..."),
        ("\n", "RuntimeError"),
        ("x" * 500, "x" * 120),
    ],
)
def test_the_first_words_without_source_lines(text: str, words: str) -> None:
    assert plain_words(RuntimeError(text)) == words
