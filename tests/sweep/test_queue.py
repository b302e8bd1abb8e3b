"""The queue hands out what has not ended yet, in the method's order, and tells the method the mean of each design."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from helpers.fake_runner import planted
from helpers.plans import FEW, plan_of

from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.sweep.queue import DesignQueue
from sde_ray.training.checkpoint import Checkpoint
from sde_ray.types import TrialResult


def ran(trial: TrialConfig, status: Any = "finished") -> TrialResult:
    scores = {"dev": {"weighted_kappa": planted(trial.design, trial.seed)}} if status != "failed" else {}
    return TrialResult(trial.key, trial.resolved(), status, scores)


def score(result: TrialResult) -> float | None:
    return result.scores.get("dev", {}).get("weighted_kappa")


def drain(queue: DesignQueue) -> list[TrialConfig]:
    """Run everything, two at a time, ending in random order."""
    chance, running, handed = random.Random(0), [], []
    while True:
        while len(running) < 2 and (trial := queue.next_trial()) is not None:
            running.append(trial)
            handed.append(trial)
        if not running:
            return handed
        queue.on_trial_end(ran(running.pop(chance.randrange(len(running)))))


def test_every_trial_of_the_plan_once_and_in_its_order() -> None:
    whole = plan_of(**FEW, seeds=[0, 1])
    queue = DesignQueue(whole, score, {})
    assert queue.remaining == 48
    handed = drain(queue)
    assert [trial.key for trial in handed] == [trial.key for trial in whole.trials]
    assert queue.remaining == 0 and queue.next_trial() is None


def test_what_the_ledger_has_is_not_handed_out_and_half_done_designs_come_first() -> None:
    whole = plan_of(**FEW, seeds=[0, 1])
    done = [*whole.trials[:4], whole.trials[20]]  # two designs, and half of a third
    queue = DesignQueue(whole, score, {trial.key: ran(trial) for trial in done})
    assert queue.remaining == 43
    handed = drain(queue)
    assert handed[0].design == whole.trials[20].design
    assert {trial.key for trial in handed} == {trial.key for trial in whole.trials} - {trial.key for trial in done}


def test_failed_trials_come_again_and_pruned_ones_do_not() -> None:
    whole = plan_of(**FEW)
    first, second, third = whole.trials[:3]
    results = {first.key: ran(first, "failed"), second.key: ran(second, "pruned"), third.key: ran(third)}
    handed = [trial.key for trial in drain(DesignQueue(whole, score, results))]
    assert handed[0] == first.key
    assert second.key not in handed and third.key not in handed
    assert len(handed) == 22


def test_results_of_other_sweeps_in_the_ledger_do_not_count() -> None:
    whole = plan_of(**FEW)
    stranger = replace(whole.trials[0], seed=77)
    assert DesignQueue(whole, score, {stranger.key: ran(stranger)}).remaining == 24


def test_optuna_goes_on_with_its_budget_where_it_stopped() -> None:
    search = {"method": "optuna", "n_trials": 10}
    whole = plan_of(seeds=[0, 1], search=search)
    handed = drain(DesignQueue(whole, score, {}))
    assert len({trial.design for trial in handed}) == 10 and len(handed) == 20
    results = {trial.key: ran(trial) for trial in handed[:9]}
    rest = drain(DesignQueue(whole, score, results))
    assert len(rest) == 11 and rest[0].key == handed[9].key
    assert len({trial.design for trial in [*handed[:9], *rest]}) == 10
    assert DesignQueue(whole, score, {trial.key: ran(trial) for trial in handed}).next_trial() is None


def test_the_method_learns_the_mean_over_seeds_when_all_have_ended() -> None:
    whole = plan_of(seeds=[0, 1], search={"method": "optuna", "n_trials": 3})
    queue = DesignQueue(whole, score, {})
    observed: list[tuple[Any, float | None]] = []
    (state,) = queue._states
    state.searcher.observe = lambda design, value: observed.append((design, value))  # type: ignore[method-assign]
    one, other = queue.next_trial(), queue.next_trial()
    assert one and other and one.design == other.design
    queue.on_trial_end(ran(other))
    assert observed == []
    queue.on_trial_end(ran(one))
    ((design, value),) = observed
    assert value is not None and design == one.design
    assert abs(value - (planted(design, 0) + planted(design, 1)) / 2) < 1e-12
    third, fourth = queue.next_trial(), queue.next_trial()
    assert third and fourth
    queue.on_trial_end(ran(third, "failed"))
    queue.on_trial_end(ran(fourth))
    assert observed[1] == (third.design, planted(fourth.design, fourth.seed)), "failed trials are left out of the mean"


def test_one_model_after_another_and_each_task_has_a_search_of_its_own() -> None:
    whole = plan_of(
        task=["masa:d1", "masa:d2"], model=["a", "b"], search={"method": "optuna", "n_trials": 2}, train_sizes=[20, 40]
    )
    handed = drain(DesignQueue(whole, score, {}))
    assert len(handed) == 2 * 2 * 2 * 2
    assert [trial.model for trial in handed] == ["a"] * 8 + ["b"] * 8
    assert {(trial.task, trial.model) for trial in handed} == {(t, m) for t in ("masa:d1", "masa:d2") for m in "ab"}


def test_one_at_a_time_starts_with_the_baseline() -> None:
    first = DesignQueue(plan_of(search={"method": "one_at_a_time"}), score, {}).next_trial()
    assert first and first.design == make_design()


def test_trials_on_their_way_come_first_whatever_the_method_would_propose() -> None:
    for method in ("grid", "optuna", "random"):
        budget = {} if method == "grid" else {"n_trials": 20}
        whole = plan_of(**FEW, seeds=[0, 1], search={"method": method, **budget})
        ended, going = whole.trials[0], next(trial for trial in whole.trials[30:] if trial.seed == 1)
        marks = {trial.key: Checkpoint(trial.key, ()) for trial in (ended, going)}
        queue = DesignQueue(whole, score, {ended.key: ran(ended)}, marks)
        assert set(queue.in_flight) == {going.key}
        handed = drain(queue)
        assert going.key in [trial.key for trial in handed[:3]], "before any design that is new"
        own = [trial for trial in handed if trial.design == going.design]
        assert [trial.seed for trial in own] == [1, 0]
        assert len({trial.key for trial in handed}) == len(handed)
