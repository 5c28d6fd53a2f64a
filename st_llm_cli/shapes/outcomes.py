"""All that a function which draws at random can come to, and how likely each is: by walking all its draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import prod
from random import Random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import SupportsLenAndGetItem

T = TypeVar("T")


def outcomes(draw: Callable[[Random], T]) -> Iterator[tuple[T, Fraction]]:
    """Give everything that a function can return, with its probability; the same can come more than once.

    Args:
        draw: Draws by nothing but `choice`, and `random` held against a bound, as in `random() < 0.5`.

    Raises:
        NotImplementedError: If it draws in another way.
    """
    todo: list[list[int]] = [[]]
    while todo:
        path = _Path(todo.pop())
        yield draw(path), path.chance
        todo += path.not_taken()


class _Path(Random):
    """A source of randomness that takes given turns, one at each draw, and the first one from there on."""

    def __init__(self, given: Sequence[int]) -> None:
        super().__init__(0)
        self._given = given
        self._turns: list[int] = []
        self._weights: list[Sequence[int]] = []  # of all turns at each draw

    @property
    def chance(self) -> Fraction:
        """How likely all turns that were taken are."""
        taken = prod(own[turn] for own, turn in zip(self._weights, self._turns, strict=True))
        return Fraction(taken, prod(map(sum, self._weights)))

    def not_taken(self) -> Iterator[list[int]]:
        """Give the other turns at each draw after the given ones, with the way there."""
        for number in range(len(self._given), len(self._turns)):
            for turn in range(1, len(self._weights[number])):
                yield [*self._turns[:number], turn]

    def turn(self, weights: Sequence[int]) -> int:
        """Come to where the way goes on in several directions, as likely as their weights; say in which."""
        number = len(self._turns)
        self._weights.append(weights)
        self._turns.append(self._given[number] if number < len(self._given) else 0)
        return self._turns[number]

    def choice(self, seq: SupportsLenAndGetItem[T]) -> T:
        return seq[self.turn([1] * len(seq))]

    def random(self) -> float:
        return _Share(self)

    def getrandbits(self, k: int) -> int:
        # All other draws of the base class come here.
        raise NotImplementedError("only `choice` and `random() < bound` can be walked")


class _Share(float):
    """A number between 0 and 1 that lies anywhere until it is held against a bound."""

    def __new__(cls, path: _Path) -> _Share:
        return super().__new__(cls, "nan")

    def __init__(self, path: _Path) -> None:
        self._path = path

    def __lt__(self, bound: float) -> bool:
        below, whole = bound.as_integer_ratio()
        return self._path.turn([below, whole - below]) == 0
