"""Fractions from which effects can be estimated: better than chance, deterministic, over any list of designs."""

from __future__ import annotations

import random

import pytest

from sde_ray.bench.search.planted import designs
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.search.factorial import Factorial, d_efficiency, d_optimal_fraction, num_coefficients, screening_size

SPACE = designs()
PAIR = (("format", "labels"),)


def chosen(budget: int | None, seed: int = 0, pairs: tuple[tuple[str, str], ...] = ()) -> list[int]:
    searcher = Factorial(SPACE, budget=budget, seed=seed, interactions=pairs)
    return [SPACE.index(design) for design in iter(searcher.suggest, None)]


@pytest.mark.parametrize("pairs", [(), PAIR])
@pytest.mark.parametrize("count", [14, 24])
def test_a_fraction_carries_more_than_random_designs_do(count: int, pairs: tuple[tuple[str, str], ...]) -> None:
    best_of_chance = max(
        d_efficiency(SPACE, random.Random(seed).sample(range(216), count), pairs) for seed in range(50)
    )
    assert d_efficiency(SPACE, chosen(count, pairs=pairs), pairs) > best_of_chance


def test_a_half_of_a_full_factorial_is_as_good_per_trial_as_all_of_it() -> None:
    assert d_efficiency(SPACE, range(216)) == pytest.approx(1.0)
    assert d_efficiency(SPACE, chosen(36)) > 0.97


def test_the_smallest_fraction_still_estimates_everything() -> None:
    assert num_coefficients(SPACE) == 1 + 2 + 1 + 2 + 1 + 1 + 2
    assert num_coefficients(SPACE, PAIR) == 10 + 2
    assert d_efficiency(SPACE, chosen(10)) > 0.5
    assert d_efficiency(SPACE, chosen(12, pairs=PAIR), PAIR) > 0.3


def test_too_few_trials_are_refused_with_the_least() -> None:
    with pytest.raises(
        UserError, match=r"search.n_trials is 9, but to estimate the effects of all options takes at least 10"
    ):
        Factorial(SPACE, budget=9)
    with pytest.raises(UserError, match=r"of 1 pair\(s\) of axes takes at least 12 designs. Set search.n_trials: 12"):
        Factorial(SPACE, budget=11, interactions=PAIR)
    with pytest.raises(UserError, match='"lables". Did you mean "labels"'):
        Factorial(SPACE, budget=20, interactions=(("format", "lables"),))


def test_without_a_number_it_takes_twice_what_the_model_needs() -> None:
    assert len(chosen(None)) == 20


def test_missing_combinations_and_pinned_axes_do_no_harm() -> None:
    odd = [design for design in SPACE if not (design["format"] == "json" and design["labels"] == "number")]
    odd = [design for design in odd if design["reasoning"] == "none"]
    assert num_coefficients(odd) == 8
    found = d_optimal_fraction(odd, 12)
    assert len(set(found)) == 12 and d_efficiency(odd, found) > 0.8
    assert num_coefficients([make_design()]) == 1
    assert d_optimal_fraction([make_design()], 5) == [0]


def test_a_fraction_is_completed_around_the_points_to_evaluate() -> None:
    points = SPACE[:3]
    searcher = Factorial(SPACE, budget=20, points_to_evaluate=points)
    tried = list(iter(searcher.suggest, None))
    assert tried[:3] == list(points) and len(set(tried)) == 20
    around = [SPACE.index(design) for design in tried]
    appended = [0, 1, 2, *[number for number in chosen(20) if number not in (0, 1, 2)][:17]]
    assert d_efficiency(SPACE, around) > d_efficiency(SPACE, appended)


def test_the_same_seed_gives_the_same_fraction_and_another_another() -> None:
    assert chosen(16, seed=3) == chosen(16, seed=3)
    assert chosen(16, seed=3) != chosen(16, seed=4)


def test_a_screening_takes_one_more_than_half_of_the_effects_and_half_of_the_budget_at_most() -> None:
    assert screening_size(SPACE, 22, 0.25) == 6
    assert screening_size(SPACE, 30, 1.0) == 6
    assert screening_size(SPACE, 8, 1.0) == 4
    assert screening_size(SPACE[:3], 12, 1.0) <= 3
