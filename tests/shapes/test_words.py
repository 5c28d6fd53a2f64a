from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from st_llm_cli.shapes.questions import IMAGE_QUESTION_KINDS, QUESTION_KINDS, with_options
from st_llm_cli.shapes.scene import MovingShape, Scene, Segment
from st_llm_cli.shapes.words import (
    PROMPTS_IMAGE,
    PROMPTS_VIDEO,
    QUESTION_FORMS,
    image_caption,
    pieces,
    script_text,
    video_caption,
    vocabulary,
    with_article,
)
from st_llm_cli.shapes.world import make_picture, make_scene

DOCUMENT = Path(__file__).parents[2] / "docs" / "shapes.md"


def scene_of(*scripts: tuple[str, str, tuple[str, ...]]) -> Scene:
    """A scene of objects (colour, shape, movements); where they are does not matter."""
    objects = []
    for color, shape, movements in scripts:
        segments = tuple(
            Segment(k, k + 1, name, 0.0 if name == "still" else 0.3) for k, name in enumerate(movements)
        )
        objects.append(MovingShape(color, shape, (0, 0, 0), 0.1, (0.15, 0.5), segments))
    return Scene(0, float(len(segments)), (0, 0, 0), tuple(objects))


def test_text_falls_into_words_and_marks() -> None:
    assert pieces("Question: Is it?\n(A) no.") == [
        "Question",
        ":",
        "Is",
        "it",
        "?",
        "\n",
        "(",
        "A",
        ")",
        "no",
        ".",
    ]
    assert pieces("###Human: <Video>12") == ["###", "Human", ":", "<", "Video", ">", "1", "2"]


@pytest.mark.parametrize("start", [0, 10**9])
def test_vocabulary_holds_every_piece_of_every_question(start: int) -> None:
    known = set(vocabulary())
    for seed in range(start, start + 400):
        rng = Random(seed)
        asked = [(make_scene(seed), kind) for kind in QUESTION_KINDS.values()]
        asked += [(make_picture(seed), kind) for kind in IMAGE_QUESTION_KINDS.values()]
        for scene, kind in asked:
            question = kind(scene, rng)
            if question is None:
                continue
            choice = with_options(question, scene, rng) or question
            assert choice.kind not in ("caption", "image_caption") or not choice.candidates
            for text in (question.text, question.answer, *choice.candidates):
                assert set(pieces(text)) <= known, text


def test_vocabulary_holds_no_piece_that_is_never_used() -> None:
    seen = set(pieces("Question: \nOptions:\n(A) (B) (C) (D) (E)"))
    for seed in range(1500):
        rng = Random(seed)
        for scene, table in ((make_scene(seed), QUESTION_KINDS), (make_picture(seed), IMAGE_QUESTION_KINDS)):
            for kind in table.values():
                question = kind(scene, rng)
                if question is not None:
                    choice = with_options(question, scene, rng) or question
                    for text in (question.text, question.answer, *choice.candidates):
                        seen.update(pieces(text))
    assert set(vocabulary()) == seen


def test_vocabulary_takes_prompt_texts_in() -> None:
    extra = set(vocabulary(["###Human: Only give the best option."])) - set(vocabulary())
    assert extra == {"###", "Human", "Only", "give", "best", "option"}


def test_article_goes_by_the_sound() -> None:
    assert with_article("orange star") == "an orange star"
    assert with_article("red circle") == "a red circle"


def test_scripts_read_as_sentences() -> None:
    assert script_text(("left", "still")) == "moves left and then stops"
    assert script_text(("still", "up")) == "stays still and then moves up"
    assert script_text(("still",)) == "stays still"
    assert script_text(("up", "still", "down")) == "moves up and then stops and then moves down"


def test_captions_tell_of_every_object() -> None:
    scene = scene_of(("red", "circle", ("right", "still")), ("orange", "star", ("still", "right")))
    assert video_caption(scene) == (
        "A red circle moves right and then stops. An orange star stays still and then moves right."
    )
    assert image_caption(scene) == "A red circle is at the left. An orange star is at the left."
    assert image_caption(scene, 2.0) == "A red circle is at the center. An orange star is at the center."


def test_words_and_forms_are_documented() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for form in (*QUESTION_FORMS.values(), *PROMPTS_VIDEO, *PROMPTS_IMAGE):
        assert form in text
    words = text.split("## Words")[1].split("`")[1].split()
    assert words == [piece for piece in vocabulary() if piece != "\n"]


def test_documented_kinds_are_those_there_are() -> None:
    questions = DOCUMENT.read_text(encoding="utf-8").split("## Questions")[1].split("## Words")[0]
    rows = [line.split("`")[1] for line in questions.splitlines() if line[:3] == "| `"]
    assert rows == [*QUESTION_KINDS, *(kind for kind in IMAGE_QUESTION_KINDS if kind not in QUESTION_KINDS)]
