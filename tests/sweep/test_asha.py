"""Pruning: Ray's milestones are the configuration's rungs, and only comparable trials compete."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from sde_ray.config.schema import Asha
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.sweep.tune_search import (
    BUDGET_KEY,
    PROMOTED_KEY,
    RUNG_KEY,
    SCORE_KEY,
    CallbackScheduler,
    GroupedASHAScheduler,
    QueueSearcher,
    budget,
)

TRIAL = TrialConfig("masa:d1", make_design(), "tiny", seed=0, train_size=40, eval_size=20)


def decide(scheduler: GroupedASHAScheduler, trial: TrialConfig, *scores: float) -> list[str]:
    """What the scheduler says after each rung of a trial."""
    stand_in = SimpleNamespace(trial_id=trial.key, config={"trial": trial})
    scheduler.on_trial_add(None, stand_in)
    reports: list[dict[str, Any]] = [
        {BUDGET_KEY: budget(scheduler._asha, rung), SCORE_KEY: score} for rung, score in enumerate(scores)
    ]
    return [scheduler.on_trial_result(None, stand_in, report) for report in reports]


def seeded(seed: int, **values: Any) -> TrialConfig:
    return replace(TRIAL, seed=seed, **values)


@pytest.mark.parametrize("factor", [1.5, 2.0, 3.0, 4.0])
def test_a_trial_may_be_stopped_at_every_rung(factor: float) -> None:
    asha = Asha(rungs=(0.1, 0.2, 0.4, 0.8, 1.0), reduction_factor=factor)
    for weak_at in range(4):
        scheduler = GroupedASHAScheduler(asha)
        for seed in range(4):
            assert set(decide(scheduler, seeded(seed), 0.5, 0.5, 0.5, 0.5)) == {"CONTINUE"}
        scores = [0.6] * weak_at + [0.1]
        assert decide(scheduler, seeded(9), *scores) == ["CONTINUE"] * weak_at + ["STOP"]


def test_other_tasks_models_and_sizes_do_not_compete() -> None:
    scheduler = GroupedASHAScheduler(Asha())
    for seed in range(4):
        decide(scheduler, seeded(seed), 0.9)
    assert decide(scheduler, seeded(7), 0.1) == ["STOP"]
    for other in (seeded(7, task="masa:d2"), seeded(7, model="large"), seeded(7, train_size=80)):
        assert decide(scheduler, other, 0.1) == ["CONTINUE"]


def test_trials_of_an_earlier_run_compete() -> None:
    earlier = [(seeded(seed), [0.5, 0.9]) for seed in range(4)]
    assert decide(GroupedASHAScheduler(Asha(), earlier), seeded(8), 0.6, 0.6) == ["CONTINUE", "STOP"]
    assert decide(GroupedASHAScheduler(Asha()), seeded(8), 0.6, 0.6) == ["CONTINUE", "CONTINUE"]


def test_a_trial_without_a_score_is_not_counted() -> None:
    scheduler = GroupedASHAScheduler(Asha())
    stand_in = SimpleNamespace(trial_id="x", config={"trial": TRIAL})
    scheduler.on_trial_add(None, stand_in)
    scheduler.on_trial_complete(None, stand_in, {BUDGET_KEY: 1.0, "done": True})
    assert decide(scheduler, seeded(1), 0.1) == ["CONTINUE"]


def test_a_search_that_decides_itself_is_asked_at_every_rung() -> None:
    asked: list[tuple[str, int, float | None]] = []

    def go_on(trial: TrialConfig, rung: int, score: float | None) -> bool:
        asked.append((trial.key, rung, score))
        return rung == 0

    scheduler = CallbackScheduler(go_on)
    stand_in = SimpleNamespace(trial_id="x", config={"trial": TRIAL})
    scheduler.on_trial_add(None, stand_in)
    assert scheduler.on_trial_result(None, stand_in, {RUNG_KEY: 0, SCORE_KEY: 0.4}) == "CONTINUE"
    assert scheduler.on_trial_result(None, stand_in, {RUNG_KEY: 1}) == "STOP"
    assert asked == [(TRIAL.key, 0, 0.4), (TRIAL.key, 1, None)]


def test_a_searcher_without_a_trial_now_is_asked_again_while_others_run() -> None:
    waiting = [True, False]
    searcher = QueueSearcher(lambda: None, lambda: waiting.pop(0), lambda trial: {})
    assert searcher.suggest("x") is None
    assert searcher.suggest("x") == QueueSearcher.FINISHED


def test_a_trial_that_was_let_pass_before_is_let_pass_again_and_still_competes() -> None:
    """Trials that have ended since would stop it now; in an undisturbed run it would not have met them."""
    scheduler = GroupedASHAScheduler(Asha(), [(seeded(seed), [0.9]) for seed in range(4)])
    stand_in = SimpleNamespace(trial_id="x", config={"trial": seeded(9)})
    scheduler.on_trial_add(None, stand_in)
    assert (
        scheduler.on_trial_result(None, stand_in, {BUDGET_KEY: 1.0, SCORE_KEY: 0.1, PROMOTED_KEY: True}) == "CONTINUE"
    )
    assert (
        scheduler.on_trial_result(None, stand_in, {BUDGET_KEY: 2.0, SCORE_KEY: 0.95, PROMOTED_KEY: False}) == "CONTINUE"
    )
    recorded = scheduler._bracket(TRIAL)._brackets[0]._rungs[-1][1]
    assert recorded["x"] == 0.1 and len(recorded) == 5
    stubborn = CallbackScheduler(lambda trial, rung, score: False)
    assert stubborn.on_trial_result(None, stand_in, {RUNG_KEY: 0, SCORE_KEY: 0.1, PROMOTED_KEY: True}) == "CONTINUE"
