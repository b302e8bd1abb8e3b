"""Every search tries the baseline and ES-SDE first, and the baseline with at least two seeds."""

from __future__ import annotations

from typing import Any

import pytest

from sde_ray.cli.views.plan import summary
from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED, make_design
from sde_ray.errors import UserError
from sde_ray.search import METHODS
from sde_ray.sweep.adaptive_queue import make_trial_queue
from sde_ray.sweep.plan import Plan, plan
from sde_ray.testing.planted import planted
from sde_ray.types import Design, TrialResult

BASELINE, ES_SDE = make_design(), NAMED["es-sde"]
BASE: dict[str, Any] = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20}
ADDING = [method for method in METHODS if method != "one_at_a_time"]


def made(method: str = "random", **values: Any) -> Plan:
    search = {"method": method} | ({} if method == "grid" else {"n_trials": 14})
    return plan(check({**BASE, **values, "search": {**search, **values.get("search", {})}}))


def score(result: TrialResult) -> float:
    return result.scores["dev"]["weighted_kappa"]


def drain(plan: Plan, results: dict[str, TrialResult] | None = None, limit: int = 1000) -> list[TrialConfig]:
    """All trials in the order of their hand-out, each finished before the next."""
    queue = make_trial_queue(plan, score, results or {})
    trials: list[TrialConfig] = []
    while len(trials) < limit and (trial := queue.next_trial()) is not None:
        trials.append(trial)
        value = {"weighted_kappa": planted(trial.design, trial.seed)}
        queue.on_trial_end(TrialResult(trial.key, trial.resolved(), "finished", {"dev": value}))
    return trials


def order_of(trials: list[TrialConfig]) -> list[tuple[Design, int]]:
    return [(trial.design, trial.seed) for trial in trials]


@pytest.mark.parametrize("method", ADDING)
@pytest.mark.parametrize("seeds", [[0], [3], [0, 1], [0, 1, 2]])
def test_the_named_designs_come_first_and_the_baseline_has_two_seeds(method: str, seeds: list[int]) -> None:
    trials = order_of(drain(made(method, seeds=seeds), limit=12))
    designs = list(dict.fromkeys(design for design, _ in trials))
    assert designs[:2] == [BASELINE, ES_SDE]
    baseline = [seed for design, seed in trials if design == BASELINE]
    assert len(set(baseline)) == len(baseline) >= 2
    assert set(baseline) >= set(seeds[:1])


@pytest.mark.parametrize("method", ["random", "factorial", "optuna"])
def test_the_second_seed_comes_on_top_of_the_budget(method: str) -> None:
    one = made(method, seeds=[0])
    assert one.count == 15
    assert len(drain(one)) == 15
    assert made(method, seeds=[0, 1]).count == 28


def test_adaptive_pays_for_it_from_its_budget() -> None:
    sweep = made("adaptive", seeds=[0], search={"n_trials": 14, "confidence": 1.0})
    trials = drain(sweep)
    assert sweep.count == 14 == len(trials)
    assert order_of(trials)[:3] == [(BASELINE, 0), (BASELINE, 1), (ES_SDE, 0)]
    assert {trial.seed for trial in trials if trial.design != BASELINE} == {0}


def test_one_at_a_time_adds_no_design_but_repeats_its_reference() -> None:
    trials = order_of(drain(made("one_at_a_time", seeds=[0], search={"n_trials": None})))
    assert trials[:2] == [(BASELINE, 0), (BASELINE, 1)]
    assert len(trials) == 11
    assert ES_SDE not in [design for design, _ in trials]


def test_none_is_asked_for() -> None:
    sweep = made("random", seeds=[0], search={"points_to_evaluate": []})
    assert sweep.count == 14
    assert sweep.first == ""
    assert {trial.seed for trial in sweep.trials} == {0}


def test_a_design_of_the_users_own_is_first() -> None:
    mine = {"format": "json", "reasoning": "cot"}
    trials = drain(made("random", seeds=[0], search={"points_to_evaluate": [mine]}))
    assert order_of(trials)[:2] == [(make_design(**mine), 0), (make_design(**mine), 1)]


def test_a_point_outside_the_space_is_left_out() -> None:
    sweep = made("random", seeds=[0], axes={"format": ["lines", "json"]})
    assert sweep.contests[0].points_to_evaluate == (ES_SDE,)
    assert order_of(drain(sweep))[:2] == [(ES_SDE, 0), (ES_SDE, 1)]


def test_an_explicit_list_of_designs_is_reordered_but_nothing_is_added() -> None:
    sweep = made("grid", seeds=[0], designs=["ew-sde", "baseline"])
    assert order_of(drain(sweep)) == [(BASELINE, 0), (NAMED["ew-sde"], 0)]


@pytest.mark.parametrize("method", ["random", "adaptive"])
def test_a_resumed_sweep_runs_neither_again(method: str) -> None:
    sweep = made(method, seeds=[0], search={"confidence": 1.0} if method == "adaptive" else {})
    before = drain(sweep)
    results = {
        trial.key: TrialResult(
            trial.key, trial.resolved(), "finished", {"dev": {"weighted_kappa": planted(trial.design, trial.seed)}}
        )
        for trial in before
    }
    few = dict(list(results.items())[:6])
    assert not {trial.key for trial in drain(sweep, few)} & set(few)
    assert drain(sweep, results) == []


def test_the_plan_says_what_comes_first() -> None:
    line = "first: Inst-last, No-MI, Natural, PU, TxtLabel, No-CoT with seeds 0 and 1; then Inst-first, No-MI, Lines"
    assert any(text.startswith(line) for text in summary(made("random", seeds=[0])))


def test_a_point_that_is_no_design_is_refused_before_anything_runs() -> None:
    with pytest.raises(UserError, match=r"search\.points_to_evaluate"):
        made("random", search={"points_to_evaluate": ["bestline"]})
