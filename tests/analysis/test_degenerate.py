"""Results that cannot tell designs apart: they say so, and the default of every axis is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.planted import ALL, additive, one_at_a_time, result, results

from sde_ray.analysis.degenerate import degenerate_gold, degenerate_scores
from sde_ray.analysis.strategy import assemble, load, save
from sde_ray.config.constraints import Constraints
from sde_ray.design.designs import make_design
from sde_ray.tasks import get_task
from sde_ray.types import Design, Example

METRIC = "weighted_kappa"
KAPPA, SHARE, ERROR = (-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0)


@pytest.mark.parametrize(
    ("scores", "bounds", "said"),
    [
        ([0.0, 0.0], KAPPA, "Every score is 0: nothing was learned. Raise train.num_train_epochs"),
        ([0.0], SHARE, "Every score is 0"),
        ([-0.02, 0.0, -0.1], KAPPA, "is 0 or below, as by chance: nothing was learned"),
        ([1.0, 1.0, 1.0], KAPPA, "Every trial has the same score, 1.000. These items cannot tell designs apart"),
        ([0.5, 0.5], None, "Every trial has the same score, 0.500"),
        ([0.996, 0.999, 1.0], SHARE, "at the ceiling, 0.996 to 1.000 of at most 1"),
        ([-0.3, -0.1], ERROR, ""),  # an error with a minus: 0 is perfect
        ([0.0, 0.0], ERROR, "Every trial has the same score, 0.000"),
        ([0.0, 0.3], KAPPA, ""),
        ([0.7], KAPPA, ""),
        ([], KAPPA, ""),
    ],
)
def test_scores_that_tell_nothing(scores: list[float], bounds: tuple[float, float] | None, said: str) -> None:
    reason = degenerate_scores(scores, bounds)
    assert said in reason and bool(said) == bool(reason)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_alike_scores_keep_every_default(level: float, tmp_path: Path) -> None:
    trials = results(one_at_a_time(), lambda design: level)
    strategy = assemble(trials, METRIC)
    assert strategy.design == make_design() and strategy.warning
    assert "kept, as these scores cannot tell options apart" in strategy.reasons["format"]
    save(strategy, tmp_path / "strategy.yaml")
    assert load(tmp_path / "strategy.yaml") == strategy


def test_the_search_cannot_recommend_what_no_score_tells() -> None:
    other = make_design(unmentioned="omit")
    strategy = assemble(results([make_design(), other], lambda d: 0.0), METRIC, recommended=[(other, 0.0)])
    assert strategy.design == make_design() and strategy.warning.startswith("Every score is 0")


def test_a_constraint_on_the_default_still_holds() -> None:
    designs = [make_design(), make_design(unmentioned="omit")]
    trials = [result(d, 0.0, tokens=50.0 if d["unmentioned"] == "placeholder" else 10.0) for d in designs]
    strategy = assemble(trials, METRIC, constraints=Constraints(max_output_tokens=20))
    assert strategy.design == designs[1] and strategy.warning


def test_gold_of_one_label_is_told_and_keeps_the_defaults() -> None:
    task = get_task("masa:d1")
    same = [Example(str(n), f"text {n}", {"food": ("positive",)}) for n in range(5)]
    reason = degenerate_gold(replace(task, load=lambda split: same))
    assert reason.startswith("Every dev item has the same answer (food: positive)")
    assert degenerate_gold(task) == ""
    unmentioned = [Example(str(n), f"text {n}", {}) for n in range(5)]
    assert "(unmentioned)" in degenerate_gold(replace(task, load=lambda split: unmentioned))
    trials = results(ALL, noise=0.01)
    assert assemble(trials, METRIC).design != make_design()
    assert assemble(trials, METRIC, warning=reason).design == make_design()


def test_a_losing_option_that_a_constraint_forces_says_so() -> None:
    def worth(design: Design) -> float:
        return additive(design) - (0.3 if design["unmentioned"] == "omit" else 0.0)

    trials = [
        result(design, worth(design), seed, tokens=10.0 if design["unmentioned"] == "omit" else 40.0)
        for design in one_at_a_time()
        for seed in (0, 1)
    ]
    strategy = assemble(trials, METRIC, constraints=Constraints(max_output_tokens=20))
    reason = strategy.reasons["unmentioned"]
    assert reason.startswith("omit: the constraint forces it, as with placeholder 4") and reason.endswith(": a loss")
    assert "output tokens are above 20. It brings -0.2" in reason


@pytest.mark.parametrize(("gain", "kept"), [(0.03, True), (0.2, False)])
def test_a_gain_that_may_be_another_options_leaves_the_default(gain: float, kept: bool) -> None:
    """Numbers and reasons always come together: no trial tells whose the gain is, so neither has an interval.

    They leave the default together, where what they bring together is clear.
    """
    both = {"labels": "number", "reasoning": "rcot"}
    designs = [make_design(), make_design(**both), make_design(format="lines"), make_design(format="lines", **both)]
    noise = (0.0, 0.04, -0.03, 0.02, -0.05, 0.01, 0.03, -0.02, 0.05, -0.01, -0.04, 0.0)
    trials = [
        result(design, 0.5 + (gain if design["labels"] == "number" else 0.0) + noise[3 * n + seed], seed)
        for n, design in enumerate(designs)
        for seed in (0, 1, 2)
    ]
    strategy = assemble(trials, METRIC)
    effects = {effect.option: effect for effect in strategy.effects}
    assert effects["lines"].low is not None and effects["rcot"].low is None, "the case shows nothing"
    assert strategy.design == (make_design() if kept else make_design(**both))
