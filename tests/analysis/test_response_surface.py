"""The response surface: scale, seeds, deviations of designs, interactions; and on recorded trials a held-out seed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest
from helpers.planted import ALL, additive, results

from sde_ray.analysis.design_coding import MAX_SPACE, cells, contexts, make_coding
from sde_ray.analysis.effects import effect_scope, fit_results, surface_effects, surface_interactions
from sde_ray.analysis.mixed_model import MixedModel
from sde_ray.analysis.response_surface import SurfaceFit, fit_response_surface
from sde_ray.analysis.trials import Trials
from sde_ray.analysis.variance_components import posterior_mode, sample_components
from sde_ray.bench.tables.table import load
from sde_ray.design.axes import AXES
from sde_ray.types import Design

METRIC = "weighted_kappa"
KAPPA = (-1.0, 1.0)
CODING = make_coding(ALL, {axis: tuple(row.options) for axis, row in AXES.items()})


def draw(seed: int, count: int) -> list[Design]:
    order = np.random.default_rng(seed).permutation(len(ALL))
    return [ALL[n] for n in order[:count]]


def logit_additive(design: Design) -> float:
    """Additive in log odds, close to the ceiling of a kappa."""
    return float(np.tanh((4 * additive(design) + 0.5) / 2))


# ---- recorded trials -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def table() -> dict[Design, dict[int, float]]:
    return {design: dict(by_seed) for design, by_seed in load("masa_d1").scores().items()}


@lru_cache(maxsize=1)
def two_seeds() -> SurfaceFit:
    trials = [(design, seed) for design in table() for seed in (0, 1)]
    scores = [table()[design][seed] for design, seed in trials]
    return fit_response_surface([d for d, _ in trials], scores, seeds=[s for _, s in trials], bounds=KAPPA)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.95, 1.0), (0.5, 0.8)], ids=["any", "ceiling", "middle"])
def test_the_third_seed_lies_where_two_seeds_say(low: float, high: float) -> None:
    """Observed differences of a seed that no fit has seen, in intervals that hold the noise of its own two trials."""
    pool = [d for d, seeds in table().items() if 2 in seeds and low <= (seeds[0] + seeds[1]) / 2 <= high]
    random, inside = np.random.default_rng(0), []
    for _ in range(300):
        first, second = (pool[n] for n in random.choice(len(pool), 2, replace=False))
        estimate = two_seeds().observed_difference(first, second)
        assert estimate.low is not None and estimate.high is not None
        inside.append(estimate.low <= table()[first][2] - table()[second][2] <= estimate.high)
    assert 0.92 <= np.mean(inside) <= 0.99


def test_a_kappa_near_its_ceiling_is_fitted_on_logits_and_never_predicted_above_1() -> None:
    fitted = two_seeds()
    assert fitted.scale.name == "logit" and "logit scale between -1 and 1" in effect_scope(fitted)
    assert max(map(fitted.predict, ALL)) < 1.0
    few = fit_results(results(draw(3, 40), logit_additive, seeds=(0, 1), noise=0.01), METRIC)
    assert few.scale.name == "logit"
    for design in ALL:
        prediction = few.prediction(design)
        assert prediction.high is not None and prediction.value <= prediction.high <= 1.0


# ---- scale, seeds, deviations --------------------------------------------------------------------------------------


def test_scores_that_are_additive_as_they_are_stay_so() -> None:
    fitted = fit_results(results(draw(1, 60), seeds=(0, 1), noise=0.02), METRIC)
    assert fitted.scale.name == "identity" and "the scores as they are (log likelihood" in fitted.scale_reason
    assert fit_results(results(draw(1, 60), seeds=(0, 1), noise=0.02), METRIC).predict(ALL[0]) == fitted.predict(ALL[0])


def test_luck_of_a_seed_with_an_option_widens_its_effect_only_where_seeds_are_known() -> None:
    """Seed 1 is kind to lines by 0.2: two seeds cannot say what lines are worth, as many designs as there may be."""

    def trials() -> tuple[list[Design], list[float], list[int]]:
        random = np.random.default_rng(5)
        luck = random.normal(0, 0.1, size=(2, CODING.num_free))
        rows = [(d, s, additive(d) + CODING.row(d)[: CODING.num_free] @ luck[s]) for d in draw(2, 80) for s in (0, 1)]
        return [d for d, _, _ in rows], [y + random.normal(0, 0.02) for _, _, y in rows], [s for _, s, _ in rows]

    designs, scores, seeds = trials()

    def width(fitted: SurfaceFit) -> float:
        estimate = fitted.effect("format", "lines", "natural").estimate
        assert estimate.low is not None and estimate.high is not None
        return estimate.high - estimate.low

    crossed, apart = (width(fit_response_surface(designs, scores, seeds=s)) for s in (seeds, None))
    assert crossed > 2 * apart


def deviating(design: Design) -> float:
    """Each design has something of its own that its options do not say."""
    return additive(design) + 0.06 * np.sin(97.0 * ALL.index(design) ** 1.5)


def test_a_difference_holds_what_designs_have_of_their_own() -> None:
    tried = draw(6, 100)
    fitted = fit_results(results(tried, deviating, seeds=(0, 1), noise=0.01), METRIC)
    untried = [design for design in ALL if design not in tried]

    def held(pool: Sequence[Design]) -> tuple[float, float]:
        pairs = [(pool[n], pool[n + 1], fitted.difference(pool[n], pool[n + 1])) for n in range(len(pool) - 1)]
        inside = [e.low <= deviating(a) - deviating(b) <= e.high for a, b, e in pairs if e.low is not None and e.high]
        return float(np.mean(inside)), float(np.mean([e.high - e.low for _, _, e in pairs if e.low and e.high]))

    (of_tried, narrow), (of_untried, wide) = held(tried), held(untried)
    assert of_tried >= 0.9 and of_untried >= 0.9 and wide > 3 * narrow


def test_of_a_space_that_was_tried_whole_only_noise_is_left() -> None:
    """Finite-population correction: 216 of 216 designs with large deviations and little noise give narrow effects."""
    fitted = fit_results(results(ALL, deviating, seeds=(0, 1), noise=0.005), METRIC)
    for effect in surface_effects(fitted, ALL):
        having = [[deviating(d) for d in ALL if d[effect.axis] == o] for o in (effect.option, effect.reference)]
        assert effect.low is not None and effect.high is not None
        assert effect.high - effect.low < 0.006  # the deviations alone would make it 0.03
        assert effect.difference == pytest.approx(np.mean(having[0]) - np.mean(having[1]), abs=0.003)


# ---- interactions --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_interaction_is_reported_as_large_as_it_is() -> None:
    """A clash of 0.2 among 40 designs: shrunken pairs show half of it."""

    def clash(design: Design) -> float:
        return additive(design) - 0.2 * (design["format"] == "lines" and design["labels"] == "number")

    shown = []
    for seed in range(4):
        fitted = fit_results(results(draw(seed, 40), clash, seeds=(0, 1), noise=0.02), METRIC)
        rows = surface_interactions(fitted)
        shown += [row.difference for row in rows if row.options in (("lines", "number"), ("number", "lines"))]
        assert rows == sorted(rows, key=lambda row: (not row.clear, -abs(row.difference)))
        assert all(row.estimate.excludes_zero for row in rows if row.clear)
    assert -0.2 * 1.1 <= np.mean(shown) <= -0.2 * 0.9


# ---- shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("count", [1, 2, 11, 14])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_no_shape_of_data_is_too_odd(scale: float, count: int, seeds: tuple[int, ...]) -> None:
    designs = [design for design in draw(8, count) for _ in seeds]
    for scores in (np.full(len(designs), scale), scale * np.arange(len(designs)) / len(designs)):
        fitted = fit_response_surface(designs, scores.tolist(), seeds=[*seeds] * count, bounds=None)
        for effect in surface_effects(fitted, designs):
            assert np.isfinite(effect.difference)
        assert np.isfinite(fitted.predict(designs[0])) and np.isfinite(fitted.optimism([designs[0]]))
        assert fitted.difference(designs[0], designs[0]).value == 0
        assert all(np.isfinite(row.difference) for row in surface_interactions(fitted))


def test_a_large_space_is_averaged_over_a_sample_that_has_all_options_alike() -> None:
    axes = {f"axis {n}": tuple("abcd") for n in range(8)}
    both = [Design(tuple((axis, option) for axis in axes)) for option in "abcd"]
    coding = make_coding(both, axes)
    sample = contexts(coding)
    assert len(sample) < MAX_SPACE < 4**8 and sample == contexts(coding)
    for axis in axes:
        assert all(sum(design[axis] == option for design in sample) == len(sample) // 4 for option in "abcd")
    by_options = cells(coding, sample, ["axis 0", "axis 1"])
    assert len(by_options) == 16 and all(len(members) == len(sample) for members in by_options.values())


# ---- variance components -------------------------------------------------------------------------------------------


def test_components_are_drawn_from_their_posterior() -> None:
    """A normal, and the logarithm of a half-Cauchy: its quartiles are the tangents of quarters of a right angle."""

    def log_density(points: np.ndarray) -> np.ndarray:
        ratio = np.exp(points[:, 1])
        return np.asarray(-0.5 * ((points[:, 0] - 1.0) / 0.3) ** 2 + points[:, 1] - np.log1p(ratio**2))

    bounds = np.array([[-8.0, 8.0], [-8.0, 8.0]])
    mode = posterior_mode(log_density, bounds, np.zeros(2))
    assert mode == pytest.approx([1.0, 0.0], abs=1e-3)
    points = sample_components(log_density, bounds, mode, 2000)
    assert np.mean(points[:, 0]) == pytest.approx(1.0, abs=0.05) and np.std(points[:, 0]) == pytest.approx(
        0.3, abs=0.03
    )
    quartiles = np.exp(np.quantile(points[:, 1], (0.25, 0.5, 0.75)))
    assert quartiles == pytest.approx(np.tan(np.pi / 2 * np.array([0.25, 0.5, 0.75])), rel=0.15)
    assert np.array_equal(points, sample_components(log_density, bounds, mode, 2000))


def test_many_seeds_are_eliminated_once_and_change_no_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    """The draws with some pairs unshrunk, from the equations without seeds and from all of them."""
    rng = np.random.default_rng(0)
    free = np.column_stack([np.ones(12), rng.standard_normal((12, 3))])
    groups, seeds = np.divmod(np.arange(60), 5)
    trials = Trials(groups, free, rng.standard_normal((12, 4)), seeds)
    model = MixedModel(trials, 0.5 + 0.1 * rng.standard_normal(60))
    for pairs in ((), (1, 3)):
        monkeypatch.setattr("sde_ray.analysis.mixed_model.MANY_COLUMNS", 150)
        direct = model.unshrunk(pairs) if pairs else model.fit()
        monkeypatch.setattr("sde_ray.analysis.mixed_model.MANY_COLUMNS", 0)
        eliminated = model.unshrunk(pairs)
        assert model._eliminated is not None
        assert np.allclose(eliminated.coefficients, direct.coefficients, rtol=1e-8, atol=1e-10)
        assert np.allclose(eliminated.deviations, direct.deviations, rtol=1e-8, atol=1e-10)
