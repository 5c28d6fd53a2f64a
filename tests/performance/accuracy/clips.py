"""The clips that the bundled model is measured on: which scenes, in which files, and what is asked of them.

Four folders, none of a seed that training draws:

rich/     every story of the rich world, and multiple-choice questions of all its kinds, as many of each
ends/     the plain world, in the same files as the rich one
corners/  walks of the rich world in files that those leave out: large ones at high rates, and long ones
plain/    the plain world, in files as `write_folder` draws them

The files of `rich` and `ends` go through H.264, MPEG-4 and VP9 in turn, with smooth and with jagged outlines,
320x240 to 1280x720 pixels, 12 to 60 frames a second. Large pictures at high rates would take most of the time
and show the model nothing else: a file has at most `MOST_PIXELS` of its class of sizes, and a scene that is
too long for its file is left out. Every twelfth file has no such limit, and is small and slow instead. What
this leaves out is in `corners`: every codec with the two largest sizes, 30 and 60 frames a second, smooth and
jagged outlines; and three files of 40 to 60 seconds.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from st_llm_cli.shapes import rich, world
from st_llm_cli.shapes.encode import FORMATS, RICH_FRAME_RATES, RICH_SIZES, Encoding, write_video
from st_llm_cli.shapes.folder import SETTINGS, TRUTH, Clip, is_complete
from st_llm_cli.shapes.questions import Question, any_name
from st_llm_cli.shapes.rich_questions import CHOICE_KINDS, KIND_STORIES, MOST_OPTIONS, with_options
from st_llm_cli.shapes.rich_words import QUESTION_FORMS, act_text, deeds
from st_llm_cli.shapes.scene import Scene, in_rhythm
from st_llm_cli.shapes.world import EVAL_SEEDS

FIRST_SEED = 500_000
"""Number of the held-out seeds where the measurement begins: those before have been looked at in making the
model, by tests and by `stllm eval`."""


@dataclass(frozen=True)
class Wish:
    """A kind of scene that clips are wanted of."""

    world: str
    """A key of `st_llm_cli.shapes.worlds.WORLDS`."""
    story: str = ""
    num_objects: int | None = None

    def scene(self, seed: int) -> Scene:
        """Draw it."""
        if self.world == "plain":
            return world.make_scene(seed, num_objects=self.num_objects)
        return rich.make_scene(seed, num_objects=self.num_objects, story=self.story)


def rich_wishes(per_kind: int) -> list[Wish]:
    """Say which scenes are needed so that every kind of question can be asked so many times."""
    wishes = []
    for story, most in QUESTIONS_PER_CLIP.items():
        numbers = (1, 2) if story == "walk" else (None,)  # as many of one object as of two
        count = -(-per_kind // most)
        wishes += [Wish("rich", story, numbers[number % len(numbers)]) for number in range(count)]
    return wishes


def ends_wishes(count: int) -> list[Wish]:
    """Scenes of the plain world with one and with two objects, so many of each."""
    return [Wish("plain", num_objects=number) for number in (1, 2)] * count


def plan_clips(wishes: Sequence[Wish], name: str, first: int = FIRST_SEED) -> list[Clip]:
    """Find a scene for each wish and a file that it fits in.

    Args:
        wishes: What is wanted.
        name: Of the set: each draws files of its own.
        first: Number of the held-out seeds to leave out.
    """
    seeds = iter(EVAL_SEEDS[first:])
    clips = []
    for number, wish in enumerate(wishes):
        encoding, most_pixels = _draw_file(number, name)
        seconds = most_pixels / (encoding.width * encoding.height * encoding.fps)
        clips.append(_first_clip(wish, seeds, encoding, (0.0, seconds)))
    return clips


def plan_corners(first: int) -> list[Clip]:
    """Find a walk of the rich world for every large and fast kind of file, and for a long one of each codec.

    Half of them have one object, half two, as evenly over each property of files as can be.

    Args:
        first: Number of the held-out seeds to leave out.
    """
    seeds = iter(EVAL_SEEDS[first:])
    clips = []
    for places in product(*map(range, (len(CODECS), len(SIZES["large"]), len(CORNER_RATES), 2))):
        codec, size, rate, jagged = places
        encoding = Encoding(
            *SIZES["large"][size], CORNER_RATES[rate], CODECS[codec], _suffix(codec), not jagged
        )
        wish = Wish("rich", "walk", 1 + sum(places) % 2)
        clips.append(_first_clip(wish, seeds, encoding, CORNER_SECONDS))
    for codec, name in enumerate(CODECS):
        encoding = Encoding(*LONG_SIZE, LONG_RATE, name, _suffix(codec), antialias=codec % 2 == 0)
        clips.append(_first_clip(Wish("rich", "walk", 1 + codec % 2), seeds, encoding, LONG_SECONDS))
    return clips


def _suffix(codec: int) -> str:
    return next(suffix for own, suffix in FORMATS if own == CODECS[codec])


def _first_clip(wish: Wish, seeds: Iterator[int], encoding: Encoding, seconds: tuple[float, float]) -> Clip:
    """Find the next scene that lasts neither less nor more."""
    shortest, longest = seconds
    scenes = map(wish.scene, seeds)
    scene = next(found for found in scenes if shortest <= found.duration_seconds <= longest)
    if wish.world == "rich":
        scene = in_rhythm(scene, encoding.fps)
    return Clip(f"{scene.seed}{encoding.suffix}", encoding, scene)


def _draw_file(number: int, name: str) -> tuple[Encoding, float]:
    """Draw how a clip is written, and how many pixels all its frames may have."""
    rng = Random(f"{name} {number}")
    codec = CODECS[number % len(CODECS)]
    suffix = rng.choice([suffix for own, suffix in FORMATS if own == codec])
    smooth = number // len(CODECS) % 2 == 0
    if number % UNLIMITED_EVERY == UNLIMITED_EVERY - 1:
        width, height = rng.choice(SIZES["small"])
        return Encoding(width, height, min(RICH_FRAME_RATES), codec, suffix, smooth), float("inf")
    size = rng.choices(list(SIZE_SHARES), list(SIZE_SHARES.values()))[0]
    most = MOST_PIXELS[size]
    possible = [
        (side, rate)
        for side in SIZES[size]
        for rate in RICH_FRAME_RATES
        if side[0] * side[1] * rate * SHORTEST_SECONDS <= most
    ]
    (width, height), fps = rng.choice(possible)
    return Encoding(width, height, fps, codec, suffix, smooth), most


def write_clips(folder: Path, clips: Sequence[Clip], world_name: str, processes: int) -> None:
    """Write the files of clips and the truth about them.

    Those that are there are kept; the folder is laid out as `write_folder` does it.
    """
    wanted = [asdict(clip) for clip in clips]
    if is_complete(folder):
        held = [json.loads(line) for line in (folder / TRUTH).read_text(encoding="utf-8").splitlines()]
        if held != json.loads(json.dumps(wanted)):
            raise SystemExit(f"{folder} holds other clips: choose another --output")
        return
    (folder / "video").mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(partial(_write, folder / "video"), clips))
    (folder / SETTINGS).write_text(json.dumps({"world": world_name}) + "\n", encoding="utf-8")
    (folder / TRUTH).write_text("".join(json.dumps(row) + "\n" for row in wanted), encoding="utf-8")


def write_choices(folder: Path, clips: Sequence[Clip]) -> None:
    """Write the multiple-choice questions about clips of the rich world beside them."""
    (folder / "json").mkdir(exist_ok=True)
    for kind, rows in choice_rows(clips).items():
        (folder / "json" / f"{kind}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _write(folder: Path, clip: Clip) -> None:
    if not (folder / clip.video).exists():
        write_video(clip.scene, folder / clip.video, clip.encoding)


def choice_rows(clips: Sequence[Clip], per_kind: int | None = None) -> dict[str, list[dict[str, Any]]]:
    """Multiple-choice questions about clips of the rich world, the right option at every letter in turn.

    Several questions of a kind about one clip have different answers.

    Args:
        clips: What is asked about, in this order.
        per_kind: Most questions of a kind; as many as the rarest kind gives if None.
    """
    found: dict[str, list[tuple[Clip, Question]]] = defaultdict(list)
    for clip in clips:
        for kind, stories in KIND_STORIES.items():
            if kind in CHOICE_KINDS and clip.scene.story in stories:
                found[kind] += [(clip, each) for each in _different(clip.scene, kind)]
    most = per_kind or min(map(len, found.values()))
    rows: dict[str, list[dict[str, Any]]] = {}
    keys: Counter[int] = Counter()  # questions so far by their number of options, of all kinds
    for kind in CHOICE_KINDS:
        rows[kind] = []
        for clip, question in _evenly(found[kind], most):
            rng, options = (
                Random(f"{clip.scene.seed} {question.text} options"),
                min(len(question.candidates), MOST_OPTIONS),
            )
            asked = with_options(question, rng, key=keys[options])
            keys[options] += 1
            row = {"video": clip.video, "question": asked.text}
            rows[kind].append({**row, "candidates": list(asked.candidates), "answer": asked.answer})
    return rows


def _different(scene: Scene, kind: str) -> Iterator[Question]:
    """Questions of one kind about a scene, in an order of their own, each with another answer."""
    forms = CHOICE_KINDS[kind](scene)
    Random(f"{scene.seed} {kind}").shuffle(forms)
    answers: set[str] = set()
    for form in forms:
        if form.answer not in answers and len(answers) < MOST_PER_CLIP:
            answers.add(form.answer)
            yield form


def _evenly(found: Sequence[tuple[Clip, Question]], most: int) -> list[tuple[Clip, Question]]:
    """So many questions, one about each clip before a second one is asked about any."""
    asked: Counter[str] = Counter()
    rounds = []
    for place, (clip, _) in enumerate(found):
        rounds.append((asked[clip.video], place))
        asked[clip.video] += 1
    return [found[place] for _, place in sorted(sorted(rounds)[:most], key=lambda pair: pair[1])]


def end_questions(scene: Scene) -> list[Question]:
    """Ask without options what each object does first and at the end, by any of its names.

    Nothing is asked where the story is told in other words.
    """
    if scene.story not in ("", *KIND_STORIES["first_movement"]):
        return []
    rng = Random(f"{scene.seed} ends")
    found = []
    for item in scene.objects:
        done = deeds(item, scene)
        for kind, end in (("first_movement", 0), ("last_movement", -1)) if done else ():
            text = QUESTION_FORMS[kind].format(name=any_name(item, rng))
            found.append(Question(kind, text, f"It {act_text(done[end], scene)}."))
    return found


CODECS = ("h264", "mpeg4", "vp9")
SIZES = {
    "small": [size for size in RICH_SIZES if size[0] * size[1] < 100_000],
    "medium": [size for size in RICH_SIZES if 100_000 <= size[0] * size[1] < 400_000],
    "large": [size for size in RICH_SIZES if size[0] * size[1] >= 400_000],
}
"""Widths and heights by class: up to 320x240, 480x360 to 640x480, and 960x540 and more."""
SIZE_SHARES = {"small": 0.6, "medium": 0.25, "large": 0.15}
"""How many of the files are of each class."""
MOST_PIXELS = {"small": 10e6, "medium": 16e6, "large": 24e6}
"""Pixels of all frames of a file together, by class of size."""
SHORTEST_SECONDS = 2.15
"""A file takes scenes of this length at least."""
UNLIMITED_EVERY = 12
CORNER_RATES = (30, 60)
CORNER_SECONDS = (2.5, 5.0)
LONG_SIZE, LONG_RATE, LONG_SECONDS = (480, 360), 24, (40.0, 60.0)
MOST_PER_CLIP = 3
"""Questions of one kind about one clip."""
QUESTIONS_PER_CLIP = {
    "acts": 3,
    "once": 1,
    "repeats": 1,
    "tally": 1,
    "crowd": 3,
    "turns": 2,
    "bumps": 2,
    "tour": 2,
    "colors": 3,
    "places": 1,
    "visits": 1,
    "shuffle": 1,
    "views": 2,
    "walk": 1,
}
"""Stories of the rich world, and how many questions of the kind that needs them most a clip of each gives."""
