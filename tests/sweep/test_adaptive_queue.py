"""A sweep by `adaptive`, without Ray: what is handed out, what a ledger is worth, and what is refused."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sde_ray.cli.views.plan import summary, to_dict
from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.sweep.adaptive_queue import AdaptiveQueue, make_trial_queue
from sde_ray.sweep.plan import Plan, plan
from sde_ray.sweep.queue import DesignQueue
from sde_ray.sweep.resume import check_same_tasks, match_finished, trained_share, trial_cost
from sde_ray.testing.planted import BEST, planted
from sde_ray.training.checkpoint import Checkpoint
from sde_ray.types import RungResult, TrialResult

BASE: dict[str, Any] = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20, "seeds": [0, 1]}
RUNGS = [0.25, 0.5, 1.0]
FEW: dict[str, Any] = {"axes": {"format": ["natural", "lines"], "reasoning": "none", "labels": "text"}}


def made(**values: Any) -> Plan:
    search = {"rungs": RUNGS, "n_trials": 12, "confidence": 1.0}
    return plan(check({**BASE, **values, "search": {**search, **values.get("search", {})}}))


def score(result: TrialResult) -> float | None:
    value = result.scores.get("dev", {}).get("weighted_kappa")
    return value if value is not None and math.isfinite(value) else None


def worth(trial: TrialConfig, rung: int) -> float:
    return planted(trial.design, trial.seed) * (0.5 + 0.5 * trial.rungs[rung])


def result_of(trial: TrialConfig, last: int, status: str = "") -> TrialResult:
    rungs = tuple(RungResult(n, 10, {"dev": {"weighted_kappa": worth(trial, n)}}) for n in range(last + 1))
    status = status or ("finished" if last + 1 == len(trial.rungs) else "pruned")
    return TrialResult(trial.key, trial.resolved(), status, rungs[-1].scores, rungs=rungs)  # type: ignore[arg-type]


def drain(queue: AdaptiveQueue, at_once: int = 2, limit: int = 10**6) -> list[TrialResult]:
    """Run everything, several at a time, each rung of a random trial in turn."""
    chance = random.Random(0)
    running: list[tuple[TrialConfig, int]] = []
    ended: list[TrialResult] = []
    while True:
        while (
            len(running) < at_once and len(ended) + len(running) < limit and (trial := queue.next_trial()) is not None
        ):
            running.append((trial, 0))
        if not running:
            return ended
        trial, rung = running.pop(chance.randrange(len(running)))
        if rung + 1 < len(trial.rungs) and queue.should_continue(trial, rung, worth(trial, rung)):
            running.append((trial, rung + 1))
        else:
            ended.append(result_of(trial, rung))
            queue.on_trial_end(ended[-1])


def asked(
    whole: Plan, results: dict[str, TrialResult] | None = None, marks: dict[str, Checkpoint] | None = None
) -> AdaptiveQueue:
    queue = make_trial_queue(whole, score, results or {}, marks or {})
    assert isinstance(queue, AdaptiveQueue)
    return queue


def test_it_finds_the_planted_best_within_its_budget() -> None:
    queue = asked(made())
    ended = drain(queue)
    assert sum(map(trained_share, ended)) <= 12
    assert queue.remaining == 0 and not queue.blocked and queue.next_trial() is None
    assert queue.recommend() == {("masa:d1", "tiny", 40): BEST}
    assert len(ended) > 12 and any(result.status == "pruned" for result in ended)
    assert BEST.options == tuple(max((r for r in ended if r.status == "finished"), key=score).config["design"].items())  # type: ignore[arg-type,return-value]


def test_other_methods_have_the_agenda_of_designs() -> None:
    assert isinstance(make_trial_queue(made(search={"method": "random"}), score, {}), DesignQueue)


def test_a_resumed_sweep_counts_what_it_has_and_goes_on() -> None:
    whole = made(seeds=[0, 1, 2])
    first = drain(asked(whole), limit=15)
    results = {result.key: result for result in first}
    queue = asked(whole, results)
    assert {result.key for result in queue.earlier} == set(results)
    rest = drain(queue)
    best: dict[str, float] = {}
    for result in [*first, *rest]:
        best[result.key] = max(best.get(result.key, 0), trained_share(result))
    assert sum(map(trained_share, first)) + sum(map(trained_share, rest)) <= 12
    assert queue.recommend() == {("masa:d1", "tiny", 40): BEST}
    ended = {result.key: result for result in [*first, *rest]}
    twice = sum(map(trained_share, [*first, *rest])) - sum(best.values())  # by trials that ran again, to get further
    assert asked(whole, ended).remaining <= twice, "the same command again runs nothing"


def test_finished_trials_of_a_grid_without_rungs_count() -> None:
    grid = made(search={"method": "grid", "n_trials": None, "rungs": [1.0]})
    results = {trial.key: result_of(trial, 0) for trial in grid.trials[:80:2]}
    whole = made(search={"n_trials": 50})
    assert not set(results) & {trial.key for trial in whole.trials}, "rungs are part of a key"
    queue = asked(whole, results)
    assert len(queue.earlier) == 40 and queue.remaining == pytest.approx(10)
    drain(queue)
    assert queue.recommend() == {("masa:d1", "tiny", 40): BEST}
    finished = match_finished(whole.trials, results)
    assert set(finished) <= {trial.key for trial in whole.trials}
    back = match_finished(grid.trials, {r.key: r for r in drain(asked(made()))})
    assert back and all(result.status == "finished" for result in back.values()), "a grid wants whole trainings"


def test_a_failed_trial_of_an_earlier_run_is_no_result() -> None:
    whole = made()
    failed = TrialResult(whole.trials[0].key, whole.trials[0].resolved(), "failed", error="x")
    queue = asked(whole, {failed.key: failed})
    assert queue.earlier == () and queue.remaining == 12


def test_several_tasks_models_and_sizes_are_contests_one_model_after_another() -> None:
    whole = made(**FEW, task=["masa:d1", "masa:d2"], model=["a", "b"], train_sizes=[20, 40], search={"n_trials": 6})
    assert whole.count == 6 * 2 * 2 * 2
    queue = asked(whole)
    ended = drain(queue, at_once=1)
    models = [result.config["model"] for result in ended]
    assert len(queue.recommend()) == 8 and set(queue.recommend().values()) == {BEST}
    assert models == sorted(models) and sum(map(trained_share, ended)) <= whole.count


def test_while_trials_run_an_empty_hand_may_fill_again() -> None:
    queue = asked(made(search={"n_trials": 6}))
    held = []
    while (trial := queue.next_trial()) is not None:
        held.append(trial)
    assert held and queue.blocked, "what runs may stop early and leave budget"
    for trial in held:
        queue.on_trial_end(result_of(trial, 0))
    assert not queue.blocked or queue.next_trial() is None


def test_scores_that_are_not_finite_teach_nothing() -> None:
    queue = asked(made(search={"rungs": [1.0]}))
    trial = queue.next_trial()
    assert trial is not None
    queue.on_trial_end(TrialResult(trial.key, trial.resolved(), "finished", {"dev": {"weighted_kappa": math.nan}}))
    drain(queue)
    assert queue.recommend() == {("masa:d1", "tiny", 40): BEST}


def test_the_plan_says_the_budget_and_the_screening() -> None:
    whole = made()
    assert whole.count == 12 and len(whole.trials) == 432 and whole.counts["designs"] == 216
    said = " ".join(summary(whole))
    assert "12 full trials' worth by adaptive, of 216 designs × 2 seeds" in said
    assert "screening: 6 designs, a D-optimal fraction, each up to 0.25 of its training (1.5 full trials)" in said
    assert to_dict(whole)["search"] == whole.search
    assert made(search={"method": "random"}).search == ""
    assert "one seed: none repeats" in made(seeds=0).search


def test_without_a_number_it_takes_a_tenth_of_the_designs() -> None:
    assert made(search={"n_trials": None, "rungs": [1.0]}).count == 22
    assert made(**FEW, search={"n_trials": None, "rungs": [1.0]}).count == 14, "two trials an effect, and two more"
    assert made(designs=["baseline", "es-sde"], seeds=0, search={"n_trials": None}).count == 2


def test_rungs_are_for_long_trainings_unless_they_are_asked_for() -> None:
    def rungs(**values: Any) -> tuple[float, ...]:
        return check({**BASE, **values}).rungs()

    assert rungs() == (1.0,)
    assert rungs(train_sizes=1600) == (0.25, 0.5, 1.0)
    assert rungs(train_sizes=[40, 1600]) == (1.0,)
    assert rungs(train_sizes=1600, search={"method": "random"}) == (1.0,)
    assert rungs(search={"method": "random", "rungs": [0.5, 1.0]}) == (0.5, 1.0)
    assert {trial.rungs for trial in made().trials} == {(0.25, 0.5, 1.0)}


def test_a_budget_that_is_too_small_is_refused_with_what_it_would_take() -> None:
    with pytest.raises(UserError, match="search.n_trials is 3, but adaptive takes at least 4: 10 trials up to the"):
        made(search={"n_trials": 3})
    with pytest.raises(UserError, match="11: 10 trials to tell the options apart, .* Set search.n_trials: 11 or more"):
        made(search={"n_trials": 8, "rungs": [1.0]})
    assert made(search={"n_trials": 4}).count == 4


def test_the_cost_of_a_trial_is_the_share_of_its_training() -> None:
    whole = made()
    trial = whole.trials[0]
    assert [trial_cost(whole.config, result_of(trial, rung)) for rung in range(3)] == [0.25, 0.5, 1.0]
    assert trial_cost(made(search={"method": "random"}).config, result_of(trial, 0)) == 1.0
    failed = TrialResult(trial.key, trial.resolved(), "failed")
    assert trial_cost(whole.config, failed) == 1.0


def test_a_ledger_of_another_task_or_metric_is_refused(tmp_path: Path) -> None:
    whole = made(storage_path=str(tmp_path))
    trial = whole.trials[0]
    check_same_tasks(whole.config, {})
    check_same_tasks(whole.config, {trial.key: result_of(trial, 2)})
    stranger = replace(trial, task="masa:d2")
    with pytest.raises(UserError, match="holds 1 trials of masa:d2, none of masa:d1. Give this sweep another name"):
        check_same_tasks(whole.config, {stranger.key: result_of(stranger, 2)})
    other = replace(result_of(trial, 2), scores={"dev": {"f1": 0.5}})
    with pytest.raises(UserError, match="has the metric weighted_kappa on dev; they have f1. Set objective.metric"):
        check_same_tasks(whole.config, {trial.key: other})


def test_a_trial_on_its_way_is_handed_out_first_and_its_decisions_stand() -> None:
    """Killed after so many decisions; the rest is that of an undisturbed run, one trial at a time."""
    whole = made(search={"confidence": 1.0})
    undisturbed = drain(asked(whole), at_once=1)
    place, further = next((n, r) for n, r in enumerate(undisturbed) if n > 10 and len(r.rungs) == 3)
    before = {result.key: result for result in undisturbed[:place]}
    trial = next(trial for trial in whole.trials if trial.key == further.key)
    for promoted in (False, True):
        queue = asked(whole, before, {trial.key: Checkpoint(trial.key, further.rungs[:2], promoted=promoted)})
        assert queue.remaining > 0 and set(queue.in_flight) == {trial.key}
        assert queue.next_trial() == trial
        assert queue.blocked and queue.search.running
        assert queue.should_continue(trial, 0, worth(trial, 0)), "it has passed here"
        assert queue.should_continue(trial, 1, worth(trial, 1)) or not promoted, "what was decided is not asked again"
        queue.on_trial_end(further)
        rest = drain(queue, at_once=1)
        assert sum(map(trained_share, [*before.values(), further, *rest])) <= 12
        assert queue.recommend() == {("masa:d1", "tiny", 40): BEST}


def test_a_trial_on_its_way_is_asked_about_where_it_was_not_decided() -> None:
    whole = made()
    undisturbed = drain(asked(whole), at_once=1)
    place, stopped = next((n, r) for n, r in enumerate(undisturbed) if n > 15 and r.status == "pruned")
    trial = next(trial for trial in whole.trials if trial.key == stopped.key)
    before = {result.key: result for result in undisturbed[:place]}
    last = len(stopped.rungs) - 1
    queue = asked(whole, before, {trial.key: Checkpoint(trial.key, stopped.rungs)})
    assert queue.next_trial() == trial
    assert not queue.should_continue(trial, last, worth(trial, last)), "killed before it was told: it is stopped now"


def test_a_finished_trial_is_not_on_its_way() -> None:
    whole = made()
    done = result_of(whole.trials[0], 2)
    queue = asked(whole, {done.key: done}, {done.key: Checkpoint(done.key, done.rungs[:1])})
    assert queue.in_flight == {} and queue.next_trial() != whole.trials[0]
