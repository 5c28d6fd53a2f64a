"""Everything a function can draw, and how likely it is."""

from collections import Counter, defaultdict
from collections.abc import Callable
from fractions import Fraction
from random import Random

import pytest

from st_llm_cli.shapes.outcomes import outcomes
from st_llm_cli.shapes.world import EVAL_SEEDS
from st_llm_cli.shapes.worlds import WORLDS

DRAWS = 4000


def test_draws_that_depend_on_each_other_are_walked_to_the_end() -> None:
    def draw(rng: Random) -> str:
        if rng.random() < 0.25:
            return "rare"
        return rng.choice("ab") + (rng.choice("xyz") if rng.choice((True, False)) else "")

    found: dict[str, Fraction] = defaultdict(Fraction)
    for outcome, chance in outcomes(draw):
        found[outcome] += chance
    once, twice = Fraction(3, 16), Fraction(3, 48)
    assert found == {"rare": Fraction(1, 4), "a": once, "b": once} | {
        a + b: twice for a in "ab" for b in "xyz"
    }


def test_what_draws_nothing_has_one_outcome() -> None:
    assert list(outcomes(lambda rng: "sure")) == [("sure", 1)]


@pytest.mark.parametrize(
    "draw",
    [lambda rng: rng.sample([1, 2, 3], 2), lambda rng: rng.randrange(3), lambda rng: rng.shuffle([1, 2])],
)
def test_other_ways_to_draw_are_refused(draw: Callable[[Random], object]) -> None:
    with pytest.raises(NotImplementedError, match="only `choice`"):
        list(outcomes(draw))


@pytest.mark.parametrize("name", WORLDS)
def test_questions_are_as_likely_as_they_are_drawn(name: str) -> None:
    world = WORLDS[name]
    scenes = [world.make_scene(seed) for seed in EVAL_SEEDS[:14]]
    for kind, ask in [*world.kinds.items(), *world.image_kinds.items()]:
        scene = next(
            (each for each in scenes if kind in world.asked_of(each) and ask(each, Random(0))), scenes[0]
        )
        if kind in world.image_kinds:
            scene = world.make_picture(EVAL_SEEDS[1])
            ask = world.image_kinds[kind]
        likely: dict[str, Fraction] = defaultdict(Fraction)
        for question, chance in outcomes(lambda rng, ask=ask, scene=scene: ask(scene, rng)):  # type: ignore[misc]
            likely[repr(question)] += chance
        assert sum(likely.values()) == 1
        rng = Random(kind)
        drawn = Counter(repr(ask(scene, rng)) for _ in range(DRAWS))
        assert set(drawn) <= set(likely), kind
        excess = sum((drawn[each] - DRAWS * p) ** 2 / (DRAWS * p) for each, p in likely.items())
        assert excess < len(likely) + 5 * (2 * len(likely)) ** 0.5, kind  # chi squared, five deviations
