"""The leaderboard: designs of few trials are drawn towards what their options promise before they are ranked."""

from __future__ import annotations

import random

import pytest
from helpers.planted import additive, one_at_a_time, result

from sde_ray.analysis.effects import fit_results
from sde_ray.analysis.leaderboard import rank_designs
from sde_ray.types import Design, TrialResult

METRIC = "weighted_kappa"


def lucky_single() -> tuple[Design, Design, list[TrialResult]]:
    """Designs with three trials each; the best is as good as its options, a middling one has a single lucky trial."""
    draw = random.Random(4)
    designs = one_at_a_time()
    pairs = [d.replace(format="lines", instruction="first") for d in designs]
    tried = list(dict.fromkeys([*designs, *pairs]))
    best = max(tried, key=additive)
    single = min(tried, key=lambda design: abs(additive(design) - additive(best) + 0.12))
    results = [
        result(design, additive(design) - 0.2 + draw.gauss(0, 0.05), seed)
        for design in tried if design != single for seed in (0, 1, 2)
    ]  # fmt: skip
    top = max(sum(r.scores["dev"][METRIC] for r in results[n : n + 3]) / 3 for n in range(0, len(results), 3))
    return best, single, [*results, result(single, top + 0.01)]


def test_a_single_lucky_trial_does_not_lead() -> None:
    best, single, results = lucky_single()
    assert rank_designs(results, METRIC)[0].design == single  # by the mean scores it does
    ranked = rank_designs(results, METRIC, fitted=fit_results(results, METRIC))
    rows = {row.design: row for row in ranked}
    assert ranked[0].design != single
    assert rows[single].expected < rows[single].score - 0.02
    assert abs(rows[best].expected - rows[best].score) < rows[single].score - rows[single].expected
    assert [row.expected for row in ranked] == sorted((row.expected for row in ranked), reverse=True)


def test_without_noise_the_shrunken_mean_is_the_mean() -> None:
    results = [result(design, additive(design), seed) for design in one_at_a_time() for seed in (0, 1)]
    for row in rank_designs(results, METRIC, fitted=fit_results(results, METRIC)):
        assert row.expected == pytest.approx(row.score, abs=0.01)
