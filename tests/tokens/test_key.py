import dataclasses
import os

import pytest

from st_llm_cli.tokens.key import Key, digest_of

KEY = Key(
    media="sha256:ab",
    indices=(0, 5, 5, 9),
    reader="pyav",
    transform="ResizeCenterCrop(resolution=224)",
    encoder="sha256:cd",
    level="queries",
    question=None,
    dtype="float16",
)


def test_equal_keys_have_one_digest() -> None:
    assert dataclasses.replace(KEY).digest == KEY.digest
    assert len(KEY.digest) == 40


def test_digest_is_the_same_on_every_machine() -> None:
    assert KEY.digest == "87c603bbb04bc04e3b5f2fe70a4bc674155e1474"


@pytest.mark.parametrize(
    "change",
    [
        {"media": "sha256:ac"},
        {"indices": (0, 5, 9, 5)},
        {"indices": (0, 5, 5)},
        {"reader": "decord"},
        {"transform": "ResizeCenterCrop(resolution=336)"},
        {"encoder": "sha256:ce"},
        {"level": "frames"},
        {"question": "What moves?"},
        {"question": ""},
        {"dtype": "bfloat16"},
    ],
)
def test_every_part_of_a_key_counts(change: dict[str, object]) -> None:
    assert dataclasses.replace(KEY, **change).digest != KEY.digest


def test_canonical_form_can_be_read_by_people() -> None:
    assert KEY.canonical().startswith('{"dtype":"float16","encoder":"sha256:cd","indices":[0,5,5,9],')


def test_vision_features_belong_to_no_question() -> None:
    with pytest.raises(ValueError, match="the vision encoder reads no question"):
        dataclasses.replace(KEY, level="frames", question="What moves?")


def test_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="level 'patches'; it can be 'frames', 'queries'"):
        dataclasses.replace(KEY, level="patches")


def test_a_file_name_of_any_bytes_has_a_digest() -> None:
    assert digest_of(os.fsdecode(b"caf\xe9.mp4")) != digest_of("café.mp4")
