"""Nuisance axes: never a reason for a design, and does the ranking of designs hold at each of their values?"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from random import Random

import pytest

from sde_ray.analysis.effects import estimate_interactions, fit_results
from sde_ray.analysis.leaderboard import compare_best, rank_designs
from sde_ray.analysis.nuisance import average_over_nuisance, without_nuisance
from sde_ray.analysis.strategy import Strategy, assemble, load, save
from sde_ray.analysis.verdict import make_verdict
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.types import Design, TrialResult

FORMATS, REASONING, RATES, SEEDS = ("natural", "lines"), ("none", "cot", "rcot"), ("0.001", "0.006"), range(3)
METRIC = "weighted_kappa"


def sweep(gain: dict[str, float], rate: float = 0.2, noise: float = 0.01) -> list[TrialResult]:
    """All designs of two axes at two rates: `lines` brings `gain` at each rate, the higher rate brings `rate`."""
    random, results = Random(0), []
    for form, reasoning, learning_rate, seed in product(FORMATS, REASONING, RATES, SEEDS):
        design = make_design(format=form, reasoning=reasoning, learning_rate=learning_rate)
        score = 0.4 + gain[learning_rate] * (form == "lines") + rate * (learning_rate == "0.006")
        score += 0.02 * REASONING.index(reasoning) + random.gauss(0, noise)
        config = TrialConfig("masa:d1", design, "tiny", seed, 40, 20)
        results.append(TrialResult(config.key, config.resolved(), "finished", {"dev": {METRIC: score}}))
    return results


@pytest.fixture(scope="module")
def steady() -> Strategy:
    return assemble(sweep({"0.001": 0.1, "0.006": 0.1}), METRIC)


@pytest.fixture(scope="module")
def crossed() -> Strategy:
    return assemble(sweep({"0.001": 0.2, "0.006": -0.1}), METRIC)


def test_a_rate_that_brings_much_is_no_reason_for_a_design(steady: Strategy) -> None:
    """The higher rate brings twice as much as the format, and the design does not have it."""
    assert "learning_rate" not in dict(steady.design.options)
    assert steady.design["format"] == "lines"
    assert "learning_rate" not in steady.reasons
    assert "learning_rate (0.001, 0.006), no reason for a design" in steady.selection
    assert steady.predicted == pytest.approx(0.64, abs=0.02)  # 0.4 + 0.1 + 0.04, and half of the rate's 0.2
    assert [(one.axis, one.option) for one in steady.effects if one.axis == "learning_rate"] == [
        ("learning_rate", "0.006")
    ]


def test_the_ranking_holds_where_the_format_helps_at_each_rate(steady: Strategy) -> None:
    assert [(one.option, one.claim) for one in steady.robustness] == [("0.001", "holds"), ("0.006", "holds")]
    assert all(one.low is not None and one.low > 0 for one in steady.robustness)
    assert all(one.spearman is not None and one.spearman > 0.5 for one in steady.robustness)
    assert steady.ranking.startswith("The ranking of designs holds at each learning_rate (0.001: +0.1")


def test_the_ranking_does_not_hold_where_the_format_hurts_at_one_rate(crossed: Strategy) -> None:
    """On average over the rates `lines` is ahead; at 0.006 it is behind, by an interval."""
    assert crossed.design["format"] == "lines"
    claims = {one.option: one.claim for one in crossed.robustness}
    assert claims == {"0.001": "holds", "0.006": "does not hold"}
    assert crossed.ranking.startswith("The ranking of designs does not hold at learning_rate 0.006: another design")
    assert "against Inst-last, No-MI, Natural" in crossed.ranking
    clear = [one for one in estimate_interactions(sweep({"0.001": 0.2, "0.006": -0.1}), METRIC) if one.clear]
    assert ("format", "learning_rate") in [one.axes for one in clear]


def test_the_verdict_says_it(crossed: Strategy) -> None:
    assert crossed.ranking in make_verdict(crossed, ()).summary


def test_noise_alone_shows_nothing() -> None:
    strategy = assemble(sweep({"0.001": 0.0, "0.006": 0.0}, rate=0.0, noise=0.1), METRIC)
    assert {one.claim for one in strategy.robustness} == {"not shown"}
    assert strategy.design == without_nuisance(make_design(learning_rate="0.001"))
    assert strategy.ranking.startswith("That the ranking of designs holds is not shown at learning_rate 0.001, 0.006")
    assert "0.001: the default, no other is shown to be better" in strategy.ranking


def test_a_default_that_leads_all_others_holds() -> None:
    results = [one for one in sweep({"0.001": -0.2, "0.006": -0.2}) if one.config["design"]["reasoning"] == "none"]
    strategy = assemble(results, METRIC)
    assert strategy.design["format"] == "natural"
    assert {one.claim for one in strategy.robustness} == {"holds"}
    assert "0.001: the default, ahead of all others" in strategy.ranking


def test_the_average_is_the_mean_over_the_values() -> None:
    fitted = fit_results(sweep({"0.001": 0.1, "0.006": 0.1}), METRIC)
    averaged = average_over_nuisance(fitted)
    for form, reasoning in product(FORMATS, REASONING):
        design = without_nuisance(make_design(format=form, reasoning=reasoning, learning_rate="0.001"))
        at_each = [fitted.predict(Design((*design.options, ("learning_rate", rate)))) for rate in RATES]
        assert averaged.predict(design) == pytest.approx(sum(at_each) / 2)
    assert averaged.average("format", "lines").value == pytest.approx(fitted.average("format", "lines").value)
    assert average_over_nuisance(averaged) is averaged


def test_a_strategy_without_nuisance_axis_is_written_as_before(steady: Strategy, tmp_path: Path) -> None:
    plain = [one for one in sweep({"0.001": 0.1, "0.006": 0.1}) if one.config["design"]["learning_rate"] == "0.001"]
    strategy = assemble(plain, METRIC)
    assert strategy.robustness == () and strategy.ranking == ""
    save(strategy, tmp_path / "strategy.yaml")
    assert "robustness" not in (tmp_path / "strategy.yaml").read_text()
    save(steady, tmp_path / "other.yaml")
    assert load(tmp_path / "other.yaml") == steady


def test_the_best_is_compared_with_the_baseline_at_its_own_rate() -> None:
    results = sweep({"0.001": 0.1, "0.006": 0.1}, rate=0.3)
    fitted = fit_results(results, METRIC)
    best = compare_best(rank_designs(results, METRIC, fitted=fitted), fitted)
    assert best is not None and best.design["learning_rate"] == best.baseline["learning_rate"]
    assert best.estimate.value == pytest.approx(0.14, abs=0.03)  # 0.1 of the format, 0.04 of the rationale
