"""Intervals and tests against formulas, textbook numbers and simulation."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_llm_cli.bench.statistics import (
    clustered_bootstrap,
    clustered_error,
    holm,
    mcnemar,
    paired_permutation,
    paired_t,
    wilson,
)


def test_wilson_of_textbook_example() -> None:
    interval = wilson(81, 263)  # Newcombe 1998: 0.2553 to 0.3662
    assert (interval.low, interval.high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_rate_and_stays_in_range(n: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, n))
    interval = wilson(correct, n)
    assert 0 <= interval.low <= correct / n <= interval.high <= 1


def test_error_of_single_clusters_is_the_usual_one() -> None:
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    mean = sum(values) / 5
    usual = math.sqrt(sum((value - mean) ** 2 for value in values) / 4 / 5)
    assert clustered_error(values, range(5)) == pytest.approx(usual)


def test_clustered_error_is_that_of_the_paper() -> None:
    # Equation 4 written out: pairs within a cluster add their products.
    values, clusters = [1.0, 1.0, 0.0, 0.0, 1.0, 0.0], "aabbbc"
    n, mean = len(values), sum(values) / len(values)
    plain = sum((value - mean) ** 2 for value in values) / (n - 1) / n
    cross = sum(
        (values[i] - mean) * (values[j] - mean)
        for i in range(n)
        for j in range(n)
        if i != j and clusters[i] == clusters[j]
    )
    assert clustered_error(values, clusters) == pytest.approx(math.sqrt(plain + cross / n**2))


def test_copies_of_a_question_do_not_make_an_interval_narrower() -> None:
    rng = random.Random(0)
    values = [float(rng.random() < 0.6) for _ in range(60)]
    once = clustered_bootstrap(values, range(60))
    copied = clustered_bootstrap(values * 5, list(range(60)) * 5)
    assert once is not None and copied is not None
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.1)


def test_bootstrap_holds_the_true_rate_about_as_often_as_it_says() -> None:
    rng = random.Random(1)
    held = 0
    for trial in range(100):
        values, clusters = [], []
        for cluster in range(50):
            rate = rng.choice((0.3, 0.9))  # mean 0.6
            values += [float(rng.random() < rate) for _ in range(4)]
            clusters += [cluster] * 4
        interval = clustered_bootstrap(values, clusters, draws=400, seed=trial)
        assert interval is not None
        held += interval.low <= 0.6 <= interval.high
    assert 88 <= held <= 100


def test_macro_bootstrap_weighs_tasks_alike() -> None:
    values = [1.0] * 90 + [0.0] * 10
    tasks = ["large"] * 90 + ["small"] * 10
    micro = clustered_bootstrap(values, range(100))
    macro = clustered_bootstrap(values, range(100), tasks)
    assert micro is not None and micro.low > 0.8
    assert macro is not None and macro.low == macro.high == 0.5


def test_bootstrap_of_one_clip_says_nothing() -> None:
    assert clustered_bootstrap([1.0, 0.0], ["a", "a"]) is None
    assert clustered_bootstrap([], []) is None


def test_bootstrap_is_repeatable() -> None:
    values = [0.0, 1.0, 1.0, 0.0]
    assert clustered_bootstrap(values, range(4)) == clustered_bootstrap(values, range(4))


def test_exact_permutation_of_small_example() -> None:
    # Five gains of one each: only all signs alike reach the sum, 2 of 32.
    compared = paired_permutation([0.0] * 5, [1.0] * 5, range(5))
    assert compared.p_value == pytest.approx(2 / 32)
    assert compared.difference == 1.0


def test_equal_runs_do_not_differ() -> None:
    compared = paired_permutation([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], range(3))
    assert (compared.difference, compared.p_value) == (0.0, 1.0)


def test_sampled_permutation_agrees_with_the_exact_sign_test() -> None:
    # 30 questions differ, 21 in favour of the second: the sign test gives 0.0428.
    first, second = [0.0] * 21 + [1.0] * 9, [1.0] * 21 + [0.0] * 9
    assert paired_permutation(first, second, range(30)).p_value == pytest.approx(0.0428, abs=0.01)
    assert mcnemar([bool(x) for x in first], [bool(x) for x in second]) == pytest.approx(0.0428, abs=1e-4)


def test_clusters_are_exchanged_as_one() -> None:
    compared = paired_permutation([0.0] * 40, [1.0] * 40, ["one clip"] * 40)
    assert compared.p_value == 1.0


def test_paired_test_needs_pairs() -> None:
    with pytest.raises(ValueError, match="two values for each question"):
        paired_permutation([1.0], [1.0, 0.0], range(2))


# An example shared with lmms-eval: eight questions about three clips. Its two formulas, written out by hand.
SHARED_FIRST = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]
SHARED_SECOND = [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0]
SHARED_CLIPS = "aaabbccc"


def test_clustered_error_of_the_shared_example() -> None:
    """lmms-eval's `clustered_stderr`: sqrt(var / n + (1/n²) Σ_clips [(Σ d)² - Σ d²]), var with n - 1.

    Mean 6/8, d = 1/4 where right and -3/4 where wrong, Σd² = 6/16 + 2·9/16 = 24/16, var/n = 24/16/7/8.
    Sums by clip: a 3/4, b -2/4, c -1/4; squares 9/16 + 4/16 + 1/16 = 14/16; cross term (14 - 24)/16/64.
    """
    expected = math.sqrt(24 / 16 / 7 / 8 - 10 / 16 / 64)
    assert clustered_error(SHARED_SECOND, SHARED_CLIPS) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(0.130461, abs=1e-6)


def test_paired_t_of_the_shared_example() -> None:
    """lmms-eval's `paired_ttest`: gains 1 0 1 0 0 1 -1 1, mean 3/8, Σ(g - 3/8)² = 5 - 9/8 = 31/8.

    Error sqrt(31/8/7/8), t = 0.375/0.263052 = 1.425574. The p-value from t's density for 7 degrees of
    freedom, integrated in small steps.
    """
    compared = paired_t(SHARED_FIRST, SHARED_SECOND)
    assert compared.difference == 3 / 8
    assert compared.error == pytest.approx(math.sqrt(31 / 448), rel=1e-12)
    assert compared.p_value == pytest.approx(t_tails(compared.difference / compared.error, 7), abs=1e-9)
    assert compared.p_value == pytest.approx(0.197, abs=5e-4)


def t_tails(t: float, freedom: int, steps: int = 20_000) -> float:
    """1 - ∫ of Student's density over -t … t, by Simpson's rule."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    heights = [(1 + (t * k / steps) ** 2 / freedom) ** (-(freedom + 1) / 2) for k in range(steps + 1)]
    inside = heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2])
    return 1 - 2 * scale * inside * t / steps / 3


@pytest.mark.parametrize(
    ("t", "freedom", "p_value"),
    [(12.706, 1, 0.05), (4.303, 2, 0.05), (2.228, 10, 0.05), (2.750, 30, 0.01), (1.980, 120, 0.05)],
)
def test_paired_t_agrees_with_the_tables_of_t(t: float, freedom: int, p_value: float) -> None:
    n = freedom + 1
    # Gains of mean t/√n and deviation 1: half of them one step up, half one down.
    signs = [1.0, -1.0] * (n // 2) + [0.0] * (n % 2)
    step = math.sqrt((n - 1) / sum(sign * sign for sign in signs))
    gains = [t / math.sqrt(n) + sign * step for sign in signs]
    assert paired_t([0.0] * n, gains).p_value == pytest.approx(p_value, abs=p_value / 50)


def test_paired_t_where_all_gains_are_alike() -> None:
    assert paired_t([0.0, 0.0], [1.0, 1.0]).p_value == 0.0
    assert paired_t([1.0, 0.0], [1.0, 0.0]).p_value == 1.0


def test_clusters_of_one_question_give_the_t_tests_error() -> None:
    paired = paired_permutation(SHARED_FIRST, SHARED_SECOND, range(8))
    assert paired.error == pytest.approx(paired_t(SHARED_FIRST, SHARED_SECOND).error)


def test_exact_permutation_of_the_shared_example() -> None:
    """Sums by clip 2, 0, 1: of the signs' 8 sums ±2 ±0 ±1, 4 have the size seen, 3."""
    assert paired_permutation(SHARED_FIRST, SHARED_SECOND, SHARED_CLIPS).p_value == 4 / 8


def test_mcnemar_of_the_shared_example() -> None:
    """Four won, one lost: twice the chance of at most one of five, 2 · (1 + 5)/32."""
    right = [bool(value) for value in SHARED_FIRST], [bool(value) for value in SHARED_SECOND]
    assert mcnemar(*right) == pytest.approx(12 / 32)


def test_mcnemar_without_differences() -> None:
    assert mcnemar([True, False], [True, False]) == 1.0


def test_holm_of_textbook_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
