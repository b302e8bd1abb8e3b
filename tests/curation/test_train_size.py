"""`train_size` as an axis: sizes in one study, of which the least that shows its gain is chosen, like for like."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.plans import plan_of

from sde_ray.analysis.effects import estimate_effects, estimate_interactions, group_results
from sde_ray.analysis.strategy import Strategy, assemble, strategy_table
from sde_ray.analysis.strategy import load as load_strategy
from sde_ray.analysis.strategy import save as save_strategy
from sde_ray.analysis.study import studies
from sde_ray.analysis.validation import judge_validation
from sde_ray.analysis.verdict import Verdict, load, save, verdict_table
from sde_ray.cli.views.plan import summary
from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.data import draw
from sde_ray.design.axes import AXES, find_axis
from sde_ray.design.designs import make_design, paper_label, parse_design
from sde_ray.design.render import parse_completion, prompt_of, render_sample
from sde_ray.errors import UserError
from sde_ray.models.predictor import read_card, write_card
from sde_ray.pipeline.validation_trials import repeated_trials, validation_trials
from sde_ray.sweep.adaptive_queue import AdaptiveQueue, make_trial_queue
from sde_ray.sweep.cost_estimate import mean_seconds
from sde_ray.sweep.plan import Plan
from sde_ray.tasks import get_task
from sde_ray.types import TrialResult

STILL = {axis: "none" if axis == "reasoning" else row.default for axis, row in AXES.items()}
SIZES = {**STILL, "format": ["natural", "lines"], "train_size": [960, 60, "all", 240]}
Worth = Callable[[TrialConfig], float]


def score_of(result: TrialResult) -> float | None:
    return result.scores["dev"]["weighted_kappa"]


def ended(plan: Plan, worth: Worth, noise: float = 0.004) -> list[TrialResult]:
    return [played(trial, worth, "dev", noise) for trial in plan.trials]


def played(trial: TrialConfig, worth: Worth, split: str, noise: float = 0.004) -> TrialResult:
    score = worth(trial) + random.Random(trial.key).gauss(0, noise)
    scores = {split: {"weighted_kappa": score, "format_adherence": 1.0}}
    return TrialResult(trial.key, trial.resolved(), "finished", scores, tokens={"output": 20.0})


def grows(trial: TrialConfig) -> float:
    """Up to 240 samples more is better, beyond it is not; `lines` is ahead by 0.1 from 240 on only."""
    return 0.4 + 0.2 * (trial.train_size >= 240) * (1 + 0.5 * (trial.design["format"] == "lines"))


# ---- plan ------------------------------------------------------------------------------------------------------------


def test_sizes_are_options_of_one_contest_and_all_is_what_the_task_has() -> None:
    made = plan_of(axes=SIZES, seeds=[0, 1])
    (contest,) = made.contests
    assert find_axis("train_size").ordered(contest.axes["train_size"]) == ["60", "240", "960", "2000"]
    assert {(one.design["train_size"], one.train_size) for one in made.trials} == {
        (str(size), size) for size in (60, 240, 960, 2000)
    }
    assert made.count == len(made.trials) == 2 * 4 * 2
    lines = "\n".join(summary(made))
    assert "train_size, data: 60, 240, 960, 2000; the largest trains on 33.3 times the samples" in lines
    assert find_axis("train_size").ordered(["all", "960", "60"]) == ["60", "960", "all"]
    assert paper_label(make_design(train_size=960)).endswith("No-CoT, 960 samples")


def test_a_larger_set_holds_the_smaller_ones() -> None:
    train = get_task("masa:d1").load("train")
    assert draw(train, 240, 1)[:60] == draw(train, 60, 1)


def test_the_cost_grows_with_the_size() -> None:
    small, large = (plan_of(axes={**SIZES, "train_size": sizes}) for sizes in ([60, 240], [60, 960]))
    ratio = large.estimate.train_characters / small.estimate.train_characters
    assert ratio == pytest.approx((60 + 960) / (60 + 240), rel=0.01)


def test_time_is_told_by_the_sizes_that_are_left() -> None:
    """A line through what was measured: two seconds and a tenth for each sample."""
    assert mean_seconds([(60, 8.0), (240, 26.0), (60, 8.0)], [960]) == pytest.approx(98.0)
    assert mean_seconds([(60, 8.0), (60, 10.0)], [60, 960]) == 9.0, "of one size nothing is known of others"


def test_plain_trials_are_those_of_before() -> None:
    plain = plan_of(axes={**STILL, "format": ["natural", "lines"]})
    assert all("train_size" not in dict(one.design.options) and one.train_size == 40 for one in plain.trials)
    listed = plan_of(designs=["baseline", "format=lines"])
    assert {one.key for one in plain.trials} == {one.key for one in listed.trials}


def test_listed_designs_may_have_it() -> None:
    made = plan_of(designs=["baseline", "train_size=240", "train_size=all"], train_sizes=60)
    assert sorted(one.train_size for one in made.trials) == [60, 240, 2000]
    assert len(group_results(ended(made, grows))) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"axes": {**SIZES, "train_size": [60, 5000]}}, "axes.train_size has 5000, but the train split has 2000"),
        ({"axes": {**SIZES, "train_size": [60, 0]}}, '"0" is no option of train_size. Expected a whole number of 1'),
        ({"axes": {**SIZES, "train_size": 60}}, "axes.train_size has one value, so nothing is compared. Set train_siz"),
        ({"axes": {**SIZES, "train_size": ["configured", 60]}}, "configured is what train_sizes says"),
        ({"axes": SIZES, "train_sizes": [60, 240]}, "train_sizes lists 60, 240, each a study of its own"),
        ({"axes": {**SIZES, "repeat": [1, 100]}}, "repeat=100 of 60 samples leaves less than one"),
    ],
)
def test_what_cannot_be_is_refused_by_the_plan(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        plan_of(**values)
    assert message in str(error.value)


# ---- effects and strategy --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results() -> list[TrialResult]:
    return ended(plan_of(axes=SIZES, seeds=[0, 1, 2]), grows)


def test_sizes_have_effects_and_interact_with_designs(results: list[TrialResult]) -> None:
    effects = {one.option: one for one in estimate_effects(results, "weighted_kappa") if one.axis == "train_size"}
    assert list(effects) == ["240", "960", "2000"] and {one.reference for one in effects.values()} == {"60"}
    assert all(one.low is not None and one.low > 0.2 for one in effects.values())
    pairs = {one.options: one for one in estimate_interactions(results, "weighted_kappa")}
    assert pairs["lines", "240"].clear and pairs["lines", "240"].difference == pytest.approx(0.1, abs=0.02)


def test_the_least_size_that_shows_its_gain_is_chosen(results: list[TrialResult]) -> None:
    strategy = assemble(results, "weighted_kappa")
    assert strategy.design["train_size"] == "240" and strategy.design["format"] == "lines"
    assert strategy.reasons["train_size"].startswith("240: +0.3")
    flat = assemble(ended(plan_of(axes=SIZES, seeds=[0, 1, 2]), lambda trial: 0.5), "weighted_kappa")
    assert flat.design["train_size"] == "60", "no gain is shown: the fewest labels"


def test_one_study_holds_all_sizes(results: list[TrialResult]) -> None:
    (study,) = studies(check({"name": "x", "task": "masa:d1", "axes": SIZES}), results)
    assert str(study.group).endswith("tiny, several training sizes")
    assert study.best_vs_baseline is not None, "each against the baseline with as many samples"
    assert study.best_vs_baseline.baseline["train_size"] == study.best_vs_baseline.design["train_size"]


def test_the_search_itself_may_choose_a_size() -> None:
    search = {"method": "adaptive", "n_trials": 14, "confidence": 1.0}
    queue = make_trial_queue(plan_of(axes=SIZES, seeds=[0, 1], search=search), score_of, {})
    assert isinstance(queue, AdaptiveQueue)
    while (trial := queue.next_trial()) is not None:
        queue.on_trial_end(played(trial, grows, "dev"))
    ((design, _), *_) = queue.recommendation(("masa:d1", "tiny", 0))
    assert design["format"] == "lines" and int(design["train_size"]) >= 240


def test_strategy_and_adapter_name_data_and_training_axes(tmp_path: Path) -> None:
    """They say what the adapter has learned from; how it is asked and read is the samples' form alone."""
    task, form = get_task("masa:d1"), make_design(format="lines")
    design = make_design(format="lines", train_size=240, repeat=4, mix=0.25, learning_rate=0.006)
    write_card(tmp_path, TrialConfig("masa:d1", design, "tiny", 0, 240, 20), 8)
    named = parse_design(read_card(tmp_path).design)
    assert named == design
    example = task.load("train")[0]
    assert prompt_of(example.text, task, named) == prompt_of(example.text, task, form)
    completion = render_sample(example, task, form).completion.text
    assert parse_completion(completion, task, named) == parse_completion(completion, task, form)
    strategy = Strategy("masa:d1", "tiny", design, "x", "weighted_kappa", 0.5)
    save_strategy(strategy, tmp_path / "strategy.yaml")
    assert load_strategy(tmp_path / "strategy.yaml").design == design
    labels = {row["axis"]: row["label"] for row in strategy_table(strategy)}
    assert (labels["train_size"], labels["repeat"], labels["mix"]) == ("240 samples", "4 epochs of 1/4", "25% mixed in")


# ---- final comparison ------------------------------------------------------------------------------------------------


def judged(strategy: Strategy, results: list[TrialResult], worth: Worth, **validation: Any) -> Verdict:
    values = {"name": "x", "task": "masa:d1", "axes": SIZES, "seeds": [0, 1, 2], "validation": validation}
    config = check({**values, "train": {"learning_rate": 0.001}})
    trials = validation_trials(strategy, config, results)
    repeated = repeated_trials(strategy, config, trials)
    groups = [trials, *repeated.values()]
    every = {one.key: played(one, worth, "test") for group in groups for own in group.values() for one in own}
    return judge_validation(strategy, trials, every, repeated=repeated)


def test_controls_have_as_many_samples_as_the_assembled_design(results: list[TrialResult]) -> None:
    """Else "better than the baseline" would say that more labels help."""
    strategy = assemble(results, "weighted_kappa")
    config = check({"name": "x", "task": "masa:d1", "axes": SIZES, "seeds": [0, 1, 2]})
    trials = validation_trials(strategy, config, results)
    assert {trial.train_size for own in trials.values() for trial in own} == {240}
    assert trials["assembled"][0].design["train_size"] == "240"
    (row,) = [one for one in judged(strategy, results, grows).overall() if one.control == "baseline"]
    assert row.paired is not None and row.paired.difference == pytest.approx(0.1, abs=0.02)
    listed = check({"name": "x", "task": "masa:d1", "axes": SIZES, "validation": {"train_sizes": [60, 100]}})
    trials = validation_trials(strategy, listed, results)
    assert {trial.train_size for own in trials.values() for trial in own} == {60, 100}


def test_the_verdict_is_repeated_at_each_value_of_a_nuisance_axis(tmp_path: Path) -> None:
    def reversing(trial: TrialConfig) -> float:
        return 0.5 + 0.1 * (trial.design["format"] == "lines") * (1 if trial.train.learning_rate == 0.001 else -0.6)

    axes = {**STILL, "format": ["natural", "lines"], "learning_rate": [0.001, 0.006]}
    swept = ended(plan_of(axes=axes, seeds=[0, 1, 2]), reversing)
    strategy = assemble(swept, "weighted_kappa")
    assert strategy.design == make_design(format="lines"), "by the mean over both, 0.02"
    verdict = judged(strategy, swept, reversing, controls=["baseline"])
    assert {(one.at, one.claim) for one in verdict.repeated if one.control == "baseline"} == {
        ("learning_rate=0.006", "worse")
    }
    assert {one.claim for one in verdict.overall() if one.control == "baseline"} == {"better"}
    assert "It is not the same at learning_rate 0.006: Worse than baseline" in verdict.summary
    assert verdict.recommended == "assembled", "what other rates say decides nothing"
    assert verdict.action.endswith("at learning_rate 0.006 against baseline it is the other way round.")
    save(verdict, tmp_path / "validation.json")
    assert load(tmp_path / "validation.json") == verdict
    assert {row["at"] for row in verdict_table(verdict)} == {"", "learning_rate=0.006"}
