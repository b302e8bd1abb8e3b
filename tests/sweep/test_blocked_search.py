"""Nuisance axes in a search: every design that it compares has seen the same values, and is judged by its mean.

The world: the rate 0.006 is better for every design; `lines` is ahead of `json` there and at 0.001, and falls far
behind it at 0.02, so that on average `json` is the best format.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from helpers.plans import plan_of

from sde_ray.analysis.strategy import Strategy, assemble
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design, without_nuisance
from sde_ray.errors import UserError
from sde_ray.sweep.adaptive_queue import AdaptiveQueue, make_trial_queue
from sde_ray.sweep.plan import Plan
from sde_ray.sweep.queue import TrialQueue
from sde_ray.types import Design, RungResult, TrialResult

STILL = {"input_modeling": "off", "unmentioned": "placeholder", "labels": "text", "reasoning": "none"}
RATES = (0.001, 0.006, 0.02)
AXES = {**STILL, "format": ["natural", "lines", "json"], "instruction": ["last", "first"], "learning_rate": [*RATES]}
FORMATS = {"natural": 0.5, "lines": 0.66, "json": 0.57}
METHODS: dict[str, dict[str, Any]] = {
    "grid": {},
    "random": {"n_trials": 6},
    "factorial": {"n_trials": 6},
    "one_at_a_time": {},
    "optuna": {"n_trials": 6},
    "adaptive": {"n_trials": 10, "confidence": 1.0},
    "adaptive, in rungs": {"n_trials": 10, "confidence": 1.0, "rungs": [0.5, 1.0]},
}


def worth(trial: TrialConfig, rung: int) -> float:
    design, rate = dict(trial.design.options), trial.train.learning_rate
    score = FORMATS[design["format"]] + 0.04 * (design["instruction"] == "first") + 0.15 * (rate == 0.006)
    score -= 0.35 * (design["format"] == "lines" and rate == 0.02)
    return score * (0.5 + 0.5 * trial.rungs[rung]) + Random(trial.key).gauss(0, 0.004)


def made(name: str, **values: Any) -> Plan:
    search = {"method": name.partition(",")[0], **METHODS[name], **values.pop("search", {})}
    return plan_of(**{"axes": AXES, "search": search, "seeds": [0, 1], **values})


def score(result: TrialResult) -> float | None:
    return result.scores["dev"]["weighted_kappa"] if result.status != "failed" else None


def drain(queue: TrialQueue, limit: int = 1000, failing: tuple[str, float] | None = None) -> list[TrialResult]:
    ended: list[TrialResult] = []
    while len(ended) < limit and (trial := queue.next_trial()) is not None:
        rung, rungs = 0, len(trial.rungs)
        if isinstance(queue, AdaptiveQueue):
            while rung + 1 < rungs and queue.should_continue(trial, rung, worth(trial, rung)):
                rung += 1
        else:
            rung = rungs - 1
        reached = tuple(RungResult(n, 10, {"dev": {"weighted_kappa": worth(trial, n)}}) for n in range(rung + 1))
        status = "finished" if rung + 1 == rungs else "pruned"
        if failing == (trial.design["format"], trial.train.learning_rate):
            reached, status = (), "failed"
        scores = reached[-1].scores if reached else {}
        ended.append(TrialResult(trial.key, trial.resolved(), status, scores, rungs=reached))  # type: ignore[arg-type]
        queue.on_trial_end(ended[-1])
    return ended


def blocks_of(results: list[TrialResult]) -> dict[tuple[Design, int], dict[float, str]]:
    """Of each design and seed, by learning rate: how its trial ended, and how far."""
    by_block: dict[tuple[Design, int], dict[float, str]] = {}
    for result in results:
        design = without_nuisance(make_design(**result.config["design"]))
        rate = result.config["train"]["learning_rate"]
        by_block.setdefault((design, result.config["seed"]), {})[rate] = f"{result.status} {len(result.rungs)}"
    return by_block


def strategy(queue: TrialQueue, results: list[TrialResult]) -> Strategy:
    recommended = queue.recommendation(("masa:d1", "tiny", 40)) if isinstance(queue, AdaptiveQueue) else []
    return assemble(results, "weighted_kappa", recommended=recommended)


@pytest.mark.parametrize("name", METHODS)
def test_the_design_that_is_best_on_average_is_chosen_and_where_it_is_not_is_said(name: str) -> None:
    whole = made(name)
    queue = make_trial_queue(whole, score, {})
    results = drain(queue)
    assert len(results) <= whole.count if len(whole.config.rungs()) == 1 else results
    for block in blocks_of(results).values():
        assert set(block) == set(RATES) and len(set(block.values())) == 1, "each value, and equally far"
    chosen = strategy(queue, results)
    told = "last" if name == "one_at_a_time" else "first"  # which it has not seen together with json
    assert chosen.design == make_design(format="json", instruction=told)
    assert "learning_rate" not in dict(chosen.design.options)
    claims = {check.option: check.claim for check in chosen.robustness}
    assert claims["0.02"] == "holds" and "does not hold" in {claims["0.001"], claims["0.006"]}
    assert "The ranking of designs does not hold at learning_rate 0.0" in chosen.ranking


@pytest.mark.parametrize("name", ["grid", "adaptive", "adaptive, in rungs"])
@pytest.mark.parametrize("limit", [4, 16])
def test_a_resumed_search_completes_its_blocks(name: str, limit: int) -> None:
    whole = made(name)
    first = drain(make_trial_queue(whole, score, {}), limit)
    assert len(first) == limit and any(set(block) != set(RATES) for block in blocks_of(first).values())
    queue = make_trial_queue(whole, score, {result.key: result for result in first})
    rest = drain(queue)
    finished = {result.key for result in first if result.status == "finished"}
    assert not finished & {result.key for result in rest}, "nothing that is finished runs again"
    furthest: dict[str, TrialResult] = {}
    for result in [*first, *rest]:
        if result.key not in furthest or len(result.rungs) >= len(furthest[result.key].rungs):
            furthest[result.key] = result
    for block in blocks_of(list(furthest.values())).values():
        assert set(block) == set(RATES) and len(set(block.values())) == 1
    assert strategy(queue, list(furthest.values())).design["format"] == "json"


@pytest.mark.parametrize("name", ["grid", "optuna", "adaptive"])
def test_a_design_that_fails_at_one_value_has_no_mean(name: str) -> None:
    """Its mean over the others would be that of the values it is good at."""
    queue = make_trial_queue(made(name), score, {})
    results = drain(queue, failing=("lines", 0.02))
    assert any(result.status == "failed" for result in results)
    if isinstance(queue, AdaptiveQueue):
        (design, _), *_ = queue.recommendation(("masa:d1", "tiny", 40))
        assert design["format"] == "json"
        assert all(one["format"] != "lines" for one, _ in queue.recommendation(("masa:d1", "tiny", 40)))


def test_a_plan_counts_blocks() -> None:
    assert made("grid").count == len(made("grid").trials) == 6 * 3 * 2
    assert made("random", search={"n_trials": 4}).count == 4 * 3 * 2
    adaptive = made("adaptive")
    assert adaptive.count == 10 * 3 and "each stands for one at each of 3 nuisance values" in adaptive.search
    first = [made(name).contests[0].reference_design for name in METHODS]
    assert set(first) == {make_design()}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"search": {"method": "random", "asha": {}}}, "search.asha stops trials one by one"),
        ({"search": {"method": "grid", "racing": 0.5}}, "Leave out search.racing, or learning_rate from the axes"),
        (
            {"search": {"method": "factorial", "interactions": [["format", "learning_rate"]]}},
            "search.interactions names learning_rate: each design is trained at all its values",
        ),
        (
            {"axes": {}, "designs": ["baseline", "format=lines,learning_rate=0.02"]},
            "at other values of learning_rate than others: it lacks learning_rate=0.02",
        ),
    ],
)
def test_what_would_leave_blocks_incomplete_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        plan_of(**{"axes": AXES, **values})
    assert message in str(error.value)
