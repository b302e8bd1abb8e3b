"""Assembly on planted surfaces: the winner, the exceptions that interactions make, constraints, and defaults kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from helpers.planted import ALL, additive, one_at_a_time, result, results

from sde_ray.analysis.constraints import ConstraintCheck
from sde_ray.analysis.strategy import assemble, load, save, strategy_table
from sde_ray.config.constraints import Constraints
from sde_ray.config.load import check
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.pipeline.run import constraints_of
from sde_ray.types import Design

METRIC = "weighted_kappa"
WINNER = make_design(instruction="first", format="lines", unmentioned="omit")


def test_the_best_combination_of_an_additive_surface() -> None:
    strategy = assemble(results(ALL, noise=0.02), METRIC, sweep="quick")
    assert strategy.design == WINNER
    assert strategy.predicted == pytest.approx(additive(WINNER), abs=0.02)
    assert (strategy.task, strategy.model, strategy.sweep, strategy.objective) == ("masa:d1", "tiny", "quick", METRIC)
    assert strategy.reasons["format"].startswith("lines: +0.") and "over natural" in strategy.reasons["format"]
    assert strategy.reasons["labels"].startswith("text, the default: number")
    assert set(strategy.reasons) == set(dict(strategy.design.options))
    assert {effect.option for effect in strategy.effects} >= {"lines", "json", "first", "omit"}


def test_a_difference_within_its_interval_keeps_the_default() -> None:
    """`cot` is planted 0.002 ahead; at a noise of 0.03 that is nothing."""
    strategy = assemble(results(ALL, noise=0.03), METRIC)
    assert strategy.design["reasoning"] == "none"
    flat = assemble(results(ALL, lambda design: 0.5, noise=0.03), METRIC)
    assert flat.design == make_design()
    assert "does not show a difference" in " ".join(flat.reasons.values())


def test_without_any_noise_known_the_value_itself_decides_and_the_reason_says_so() -> None:
    strategy = assemble(results(one_at_a_time()), METRIC)
    assert strategy.design == WINNER.replace(reasoning="cot")
    assert "(no interval)" in strategy.reasons["format"]


def clash(design: Design) -> float:
    """Lines and first win on average, but not together: natural with first is the best."""
    both = design["format"] == "lines" and design["instruction"] == "first"
    return additive(design) - (0.17 if both else 0.0)


def test_an_interaction_overrules_the_greedy_winner() -> None:
    trials = results(ALL, clash, noise=0.01)
    strategy = assemble(trials, METRIC)
    best = max(ALL, key=clash)
    assert best["format"] == "lines" and best["instruction"] == "last"
    assert (strategy.design["format"], strategy.design["instruction"]) == ("lines", "last")
    assert "the combination decides" in strategy.reasons["instruction"]
    greedy = best.replace(instruction="first")
    assert clash(strategy.design) > clash(greedy) + 0.05


def test_constraints_are_obeyed_and_named() -> None:
    def cost(design: Design) -> float:
        return 30.0 if design["format"] == "lines" else 15.0

    def adherence(design: Design) -> float:
        return 0.8 if design["unmentioned"] == "omit" else 1.0

    trials = [result(d, additive(d), tokens=cost(d), adherence=adherence(d)) for d in ALL]
    assert assemble(trials, METRIC).design["format"] == "lines"
    short = assemble(trials, METRIC, constraints=Constraints(max_output_tokens=20))
    assert short.design == make_design(instruction="first", unmentioned="omit", reasoning="cot")
    assert "30.0 output tokens are above 20" in short.reasons["format"]
    tidy = assemble(trials, METRIC, constraints=Constraints(min_format_adherence=0.95))
    assert tidy.design["unmentioned"] == "placeholder" and tidy.design["format"] == "lines"
    assert "0.800 is below 0.95" in tidy.reasons["unmentioned"]
    with pytest.raises(UserError, match=r"No design meets the constraints\. The nearest is .*15\.0 output tokens"):
        assemble(trials, METRIC, constraints=Constraints(max_output_tokens=5))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_cost_that_is_no_number_breaks_its_constraint(value: float) -> None:
    """The best design has no finite adherence, or no finite number of tokens: nobody knows whether it is feasible."""
    designs = one_at_a_time()
    best = max(designs, key=additive)
    for field, constraints in (
        ("adherence", Constraints(min_format_adherence=0.9)),
        ("tokens", Constraints(max_output_tokens=30)),
    ):
        trials = [
            result(d, additive(d), seed, **({field: -value if field == "adherence" else value} if d == best else {}))
            for d in designs for seed in (0, 1)
        ]  # fmt: skip
        check = ConstraintCheck(trials, constraints)
        (words,) = check.violations(best).values()
        assert "is no finite number, so whether it meets the constraint is not known" in words
        assert best not in check.feasible(designs)
        with pytest.raises(UserError, match="no finite number"):
            check.feasible([best])
        assert assemble(trials, METRIC, constraints=constraints).design != best
    with pytest.raises(UserError, match="No finished trial has a finite number for what the constraint is about"):
        ConstraintCheck([result(d, 0.5, tokens=value) for d in designs], Constraints(max_output_tokens=30))


def test_constraints_stand_in_the_yaml_and_flags_go_before_them() -> None:
    limits = {"min_format_adherence": 0.9, "max_output_tokens": 30}
    config = check({"name": "x", "task": "masa:d1", "constraints": limits})
    assert constraints_of(config) == Constraints(min_format_adherence=0.9, max_output_tokens=30)
    assert constraints_of(config, max_output_tokens=12) == Constraints(min_format_adherence=0.9, max_output_tokens=12)
    assert constraints_of(check({"name": "x", "task": "masa:d1"})) == Constraints()
    with pytest.raises(UserError, match="constraints.min_format_adherence"):
        check({"name": "x", "task": "masa:d1", "constraints": {"min_format_adherence": 1.5}})


def test_one_design_alone_is_its_own_strategy() -> None:
    alone = assemble([result(make_design(format="json"), 0.4, seed) for seed in (0, 1)], METRIC)
    assert alone.design == make_design(format="json") and alone.predicted == pytest.approx(0.4)
    assert all("the only option" in reason for reason in alone.reasons.values())


def test_all_trials_failed_is_one_clear_message() -> None:
    failed = [replace(r, status="failed", scores={}, error="CUDA out of memory\nat ...") for r in results(ALL[:3])]
    with pytest.raises(UserError, match=r"0 finished, 0 pruned, 3 failed\).*3 say: CUDA out of memory Cure that"):
        assemble(failed, METRIC)
    odd = [result(design, float("nan")) for design in ALL[:2]]
    with pytest.raises(UserError, match="not finite numbers"):
        assemble(odd, METRIC)


def test_splits_weigh_and_a_design_without_an_answer_out_of_domain_is_not_chosen() -> None:
    def away(design: Design) -> float | None:
        return None if design["instruction"] == "none" else 0.5 - (0.3 if design["format"] == "lines" else 0.0)

    def home(design: Design) -> float:
        return additive(design) + (0.4 if design["instruction"] == "none" else 0.0)

    trials = [result(design, home(design), ood=away(design)) for design in ALL]
    assert assemble(trials, METRIC).design["instruction"] == "none"
    both = assemble(trials, METRIC, weights={"dev": 0.5, "dev_ood": 0.5}).design
    assert both["instruction"] == "first" and both["format"] == "natural"


def test_the_test_split_may_not_choose() -> None:
    trials = [result(design, additive(design), splits=("dev", "test")) for design in one_at_a_time()]
    for weights in ({"test": 1.0}, {"dev": 1.0, "test_ood": 0.5}):
        with pytest.raises(UserError, match="test items are for the final validation"):
            assemble(trials, METRIC, weights=weights)
    with pytest.raises(UserError, match="split weights"):
        assemble(trials, METRIC, weights={"dev": float("nan")})
    with pytest.raises(UserError, match='Did you mean "weighted_kappa"'):
        assemble(trials, "weighted_kapa")


def test_pinned_axes_stay_and_confounded_options_are_not_taken() -> None:
    fixed = [design for design in ALL if design["labels"] == "number" and design["input_modeling"] == "on"]
    strategy = assemble(results(fixed, noise=0.01), METRIC)
    assert strategy.design["labels"] == "number" and "only option" in strategy.reasons["labels"]
    base = make_design()
    both = base.replace(format="lines", labels="number")
    found = assemble(results([base, both], lambda d: 0.9 if d == both else 0.5, seeds=(0, 1), noise=0.01), METRIC)
    assert found.design == both  # what either option alone would do, nobody knows


def test_a_strategy_survives_its_file(tmp_path: Path) -> None:
    strategy = assemble(results(one_at_a_time(), seeds=(0, 1), noise=0.01), METRIC)
    path = tmp_path / "sweep" / "strategy.yaml"
    save(strategy, path)
    assert load(path) == strategy and load(path, "masa:d1") == strategy
    assert [row["option"] for row in strategy_table(strategy)] == [option for _, option in strategy.design.options]
    with pytest.raises(UserError, match="is a strategy for the task masa:d1, not for qa"):
        load(path, "qa")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: quickstart\ntask: masa:d1\n", "is no strategy"),
        ("kind: sde_ray strategy\ntask: x\n", "damaged"),
        ("kind: sde_ray strategy\ndesign: {format: jsonn}\n", 'Did you mean "json"'),
        ("!!python/object/apply:os.system [ls]\n", "no valid YAML"),
        ("\x00\x01", "no valid YAML"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "strategy.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        load(path)


def test_where_the_search_recommends_its_decision_is_the_reason_and_no_interval_is() -> None:
    chosen = WINNER.replace(reasoning="cot")
    strategy = assemble(results(ALL, noise=0.03), METRIC, recommended=[(chosen, 0.7654)])
    assert strategy.design == chosen and strategy.predicted == 0.7654
    assert strategy.reasons["reasoning"].startswith("cot: chosen by the search; the finished trials alone say ")
    assert strategy.reasons["labels"].startswith("text, the default: chosen by the search; the finished")
    assert all("chosen by the search" in reason for reason in strategy.reasons.values())


def test_near_ties_of_the_search_go_to_the_defaults_and_then_to_fewer_tokens() -> None:
    near = [(WINNER.replace(reasoning="cot"), 0.700), (WINNER.replace(labels="number"), 0.699), (WINNER, 0.698)]
    trials = results(ALL, noise=0.03)
    strategy = assemble(trials, METRIC, recommended=near)
    assert strategy.design == WINNER and strategy.predicted == 0.698
    assert "expected 0.698; cot has 0.700, too little more to matter" in strategy.reasons["reasoning"]
    assert "too little more" not in strategy.reasons["format"]
    long = {"output": 50.0}
    trials = [
        replace(one, tokens=long if one.config["design"]["reasoning"] == "cot" else {"output": 9}) for one in trials
    ]
    assert assemble(trials, METRIC, recommended=near[:2]).design == near[1][0]


def test_a_recommended_design_that_breaks_a_constraint_gives_way_to_its_near_tie() -> None:
    near = [(WINNER, 0.700), (WINNER.replace(labels="number"), 0.699)]
    trials = [
        replace(one, tokens={"output": 30.0 if one.config["design"]["labels"] == "text" else 9.0})
        for one in results(ALL, noise=0.03)
    ]
    strategy = assemble(trials, METRIC, constraints=Constraints(max_output_tokens=20), recommended=near)
    assert strategy.design == near[1][0]
