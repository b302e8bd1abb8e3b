"""Scales of scores: inverse, slope and Jacobian, and the choice by marginal likelihood."""

import numpy as np
import pytest
from scipy import stats

from sde_ray.search.scale import IDENTITY, LogitScale, Scale, candidate_scales, choose

KAPPA, SHARE = LogitScale(-1.0, 1.0), LogitScale(0.0, 1.0)


@pytest.mark.parametrize("scale", [IDENTITY, KAPPA, SHARE])
def test_a_score_comes_back(scale: Scale) -> None:
    scores = np.array([0.0, 0.2, 0.5, 0.97, 1.0])
    np.testing.assert_allclose(scale.inverse(scale.forward(scores)), scores, atol=1e-12)


@pytest.mark.parametrize("scale", [KAPPA, SHARE])
def test_nothing_comes_back_beyond_the_bounds(scale: LogitScale) -> None:
    np.testing.assert_array_equal(
        scale.inverse([-1e4, -50.0, 50.0, 1e4]), [scale.low, scale.low, scale.high, scale.high]
    )


@pytest.mark.parametrize("scale", [IDENTITY, KAPPA, SHARE])
def test_the_slope_is_the_derivative(scale: Scale) -> None:
    scores = np.array([0.05, 0.3, 0.5, 0.9, 0.99])
    numeric = (scale.forward(scores + 1e-6) - scale.forward(scores - 1e-6)) / 2e-6
    np.testing.assert_allclose(scale.slope(scores), numeric, rtol=1e-5)


def test_a_jacobian_makes_a_density_of_scores_that_integrates_to_one() -> None:
    grid = np.linspace(-1.0, 1.0, 200_001)
    density = stats.norm.pdf(KAPPA.forward(grid), 0.3, 0.5) * KAPPA.slope(grid)
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-4)


def _evidence(values: np.ndarray) -> float:
    """A normal distribution with the moments of the values."""
    return float(stats.norm.logpdf(values, values.mean(), values.std()).sum())


def test_the_scale_on_which_scores_are_normal_is_chosen() -> None:
    rng = np.random.default_rng(0)
    on_logits = KAPPA.inverse(rng.normal(2.0, 1.2, 300))
    as_they_are = rng.normal(0.6, 0.12, 300)
    assert choose(on_logits, candidate_scales((-1.0, 1.0)), _evidence) == KAPPA
    assert choose(as_they_are, candidate_scales((-1.0, 1.0)), _evidence) == IDENTITY


def test_an_unbounded_metric_has_one_scale() -> None:
    assert candidate_scales(None) == (IDENTITY,)
