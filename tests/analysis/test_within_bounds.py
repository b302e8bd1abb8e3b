"""No interval lies beyond what the metric allows: scores within its bounds, differences within its range."""

from __future__ import annotations

import random

import numpy as np
import pytest
from helpers.planted import ALL, one_at_a_time, result

from sde_ray.analysis.effects import estimate_effects, estimate_interactions, fit_results
from sde_ray.analysis.leaderboard import compare_best, rank_designs
from sde_ray.analysis.paired import compare, tabulate
from sde_ray.analysis.validation import metric_scale
from sde_ray.design.designs import NAMED, make_design
from sde_ray.search.scale import IDENTITY

METRIC = "weighted_kappa"
NAMES = {"assembled": make_design(format="lines"), "baseline": NAMED["baseline"], "es-sde": NAMED["es-sde"]}


def noisy_scores() -> dict[tuple[str, int, int], float]:
    """Two seeds that differ by nearly all that a kappa can: an interval of their difference knows no bounds."""
    values = {"assembled": (0.95, -0.9), "baseline": (-0.95, 0.9), "es-sde": (0.9, -0.95)}
    return {(name, seed, 100): score for name, own in values.items() for seed, score in enumerate(own)}


def test_a_final_comparison_stays_within_the_range_of_differences() -> None:
    table = tabulate(noisy_scores(), {}, NAMES, "assembled", 10, scale=metric_scale(METRIC))
    unbounded = compare(table.scores, None, "assembled", np.random.default_rng(0), IDENTITY)
    assert max(abs(one.low or 0.0) for one in unbounded.values()) > 2, "the case shows nothing"
    for one in table.compare(list(NAMES)).values():
        assert one.low is not None and one.high is not None and -2 <= one.low <= one.difference <= one.high <= 2
    for one in table.levels(list(NAMES)).values():
        assert one.low is not None and one.high is not None and -1 <= one.low <= one.high <= 1


@pytest.mark.parametrize("designs", [one_at_a_time(), ALL[::9]], ids=["one at a time", "a fraction"])
def test_effects_and_the_best_stay_within_it_too(designs: list[object]) -> None:
    noise = random.Random(1)
    trials = [result(design, noise.choice((-0.98, 0.98)), seed) for design in designs for seed in (0, 1)]  # type: ignore[arg-type]
    fitted = fit_results(trials, METRIC)
    for effect in estimate_effects(trials, METRIC):
        assert all(bound is None or -2 <= bound <= 2 for bound in (effect.low, effect.difference, effect.high))
    for pair in estimate_interactions(trials, METRIC):
        assert all(bound is None or -4 <= bound <= 4 for bound in (pair.low, pair.difference, pair.high))
    best = compare_best(rank_designs(trials, METRIC, fitted=fitted), fitted)
    assert best is not None and all(b is None or -2 <= b <= 2 for b in (best.estimate.low, best.estimate.high))
    prediction = fitted.prediction(trials[0] and make_design())
    assert all(bound is None or -1 <= bound <= 1 for bound in (prediction.low, prediction.value, prediction.high))
