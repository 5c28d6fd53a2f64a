"""From what a model said to what it is worth, by two named scorers.

`strict` reads replies by ordered rules; what cannot be read is wrong and counted. `released` decides as the
released scripts do, so that published numbers can be reproduced.
"""

from __future__ import annotations

from collections.abc import Callable

from st_llm_cli.bench import released
from st_llm_cli.bench.parsing import plain_words, read_choice
from st_llm_cli.bench.sample import LETTERS, Prediction, Verdict
from st_llm_cli.bench.tempcompass import (
    caption_letter,
    released_caption,
    released_choice,
    released_yes_no,
    yes_or_no,
)

Rule = Callable[[str, Prediction], Verdict]
FAILED = "not asked"


def judge_reply(prediction: Prediction, scorer: str) -> Verdict | None:
    """Score one reply.

    Args:
        prediction: What the model said. Where the question could not be asked, it is wrong.
        scorer: Key of `SCORERS`.

    Returns:
        The verdict; None if this scorer has no rule for this kind of question (a judge has to read it).
    """
    rule = SCORERS[scorer].get(prediction.sample.kind)
    if rule is None:
        return None
    if prediction.reply is None:
        return Verdict(False, None, FAILED)
    return rule(prediction.reply, prediction)


def _strict_choice(reply: str, prediction: Prediction) -> Verdict:
    sample = prediction.sample
    reading = read_choice(reply, sample.candidates)
    if reading.option is None:
        return Verdict(False, None, reading.rule)
    # Of two equal options either one is right: they say the same.
    right = sample.candidates[reading.option] == sample.answer
    return Verdict(right, LETTERS[reading.option], reading.rule)


def _released_choice(reply: str, prediction: Prediction) -> Verdict:
    sample = prediction.sample
    right = released.is_right(reply, sample.candidates, sample.answer)
    return Verdict(right, released.letter_of(reply, len(sample.candidates)), "first words compared")


def _strict_yes_no(reply: str, prediction: Prediction) -> Verdict:
    said, rule = yes_or_no(reply)
    return Verdict(said == prediction.sample.answer.lower(), said, rule)


def _released_yes_no(reply: str, prediction: Prediction) -> Verdict:
    said = released_yes_no(reply)
    right = said == prediction.sample.answer.lower()
    return Verdict(right, said, "prefix" if said else "left to a judge, who was not asked")


def _strict_caption(reply: str, prediction: Prediction) -> Verdict:
    sample = prediction.sample
    reading = caption_letter(reply, sample.question, sample.candidates)
    if reading.option is None:
        return Verdict(False, None, reading.rule)
    return Verdict(sample.candidates[reading.option] == sample.answer, LETTERS[reading.option], reading.rule)


def _released_caption(reply: str, prediction: Prediction) -> Verdict:
    right = released_caption(reply, prediction.sample.question, prediction.sample.candidates)
    if right is None:
        return Verdict(False, None, "left to a judge, who was not asked")
    return Verdict(right == prediction.sample.answer, right, "caption or its name")


def _released_lettered(reply: str, prediction: Prediction) -> Verdict:
    sample = prediction.sample
    said = released_choice(reply, sample.candidates)
    if said is None:
        return Verdict(False, None, "left to a judge, who was not asked")
    return Verdict(said == sample.letters[sample.candidates.index(sample.answer)], said, "letter in front")


def _released_first_character(reply: str, prediction: Prediction) -> Verdict:
    sample = prediction.sample
    said = reply[:1].upper()
    right = said == sample.letters[sample.candidates.index(sample.answer)]
    return Verdict(right, said or None, "first character")


def _exact_words(reply: str, prediction: Prediction) -> Verdict:
    said = answer_words(reply)
    return Verdict(said == answer_words(prediction.sample.answer), said or None, "same words")


def answer_words(text: str) -> str:
    """Give the words of a short answer, without the articles: `A dog.` and `dog` are one answer."""
    return " ".join(word for word in plain_words(text).split() if word not in ("a", "an", "the"))


def token_f1(reply: str, answer: str) -> float:
    """Give the harmonic mean of the shares of words that reply and reference have in common, 0 to 1."""
    said, right = answer_words(reply).split(), answer_words(answer).split()
    if not said or not right:
        return float(said == right)
    common = sum(min(said.count(word), right.count(word)) for word in set(said))
    return 2 * common / (len(said) + len(right))


SCORERS: dict[str, dict[str, Rule]] = {
    "strict": {
        "choice": _strict_choice,
        "lettered choice": _strict_choice,
        "pair": _strict_choice,
        "yes or no": _strict_yes_no,
        "caption": _strict_caption,
        "short answer": _exact_words,
    },
    "released": {
        "choice": _released_choice,
        "lettered choice": _released_lettered,
        "pair": _released_first_character,
        "yes or no": _released_yes_no,
        "caption": _released_caption,
    },
}
"""Rules by scorer and kind of question. Kinds without a rule are read by a judge, or not at all."""
