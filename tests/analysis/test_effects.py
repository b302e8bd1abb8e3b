"""Planted surfaces: effects come back within their intervals, and what cannot be known is said to be unknown."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.planted import ALL, WORTH, additive, one_at_a_time, result, results

from sde_ray.analysis.claims import effect_claim
from sde_ray.analysis.effects import (
    Effect,
    effect_scope,
    effect_table,
    estimate_effects,
    estimate_interactions,
    fit_results,
    group_results,
    non_finite_results,
)
from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.leaderboard import compare_best, rank_designs
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts, TaskItems, influence_matrix, read_items
from sde_ray.types import Design

METRIC = "weighted_kappa"
DEFAULTS = {"instruction": "last", "input_modeling": "off", "format": "natural", "unmentioned": "placeholder"}


def by_option(found: list[Effect]) -> dict[str, Effect]:
    return {effect.option: effect for effect in found}


def test_a_full_factorial_gives_every_effect_within_its_interval() -> None:
    found = by_option(estimate_effects(results(ALL, noise=0.03), METRIC))
    assert set(found) == {"first", "none", "on", "lines", "json", "omit", "number", "cot", "rcot"}
    for effect in estimate_effects(results(ALL, noise=0.03), METRIC):
        truth = WORTH.get((effect.axis, effect.option), 0.0)
        assert effect.low is not None and effect.high is not None
        assert effect.low - 0.005 <= truth <= effect.high + 0.005
        assert effect.high - effect.low < 0.06
        assert effect.reference == DEFAULTS.get(effect.axis, effect.reference)
    assert found["lines"].low > 0 > found["json"].high  # type: ignore[operator]
    assert found["lines"].replicates == 72 and found["omit"].replicates == 108


def test_without_noise_one_at_a_time_gives_the_differences_themselves_and_no_interval() -> None:
    for effect in estimate_effects(results(one_at_a_time()), METRIC):
        assert effect.difference == pytest.approx(WORTH.get((effect.axis, effect.option), 0.0), abs=1e-9)
        assert effect.low is None and effect.high is None and effect.replicates == 1


def test_seeds_give_one_at_a_time_its_intervals() -> None:
    found = by_option(estimate_effects(results(one_at_a_time(), seeds=(0, 1, 2), noise=0.02), METRIC))
    assert found["lines"].low is not None and found["lines"].low > 0.05
    assert found["on"].low is not None and found["on"].high is not None
    assert found["on"].low < 0 < found["on"].high
    assert fit_results(results(one_at_a_time(), seeds=(0, 1, 2), noise=0.02), METRIC).noise == "seeds"


@pytest.mark.long
def test_main_effects_of_a_fraction_cover_the_truth() -> None:
    """A rough count over 40 simulated sweeps of 30 trials: 95% nominal, 9 effects each."""
    random_, inside, total = random.Random(1), 0, 0
    for _ in range(40):
        trials = [result(d, additive(d) + random_.gauss(0, 0.03)) for d in random_.sample(ALL, 30)]
        for effect in estimate_effects(trials, METRIC):
            assert effect.low is not None and effect.high is not None
            inside += effect.low <= WORTH.get((effect.axis, effect.option), 0.0) <= effect.high
            total += 1
    assert 0.91 <= inside / total <= 0.985


def surprising(design: Design) -> float:
    """Lines and numbers hurt each other."""
    clash = design["format"] == "lines" and design["labels"] == "number"
    return additive(design) - (0.3 if clash else 0.0)


def test_a_planted_interaction_stands_first() -> None:
    first = estimate_interactions(results(ALL, surprising, noise=0.02), METRIC)[0]
    assert (first.axes, first.options) == (("format", "labels"), ("lines", "number"))
    assert first.difference == pytest.approx(-0.3, abs=0.04)
    assert first.high is not None and first.high < -0.2
    assert estimate_interactions(results(one_at_a_time(), surprising), METRIC) == []  # it cannot see any


def test_prediction_reaches_designs_that_never_ran() -> None:
    tried = random.Random(2).sample(ALL, 60)
    fitted = fit_results(results(tried, surprising, noise=0.01), METRIC)
    unseen = [design for design in ALL if design not in tried]
    errors = [abs(fitted.predict(design) - surprising(design)) for design in unseen]
    assert sum(errors) / len(errors) < 0.03
    whole = fit_results(results(ALL, surprising), METRIC)
    assert max(map(whole.predict, ALL)) == pytest.approx(max(map(surprising, ALL)), abs=0.01)


def test_what_may_be_said_of_options() -> None:
    rows = {row["option"]: row for row in effect_table(results(ALL, surprising, seeds=(0, 1), noise=0.02), METRIC)}
    assert rows["first"]["claim"] == "better" and rows["json"]["claim"] == "worse"
    assert rows["cot"]["claim"] == rows["on"]["claim"] == "the same"  # 0.002 and 0, told within 0.02
    assert rows["number"]["interacts"] == "format=lines" and rows["lines"]["interacts"] == "labels=number"
    assert rows["first"]["interacts"] == ""
    few = {row["option"]: row for row in effect_table(results(one_at_a_time(), seeds=(0, 1), noise=0.05), METRIC)}
    assert few["cot"]["claim"] in ("not shown", "perhaps worse") and few["cot"]["interacts"] == ""  # by luck, at most
    lone = {row["option"]: row for row in effect_table(results(one_at_a_time()), METRIC)}
    assert lone["lines"]["claim"] == "no interval"


@pytest.mark.parametrize(
    ("own", "sure", "said"),
    [
        (Estimate(0.1, 0.05, 0.15), Estimate(0.1, 0.02, 0.18), "better"),
        (Estimate(0.1, 0.05, 0.15), Estimate(0.1, -0.01, 0.21), "perhaps better"),
        (Estimate(-0.1, -0.15, -0.05), Estimate(-0.1, -0.18, -0.02), "worse"),
        (Estimate(-0.1, -0.15, -0.05), Estimate(-0.1, -0.3, 0.02), "perhaps worse"),
        (Estimate(0.01, 0.005, 0.015), Estimate(0.01, 0.001, 0.019), "the same"),
        (Estimate(0.0, -0.05, 0.05), Estimate(0.0, -0.1, 0.1), "not shown"),
        (Estimate(0.3), Estimate(0.3), "no interval"),
    ],
)
def test_claims(own: Estimate, sure: Estimate, said: str) -> None:
    assert effect_claim(own, sure) == said


def test_a_lead_counts_how_many_were_compared() -> None:
    """The best of 30 equal designs is ahead by luck; the best of a planted surface is ahead."""
    tried = [make_design(), *(design for design in random.Random(4).sample(ALL, 29) if design != make_design())]
    flat = results(tried, lambda design: 0.5, seeds=(0, 1), noise=0.03)
    equal, real = (
        compare_best(rank_designs(flat, METRIC), fit_results(flat, METRIC)),
        results(tried, seeds=(0, 1), noise=0.03),
    )
    assert equal is not None and equal.estimate.low is not None and equal.estimate.low < 0 < equal.estimate.value
    assert "not shown to be better" in equal.summary and f"best of {len(set(tried)) - 1}" in equal.summary
    ahead = compare_best(rank_designs(real, METRIC), fit_results(real, METRIC))
    assert ahead is not None and (ahead.estimate.low or 0) > 0 and "is better than the baseline" in ahead.summary
    own = fit_results(real, METRIC).difference(ahead.design, make_design())
    assert ahead.estimate.low is not None and own.low is not None and ahead.estimate.low < own.low  # wider
    assert compare_best(rank_designs(flat[:1], METRIC), fit_results(flat[:1], METRIC)) is None


def test_the_spread_is_the_range_over_seeds_and_unknown_of_one() -> None:
    row = rank_designs(
        [result(make_design(), 0.5, 0), result(make_design(), 0.53, 1), result(make_design(), 0.51, 2)], METRIC
    )[0]
    assert row.spread == pytest.approx(0.03) and row.trials == 3
    assert rank_designs([result(make_design(), 0.5)], METRIC)[0].spread is None


def test_designs_with_more_seeds_count_more() -> None:
    """A lucky single trial is drawn towards what the others say less than four trials of the same design are."""
    tried = [design for design in ALL if design["reasoning"] == "none" and design["format"] != "json"]
    base = results(tried, seeds=(0, 1), noise=0.02)
    odd = tried[7]
    once = [one for one in base if one.config["design"] != dict(odd.options)]
    lucky = additive(odd) + 0.1
    single = fit_results([*once, result(odd, lucky)], METRIC).predict(odd)
    several = fit_results(
        [*once, *(result(odd, lucky + e, s) for s, e in enumerate((-0.02, 0.02, -0.01, 0.01)))], METRIC
    )
    assert additive(odd) < single < several.predict(odd) < lucky


def test_a_pinned_axis_has_no_effect_and_confounded_options_no_interval() -> None:
    fixed = [design for design in ALL if design["reasoning"] == "none"]
    assert "reasoning" not in {effect.axis for effect in estimate_effects(results(fixed), METRIC)}
    base = one_at_a_time()[0]
    both = base.replace(format="lines", labels="number")
    for effect in estimate_effects(results([base, both], seeds=(0, 1, 2), noise=0.01), METRIC):
        assert effect.low is None


def test_out_of_domain_stands_beside_and_none_where_not_applicable() -> None:
    trials = [
        result(design, additive(design), ood=None if design["instruction"] == "none" else additive(design) / 2)
        for design in ALL
    ]
    rows = {row["option"]: row for row in effect_table(trials, METRIC)}
    assert rows["lines"]["difference"] == pytest.approx(0.12, abs=1e-6)
    assert rows["lines"]["difference_ood"] == pytest.approx(0.06, abs=1e-6)
    assert rows["none"]["difference_ood"] is None
    assert rows["first"]["low"] is not None


def test_failed_pruned_and_non_finite_trials_do_not_count() -> None:
    good = results(one_at_a_time())
    bad = [
        replace(result(ALL[5], 9.0), status="failed"),
        replace(result(ALL[7], 9.0), status="pruned"),
        result(ALL[9], float("nan")),
    ]
    assert estimate_effects([*good, *bad], METRIC) == estimate_effects(good, METRIC)
    assert non_finite_results([*good, *bad], METRIC) == [bad[2]]
    with pytest.raises(UserError, match="0 finished, 1 pruned, 1 failed"):
        fit_results(bad[:2], METRIC)


def test_foreign_metrics_and_mixed_groups_are_refused() -> None:
    with pytest.raises(UserError, match="weighted_kappa"):
        estimate_effects(results(one_at_a_time()), "weighted_kapa")
    mixed = [*results(one_at_a_time()), result(ALL[0], 0.5, task="qa")]
    assert [group.task for group in group_results(mixed)] == ["masa:d1", "qa"]
    with pytest.raises(UserError, match="2 groups"):
        estimate_effects(mixed, METRIC)


def right(share: float, seed: int, count: int = 200) -> ItemCounts:
    """Items of which a share is right: one column, the mean is the metric."""
    hits = (np.random.default_rng(seed).random(count) < share).astype(float)
    rows = np.column_stack([hits, np.ones(count)])
    return ItemCounts((TaskItems(tuple(map(str, range(count))), rows, lambda totals: totals[..., 0] / totals[..., 1]),))


def test_the_jackknife_of_a_mean_is_exact() -> None:
    items = right(0.6, 3)
    jackknife_influence = influence_matrix([items])
    assert jackknife_influence is not None
    hits = items.parts[0].rows[:, 0]
    assert np.allclose(jackknife_influence[0], (hits - hits.mean()) / len(hits), atol=1e-9)
    assert influence_matrix([items, None]) is None and influence_matrix([items, right(0.6, 3, 50)]) is None


def test_items_alone_give_no_interval_where_nothing_tells_the_noise_of_training() -> None:
    """One trial a design, one axis at a time: an interval of items alone would lack all that seeds do."""
    designs = one_at_a_time()
    items = {result(d, 0.0).key: right(0.5, n) for n, d in enumerate(designs)}
    trials = [result(d, float(items[result(d, 0.0).key].parts[0].rows[:, 0].mean())) for d in designs]
    found = estimate_effects(trials, METRIC, items=items)
    assert len(found) == len(designs) - 1 and all(effect.low is None and effect.high is None for effect in found)
    assert "no interval" in effect_scope(fit_results(trials, METRIC, items=items))


def test_items_count_where_seeds_do_not_differ() -> None:
    """Standard error of a difference of two independent shares of 200 items: about 0.05; each seed the same score."""
    designs = one_at_a_time()
    shown = {design: right(0.5, n) for n, design in enumerate(designs)}
    trials = [result(d, float(shown[d].parts[0].rows[:, 0].mean()), seed) for d in designs for seed in (0, 1)]
    items = {one.key: shown[design] for one, design in zip(trials, [d for d in designs for _ in (0, 1)], strict=True)}
    for effect in estimate_effects(trials, METRIC, items=items):
        assert effect.low is not None and effect.high is not None
        assert (effect.high - effect.low) == pytest.approx(2 * 1.96 * 0.05, rel=0.2)
    assert fit_results(trials, METRIC, items=items).noise == "items"


def test_items_are_read_back_from_kept_completions(tmp_path: Path) -> None:
    from sde_ray.design.designs import make_design
    from sde_ray.design.render import render_sample
    from sde_ray.tasks import get_task

    task, design = get_task("masa:d1"), make_design(format="lines")
    examples = task.load("dev")[:6]
    texts = [render_sample(example, task, design).completion.text for example in examples[:5]] + ["nonsense\u2028here"]
    lines = [
        json.dumps({"split": "dev", "id": e.id, "prediction": t, "task": "masa:d1"}, ensure_ascii=False)
        for e, t in zip(examples, texts, strict=True)
    ]
    (tmp_path / "predictions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    items = read_items(result(design, 1.0), tmp_path, "dev", "format_adherence")
    assert items is not None and len(items.ids[0]) == 6
    assert items.scores([np.ones((1, 6))])[0] == pytest.approx(5 / 6)
    assert read_items(result(design, 1.0), tmp_path, "test", "format_adherence") is None
    assert read_items(result(design, 1.0), tmp_path / "nowhere", "dev", "format_adherence") is None
