"""Write commands.md, recipes.md and rich-shapes.md from the program itself: `make docs`."""

import os
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
from PIL import Image
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperGroup
from typer.main import get_command

from st_llm_cli.cli.main import app
from st_llm_cli.recipe.schema import PRESETS, Recipe
from st_llm_cli.shapes.ceilings import NUM_FRAMES, Observers
from st_llm_cli.shapes.questions import Question
from st_llm_cli.shapes.render import sample_frames
from st_llm_cli.shapes.rich import make_scene
from st_llm_cli.shapes.rich_questions import CHOICE_KINDS, KIND_STORIES, QUESTION_KINDS, with_options
from st_llm_cli.shapes.rich_words import QUESTION_FORMS, video_caption, vocabulary
from st_llm_cli.shapes.scene import Scene
from st_llm_cli.shapes.world import EVAL_SEEDS

HERE = Path(__file__).parent
NOTE = "<!-- Written by `make docs`; a test compares it with the program. -->"


def commands_page() -> str:
    """Every help page, as a terminal of 80 columns shows it."""
    os.environ["COLUMNS"] = "80"
    parts = ["# Commands", NOTE, "What each command says with `--help`."]
    todo: list[tuple[list[str], Any, Any]] = [([], get_command(app), None)]
    while todo:
        path, command, above = todo.pop(0)
        context = command.make_context(
            path[-1] if path else "stllm", [], parent=above, resilient_parsing=True
        )
        title = " ".join(["stllm", *path])
        parts += [f"## {title}", f"```text\n{command.get_help(context).rstrip()}\n```"]
        if isinstance(command, TyperGroup):
            inner = [([*path, name], found, context) for name, found in command.commands.items()]
            todo = inner + todo  # the commands of a group stand behind it
    return "\n\n".join(parts) + "\n"


def recipes_page() -> str:
    """Every block of a recipe: keys, what they take, their defaults and meanings."""
    parts = [
        "# Recipes",
        NOTE,
        "A recipe is one YAML file that stands alone. `stllm recipes list` names those that come with the "
        "program, `show` writes one out with every default, `check` finds mistakes; `--set KEY=VALUE` "
        "changes a key on the command line (`--set stages.0.train.lr=1e-5`). Unknown keys are refused.",
    ]
    parts += [_block(Recipe, "recipe")]
    for place, block in _blocks_below(Recipe, ""):
        parts.append(_block(block, place))
    parts += ["## Presets", "A block that takes a name instead of its keys knows these:"]
    rows = [
        f"| `{table}: {name}` | `{', '.join(f'{key}: {value}' for key, value in values.items())}` |"
        for table, presets in PRESETS.items()
        for name, values in presets.items()
    ]
    parts.append("\n".join(["| name | stands for |", "|---|---|", *rows]))
    return "\n\n".join(parts) + "\n"


def _block(block: type[BaseModel], place: str) -> str:
    rows = ["| key | takes | default | means |", "|---|---|---|---|"]
    for name, field in block.model_fields.items():
        takes = _type_text(field.annotation, field).replace("|", "\\|")
        means = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {takes} | {_default_text(field)} | {means} |")
    about = " ".join((block.__doc__ or "").split())
    return f"## {place}\n\n{about}\n\n" + "\n".join(rows)


def _blocks_below(block: type[BaseModel], place: str) -> list[tuple[str, type[BaseModel]]]:
    """Blocks in a block, each with the keys that lead to it, depth first."""
    found: list[tuple[str, type[BaseModel]]] = []
    for name, field in block.model_fields.items():
        for inner in _blocks_in(field.annotation):
            here = f"{place}{name}{'[]' if get_origin(_bare(field.annotation)) is tuple else ''}"
            found += [(here, inner), *_blocks_below(inner, f"{here}.")]
    return found


def _blocks_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [block for inner in get_args(annotation) for block in _blocks_in(inner)]


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _type_text(annotation: Any, field: FieldInfo | None = None) -> str:
    """A type in words."""
    limits = [text for item in (field.metadata if field else ()) if (text := _limits_text(item))]
    if get_origin(annotation) is Annotated:
        limits += [text for item in get_args(annotation)[1:] if (text := _limits_text(item))]
    annotation, origin = _bare(annotation), get_origin(_bare(annotation))
    arguments = [item for item in get_args(annotation) if item not in (type(None), Ellipsis)]
    if origin is Literal:
        text = ", ".join(f"`{value}`" for value in arguments)
    elif origin is tuple:
        text = f"list of {_type_text(arguments[0])}"
    elif origin is dict:
        text = f"mapping of {_type_text(arguments[0])} to {_type_text(arguments[1])}"
    elif arguments:
        text = " or ".join(_type_text(item) for item in arguments)
    elif issubclass(annotation, BaseModel):
        text = "block"
    else:
        text = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}[
            annotation.__name__
        ]
    return ", ".join([text, *limits])


def _limits_text(item: Any) -> str:
    """Limits of a number in words; those of a `Field` are a list of them."""
    signs = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    items = item.metadata if isinstance(item, FieldInfo) else [item]
    limits = [(word, getattr(one, name, None)) for one in items for name, word in signs.items()]
    return ", ".join(f"{word} {value:g}" for word, value in limits if value is not None)


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def rich_shapes_page() -> str:
    """The rich world of moving shapes: clips, questions and words."""
    parts = ["# The rich world in examples", NOTE]
    parts.append(
        "What [shapes.md](shapes.md) says of the rich world, shown: each example is the first one of its "
        "kind among the seeds of evaluation, and the frames are the eight that a model sees."
    )
    parts.append("## Clips")
    for kind in PICTURED:
        scene, question = _example(kind)
        parts.append(f"![eight frames]({_picture(kind).as_posix()})")
        parts.append(f"{video_caption(scene)} *{question.text}* {question.answer}")
    head = ["| kind | asked | right | other options | best without order |", "|---|---|---|---|---|"]
    parts += ["## Questions with options", "\n".join([*head, *map(_example_row, CHOICE_KINDS)])]
    forms = "\n".join(f"| `{name}` | {text} |" for name, text in QUESTION_FORMS.items())
    parts += ["## Question forms", f"| form | text |\n|---|---|\n{forms}"]
    kinds = ", ".join(
        f"`{kind}`" for kind in QUESTION_KINDS if kind not in QUESTION_FORMS and kind != "caption"
    )
    parts.append(f"The other kinds ({kinds}) and prompts for captions are put as in the plain world.")
    words = [word for word in vocabulary() if word != "\n"]
    parts += ["## Words", f"All {len(words)} words, marks and option letters, line breaks apart:"]
    parts.append(f"`{' '.join(words)}`")
    return "\n\n".join(parts) + "\n"


def _example(kind: str) -> tuple[Scene, Question]:
    """The first scene of evaluation that is asked a kind of question, and the question with its options."""
    for seed in EVAL_SEEDS:
        scene = make_scene(seed)
        asked = scene.story in KIND_STORIES[kind]
        question = QUESTION_KINDS[kind](scene, Random(f"{seed} {kind}")) if asked else None
        if question is not None:
            return scene, with_options(question, Random(f"{seed} {kind} options"), key=0)
    raise AssertionError("every kind is asked")


def _example_row(kind: str) -> str:
    scene, question = _example(kind)
    others = "; ".join(text for text in question.candidates if text != question.answer)
    best = Observers(scene).ceilings(question).order_blind
    return f"| `{kind}` | {question.text} | {question.answer} | {others} | {best:.2f} |"


def _picture(kind: str) -> Path:
    return Path("pictures") / f"rich-{kind.replace('_', '-')}.png"


def write_pictures() -> None:
    """Eight frames of a clip side by side, in few colours: small files."""
    for kind in PICTURED:
        frames = sample_frames(_example(kind)[0], NUM_FRAMES, 100)
        gap = np.full((100, 4, 3), 255, np.uint8)
        strip = np.concatenate([part for frame in frames for part in (frame, gap)][:-1], axis=1)
        (HERE / _picture(kind)).parent.mkdir(exist_ok=True)
        few = Image.fromarray(strip).quantize(48, Image.Quantize.MAXCOVERAGE)
        few.save(HERE / _picture(kind), optimize=True)


PAGES = {"commands.md": commands_page, "recipes.md": recipes_page, "rich-shapes.md": rich_shapes_page}
PICTURED = (
    "action_sequence",
    "object_interaction",
    "object_shuffle",
    "character_order",
    "scene_transition",
    "moving_direction",
)
"""Kinds of which an example is drawn."""

if __name__ == "__main__":
    write_pictures()
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
