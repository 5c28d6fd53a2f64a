"""The words of the world of moving shapes: how things, movements and places are said, one way each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from st_llm_cli.shapes.scene import COLORS, PLACES, SHAPES, MovingShape, Scene


def pieces(text: str) -> list[str]:
    """Split a text into words, digits, punctuation marks, runs of "#" and line breaks; drop other space."""
    return _PIECE.findall(text)


def vocabulary(prompt_texts: Iterable[str] = ()) -> list[str]:
    """Every piece that a question, an answer, an option or a prompt can contain, sorted.

    Args:
        prompt_texts: Texts wrapped around questions, such as the released system prompts and roles.
    """
    parts = (PROMPTS_VIDEO, PROMPTS_IMAGE, QUESTION_FORMS.values(), MOVES, MOVES_NEXT.values())
    texts = [re.sub("{.*?}", " ", text) for part in parts for text in part]
    texts += [*COLORS, *SHAPES, *PLACES, *MOVES.values(), *ANSWER_WORDS, OPTION_TEXT, *prompt_texts]
    return sorted({piece for text in texts for piece in pieces(text)})


def name_of(item: MovingShape) -> str:
    """Full name of an object: "red circle"."""
    return f"{item.color} {item.shape}"


def names_of(item: MovingShape) -> tuple[str, str, str]:
    """All names that single out an object: "red circle", "circle", "red object"."""
    return name_of(item), item.shape, f"{item.color} object"


def with_article(name: str) -> str:
    """A name with its indefinite article: "a red circle", "an orange star"."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def sentence(text: str) -> str:
    """A text with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def movement_answer(movement: str) -> str:
    """What an object does during one segment: "It moves left."."""
    return f"It {MOVES[movement]}."


def script_text(movements: Sequence[str]) -> str:
    """A whole motion script: "moves left and then stops"."""
    first, *rest = movements
    return " and then ".join([MOVES[first], *(MOVES_NEXT[movement] for movement in rest)])


def video_caption(scene: Scene) -> str:
    """What happens in a scene, one sentence an object: "A red circle moves left and then stops."."""
    return " ".join(
        sentence(f"{with_article(name_of(item))} {script_text(item.movements)}") for item in scene.objects
    )


def image_caption(scene: Scene, seconds: float = 0.0) -> str:
    """What is to be seen at one moment, one sentence an object: "A red circle is at the top left."."""
    return " ".join(
        sentence(f"{with_article(name_of(item))} is at the {item.place(seconds)}") for item in scene.objects
    )


_PIECE = re.compile(r"\n|#+|[A-Za-z]+|[0-9]|[^\sA-Za-z0-9#]")

MOVES = {
    "left": "moves left",
    "right": "moves right",
    "up": "moves up",
    "down": "moves down",
    "still": "stays still",
}
MOVES_NEXT = {**MOVES, "still": "stops"}
"""The same after another movement."""

QUESTION_FORMS = {
    "color": "What color is the {shape}?",
    "shape": "What shape is the {color} object?",
    "exist": "Is there {object}?",
    "count": "How many objects are there?",
    "first_movement": "What does the {name} do first?",
    "last_movement": "What does the {name} do at the end?",
    "movement": "What does the {name} do?",
    "direction": "Which way does the {name} move?",
    "first_place": "Where is the {name} at the beginning?",
    "last_place": "Where is the {name} at the end?",
    "moves_first": "Which object moves first?",
    "still_at_end": "Which object is still at the end?",
    "place": "Where is the {name}?",
    "what_at": "What is at the {place}?",
}
PROMPTS_VIDEO = (
    "Describe the video.",
    "Describe this video.",
    "Describe the video in detail.",
    "Describe what happens in the video.",
    "What happens in the video?",
    "What happens in this video?",
    "What is happening in the video?",
    "What do you see in the video?",
)
PROMPTS_IMAGE = (
    "Describe the image.",
    "Describe this image.",
    "Describe the image in detail.",
    "What is in the image?",
    "What do you see in the image?",
)
COUNT_WORDS = ("one", "two", "three")
ANSWER_WORDS = ("yes no nothing", "It and then the a an A An is at object", *COUNT_WORDS)
OPTION_TEXT = "Question: \nOptions:\n(A) (B) (C) (D) (E)"
