"""What a final comparison may claim: two seeds or more, each control on its own seeds, a level for every look."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sde_ray.analysis.dropped_seeds import DroppedSeeds
from sde_ray.analysis.looks import next_look
from sde_ray.analysis.paired import PairedDifference, compare
from sde_ray.analysis.seed_noise import Replicates
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.validation import judge_items, sweep_replicates
from sde_ray.analysis.verdict import Verdict, comparison_claim, earlier_looks, load, save
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED, make_design
from sde_ray.evaluation.per_item import ItemCounts, TaskItems
from sde_ray.types import Design, TrialResult

METRIC = "accuracy"
STRATEGY = Strategy("masa:d1", "planted", make_design(format="json", labels="number"), "", METRIC, 0.0)
CONTROLS = {"baseline": NAMED["baseline"], "es-sde": NAMED["es-sde"], "ew-sde": NAMED["ew-sde"]}
Trials = dict[str, list[TrialConfig]]


def planned(seeds: Sequence[int]) -> Trials:
    designs = {"assembled": STRATEGY.design, **CONTROLS}
    return {
        name: [TrialConfig("masa:d1", design, "planted", seed, 500, 100, ("test",)) for seed in seeds]
        for name, design in designs.items()
    }


def played(
    trials: Trials, score: Callable[[str, int], float]
) -> tuple[dict[str, TrialResult], dict[str, dict[str, ItemCounts]]]:
    """Results, and right or wrong answers to the same 100 items: the first so many are right."""
    results, items = {}, {}
    ids = tuple(map(str, range(100)))
    for name, several in trials.items():
        for trial in several:
            right = (np.arange(100) < 100 * score(name, trial.seed)).astype(float)
            scores = {"test": {METRIC: float(right.mean())}}
            results[trial.key] = TrialResult(trial.key, trial.resolved(), "finished", scores)
            rows = np.column_stack([right, np.ones(100)])
            items[trial.key] = ItemCounts((TaskItems(ids, rows, lambda sums: sums[..., 0] / sums[..., 1]),))
    return results, {"test": items}


def judged(trials: Trials, score: Callable[[str, int], float]) -> Verdict:
    return judge_items(STRATEGY, trials, *played(trials, score))


LEVELS = {"assembled": 0.9, "baseline": 0.5, "es-sde": 0.7, "ew-sde": 0.95}


def test_one_seed_is_only_ahead_or_behind_on_these_items() -> None:
    verdict = judged(planned([101]), lambda name, seed: LEVELS[name])
    claims = {row.control: row.claim for row in verdict.overall()}
    assert claims["baseline"] == claims["es-sde"] == "ahead on these items, one seed"
    assert "better" not in claims.values() and "worse" not in claims.values()
    assert verdict.summary.startswith(
        "One seed shows no design to be better than another. Ahead on these items, one seed:"
    )
    assert "the intervals hold the noise of the items, not that of training" in verdict.summary
    assert "wins" not in verdict.summary and verdict.recommended == "assembled"


def test_one_seed_behind_everywhere_recommends_nothing_else() -> None:
    verdict = judged(planned([101]), lambda name, seed: 0.2 if name == "assembled" else 0.9)
    assert {row.claim for row in verdict.overall()} == {"behind on these items, one seed"}
    assert verdict.recommended == "assembled" and "use " not in verdict.summary


def test_two_seeds_may_claim() -> None:
    verdict = judged(planned([101, 102]), lambda name, seed: LEVELS[name] - 0.01 * (seed == 102) * (name == "baseline"))
    assert {row.control: row.claim for row in verdict.overall()}["baseline"] == "better"
    assert "One seed" not in verdict.summary


def uneven(name: str, seed: int) -> float:
    """The assembled design is far ahead of all on seed 101, and behind them on seed 102."""
    return (0.8 if seed == 101 else 0.5) if name == "assembled" else (0.57 if seed == 101 else 0.61)


def test_a_failed_trial_costs_its_own_control_only() -> None:
    trials = planned([101, 102])
    results, items = played(trials, uneven)
    whole = judge_items(STRATEGY, trials, results, items)
    failed = trials["es-sde"][1].key
    results[failed] = replace(results[failed], status="failed", scores={}, error="CUDA out of memory\nat line 3")
    verdict = judge_items(STRATEGY, trials, results, items)
    before, after = ({row.control: row for row in one.overall()} for one in (whole, verdict))
    assert before["baseline"].claim == after["baseline"].claim == "no difference shown"
    assert before["baseline"].paired is not None and after["baseline"].paired is not None
    assert after["baseline"].paired.difference == before["baseline"].paired.difference == pytest.approx(0.06)
    assert {name: row.seeds for name, row in after.items()} == {"baseline": 2, "es-sde": 1, "ew-sde": 2}
    assert after["es-sde"].claim != "better" and after["es-sde"].assembled == pytest.approx(0.8)
    assert "wins" not in verdict.summary
    assert verdict.dropped == (DroppedSeeds("es-sde", (102,), "failed: CUDA out of memory"),)
    assert "Not paired: es-sde on seed 102 (failed: CUDA out of memory)." in verdict.summary


def test_the_family_of_the_correction_is_said() -> None:
    verdict = judged(planned([101, 102, 103]), lambda name, seed: LEVELS[name] - 0.01 * (seed % 3))
    assert "Holm's correction counts the 3 controls of a split." in verdict.summary


# ---- intervals without width -----------------------------------------------------------------------------------------


def test_equal_gaps_and_no_items_have_no_interval() -> None:
    for gap in (0.001, 0.4):
        scores = {"a": np.array([[0.5 + gap], [0.6 + gap]]), "b": np.array([[0.5], [0.6]])}
        scores["b"] = scores["a"] - gap
        difference = compare({name: values - values.mean() + 0.5 for name, values in scores.items()}, None, "a")["b"]
        flat = compare({"a": np.full((2, 1), 0.5 + gap), "b": np.full((2, 1), 0.5)}, None, "a")["b"]
        assert flat == PairedDifference(flat.difference, seeds=2) and comparison_claim(flat) == "no interval"
        assert comparison_claim(difference) != "better"


def test_items_alone_never_make_several_seeds_better() -> None:
    known = PairedDifference(0.2, 0.1, 0.3, 0.001, 0.001, "items", 2)
    assert comparison_claim(known) == "no difference shown"
    assert comparison_claim(replace(known, noise="seeds and items")) == "better"
    assert comparison_claim(replace(known, noise="seeds and items", seeds=1)) == "ahead on these items, one seed"


# ---- noise of the sweep ----------------------------------------------------------------------------------------------


def test_replicates_of_the_sweep_give_one_seed_an_honest_interval_and_no_claim() -> None:
    scores = {"a": np.array([[0.9]]), "b": np.array([[0.6]])}
    assert compare(scores, None, "a")["b"].low is None
    known = compare(scores, None, "a", replicates=Replicates((0.0004,) * 6, (1.0,) * 6))["b"]
    assert known.noise == "seeds" and known.low is not None and known.high is not None
    assert known.high - known.low > 2 * 1.96 * 0.02 * 2**0.5  # wider than if the noise were known exactly
    assert comparison_claim(replace(known, adjusted_p_value=0.001)) == "ahead on these items, one seed"
    few = compare(scores, None, "a", replicates=Replicates((0.0004,), (2.0,)))["b"]
    assert few.low is None  # two degrees of freedom are too few


def test_replicates_of_the_sweep_narrow_two_seeds() -> None:
    scores = {"a": np.array([[0.90], [0.93]]), "b": np.array([[0.60], [0.58]])}
    alone, known = (
        compare(scores, None, "a", replicates=r)["b"] for r in (None, Replicates((0.0004,) * 6, (1.0,) * 6))
    )
    widths = [(one.high or 0.0) - (one.low or 0.0) for one in (alone, known)]
    assert 0 < widths[1] < 0.6 * widths[0]


def swept(scores: Mapping[tuple[Design, int], float], size: int = 500) -> list[TrialResult]:
    trials = {key: TrialConfig("masa:d1", key[0], "planted", key[1], size, 100, ("dev",)) for key in scores}
    return [TrialResult(t.key, t.resolved(), "finished", {"dev": {METRIC: scores[key]}}) for key, t in trials.items()]


def test_replicates_are_those_of_the_same_model_and_size_on_the_scale() -> None:
    designs = [make_design(), make_design(format="json")]
    results = swept({(designs[0], 0): 0.50, (designs[0], 1): 0.52, (designs[1], 0): 0.98, (designs[1], 1): 0.982})
    replicates = sweep_replicates(results, STRATEGY, [500])
    assert replicates is not None and replicates.freedom == (1.0, 1.0)
    middle, ceiling = replicates.variances  # a hundredth of the variance near the ceiling, about the same on the scale
    assert 0.2 < ceiling / middle < 5
    assert sweep_replicates(results, STRATEGY, [250]) is None and sweep_replicates([], STRATEGY, [500]) is None
    assert sweep_replicates(results, replace(STRATEGY, model="other"), [500]) is None
    tests = [replace(one, config={**one.config, "splits": ("test",)}) for one in results]
    assert sweep_replicates(tests, STRATEGY, [500]) is None


# ---- looks -----------------------------------------------------------------------------------------------------------


def test_more_seeds_are_another_look_at_half_the_level_and_the_same_trials_are_not() -> None:
    first = next_look(planned([101, 102]))
    second = next_look(planned([101, 102, 103]), [first])
    third = next_look(planned([201, 202]), [first, second])
    assert [(look.number, look.level) for look in (first, second, third)] == [(1, 0.05), (2, 0.025), (3, 0.0125)]
    assert second.seeds == (101, 102, 103)
    assert next_look(planned([101, 102]), [first, second]) == first


def test_a_claim_holds_at_the_level_of_its_look() -> None:
    known = PairedDifference(0.2, 0.1, 0.3, 0.02, 0.04, "seeds and items", 3)
    assert comparison_claim(known, 0.05) == "better" and comparison_claim(known, 0.025) == "no difference shown"


def test_looks_are_kept_in_the_file_and_said(tmp_path: Path) -> None:
    path = tmp_path / "validation.json"
    assert earlier_looks(path) == ()
    for seeds in ([101, 102], [101, 102], [101, 102, 103]):
        trials = planned(seeds)
        results, items = played(trials, lambda name, seed: LEVELS[name] - 0.01 * (seed % 3))
        verdict = judge_items(STRATEGY, trials, results, items, (), earlier_looks(path))
        save(verdict, path)
    assert load(path) == verdict and verdict.look == 2 and verdict.level == 0.025
    assert [look["seeds"] for look in json.loads(path.read_text())["looks"]] == [[101, 102], [101, 102, 103]]
    assert "This is look 2 at the test items: claims at level 0.025." in verdict.summary
