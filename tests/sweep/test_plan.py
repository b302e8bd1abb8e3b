"""The plan: every trial that will run, what stands still, what was left out and why, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from helpers.plans import BASE, FEW, plan_of

from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED, make_design
from sde_ray.errors import UserError
from sde_ray.storage.ledger import from_json
from sde_ray.sweep.plan import plan
from sde_ray.types import TrialResult


def finished(trial: TrialConfig, seconds: float = 30.0) -> TrialResult:
    return TrialResult(trial.key, trial.resolved(), "finished", {}, seconds={"total": seconds})


def test_a_full_grid_has_every_design_once() -> None:
    whole = plan_of()
    assert whole.count == len(whole.trials) == len({trial.key for trial in whole.trials}) == 216
    assert whole.counts == {"designs": 216, "seeds": 1, "train_sizes": 1, "models": 1, "tasks": 1}
    assert whole.trials[0].design != make_design(), "random order"
    assert {trial.eval_size for trial in whole.trials} == {20}


def test_seeds_sizes_models_and_tasks_multiply() -> None:
    whole = plan_of(**FEW, seeds=[0, 1], train_sizes=[20, 40], model=["tiny", "other"], task=["masa:d1", "masa:d2"])
    assert whole.count == len({trial.key for trial in whole.trials}) == 24 * 2 * 2 * 2 * 2
    assert [contest.model for contest in whole.contests] == ["tiny", "tiny", "other", "other"]
    first = whole.trials[:4]
    assert len({trial.design for trial in first}) == 1, "all trials of a design stand together"
    assert {(trial.train_size, trial.seed) for trial in first} == {(20, 0), (20, 1), (40, 0), (40, 1)}


def test_every_design_of_a_sweep_sees_the_same_examples() -> None:
    whole = plan_of(**FEW)
    assert len({(trial.data, trial.seed, trial.train_size, trial.instruction_variant) for trial in whole.trials}) == 1
    assert whole.trials[0].data != plan_of(**FEW, task="masa:d2").trials[0].data
    assert whole.trials[0].data != plan_of(**FEW, out_of_domain=[]).trials[0].data


def test_the_same_configuration_gives_the_same_keys_in_the_same_order() -> None:
    keys = [trial.key for trial in plan_of(**FEW).trials]
    assert keys == [trial.key for trial in plan_of(**FEW).trials]
    other = [trial.key for trial in plan_of(**FEW, search={"method": "grid", "seed": 5}).trials]
    assert set(other) == set(keys) and other != keys


def test_one_at_a_time_begins_with_the_baseline() -> None:
    whole = plan_of(search={"method": "one_at_a_time"}, seeds=[0, 1])
    assert whole.count == 20
    assert whole.trials[0].design == whole.trials[1].design == make_design()
    around = plan_of(search={"method": "one_at_a_time", "reference_design": "es-sde"})
    assert around.trials[0].design == NAMED["es-sde"]


def test_around_is_moved_into_the_space() -> None:
    whole = plan_of(
        search={"method": "one_at_a_time", "reference_design": "es-sde"}, axes={"format": ["json", "natural"]}
    )
    assert whole.trials[0].design == make_design(instruction="first", format="natural")


def test_random_takes_its_budget_and_a_raised_budget_only_adds() -> None:
    few = plan_of(search={"method": "random", "n_trials": 5})
    more = plan_of(search={"method": "random", "n_trials": 9})
    assert (few.count, more.count, more.counts["designs"]) == (5, 9, 9)
    assert {trial.key for trial in few.trials} < {trial.key for trial in more.trials}


def test_an_adaptive_method_plans_all_that_may_run_and_counts_what_will() -> None:
    whole = plan_of(search={"method": "optuna", "n_trials": 12}, seeds=[0, 1])
    assert (whole.count, len(whole.trials)) == (24, 432)
    assert whole.estimate.trials == 24


def test_axes_that_cannot_change_a_task_are_pinned_with_the_reason() -> None:
    whole = plan_of(task="qa", axes={"instruction": "last"})
    assert whole.pinned["instruction"] == "fixed by the sweep"
    assert whole.pinned["labels"]
    assert {trial.design["labels"] for trial in whole.trials} == {"text"}


def test_no_instruction_out_of_domain_is_not_applicable_not_zero() -> None:
    reasons = [reason for what, reason in plan_of(**FEW).dropped if "instruction=none" in what]
    assert len(reasons) == 1 and reasons[0].startswith("not applicable")
    assert plan_of(**FEW, out_of_domain=[]).dropped == ()
    judged = plan_of(**FEW, objective={"split": "dev_ood"})
    assert judged.count == 16
    assert {trial.design["instruction"] for trial in judged.trials} == {"first", "last"}
    assert judged.dropped[0][0].startswith("8 designs with instruction=none")


def test_listed_designs_are_tried_as_they_are_and_once() -> None:
    whole = plan_of(designs=["baseline", "es-sde", "heuristic", {"format": "lines", "instruction": "first"}])
    assert {trial.design for trial in whole.trials} == {NAMED["baseline"], NAMED["es-sde"], NAMED["heuristic"]}
    assert [reason for _, reason in whole.dropped if "same samples as es-sde" in reason]


def test_a_sweep_of_a_hundred_thousand_trials_is_refused_with_its_factors() -> None:
    with pytest.raises(UserError) as error:
        plan_of(seeds=list(range(500)), validation={"seeds": [1000]})
    assert "108,000 trials (216 designs × 500 seeds × 1 train sizes × 1 models × 1 tasks)" in str(error.value)
    assert "search.method: adaptive, random or optuna with search.n_trials" in str(error.value)
    few = plan_of(**FEW, seeds=[0, 1, 2], search={"method": "grid", "max_trials": 72})
    assert few.count == 72
    with pytest.raises(UserError, match="at most 71"):
        plan_of(**FEW, seeds=[0, 1, 2], search={"method": "grid", "max_trials": 71})


def test_a_budget_keeps_a_large_space_within_bounds() -> None:
    assert plan_of(seeds=list(range(60)), search={"method": "random", "n_trials": 10}).count == 600


def test_a_sweep_without_a_trial_is_refused_with_the_reason() -> None:
    with pytest.raises(UserError, match="has no trial. Everything was dropped: .*not applicable"):
        plan_of(axes={"instruction": "none"}, objective={"split": "dev_ood"})


def test_an_out_of_domain_objective_needs_an_out_of_domain_task() -> None:
    with pytest.raises(UserError, match="has no out-of-domain task"):
        plan_of(task="nested_ner", objective={"split": "dev_ood"})


def test_more_examples_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"train_sizes has 999999, but the train split has \d+ examples"):
        plan_of(train_sizes=[40, 999_999])
    assert plan_of(**FEW, eval_size=10**6).trials[0].eval_size == 500


def test_a_sweep_with_rungs_has_them_in_every_trial() -> None:
    assert {trial.rungs for trial in plan_of(**FEW, search={"method": "grid", "asha": {}}).trials} == {(0.25, 0.5, 1.0)}


def test_the_estimate_comes_from_trials_that_have_ended() -> None:
    config = check({**BASE, **FEW, "resources": {"resources_per_worker": {"GPU": 1}, "max_concurrent_trials": 2}})
    before = plan(config)
    assert before.estimate.seconds is None
    assert 24 * 40 * 200 < before.estimate.train_characters < 24 * 40 * 3000
    results = {trial.key: finished(trial) for trial in before.trials[:4]}
    broken = before.trials[5]
    results[broken.key] = replace(finished(broken), status="failed")
    after = plan(config, results).estimate
    assert (after.finished, after.seconds, after.gpu_hours) == (4, 20 * 30 / 2, 20 * 30 / 3600)


def test_a_result_of_the_ledger_matches_its_trial() -> None:
    trial = plan_of(**FEW).trials[0]
    assert from_json({"key": trial.key, "config": trial.resolved(), "status": "finished"}).key == trial.key


def test_constrained_decoding_is_refused_where_there_is_no_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(**changes: Any) -> None:
        axes = {"instruction": ["last"], "input_modeling": ["off"], "labels": ["text"], "decoding": ["constrained"]}
        values = {"name": "x", "task": "nested_ner", "seeds": [0], "train_sizes": [8], "search": {"method": "grid"}}
        plan(check({**values, **changes, "axes": {**axes, "unmentioned": ["omit"], **changes.get("axes", {})}}))

    planned(axes={"format": ["lines", "json_object"]})
    with pytest.raises(UserError, match="the format inline has none. Leave out"):
        planned(axes={"format": ["lines", "inline"]})
    with pytest.raises(UserError, match="vllm is not told the grammar"):
        planned(generation={"backend": "vllm"})
    monkeypatch.setattr("sde_ray.sweep.decoding_check.find_spec", lambda name: None)
    with pytest.raises(UserError, match="llguidance, which is not installed"):
        planned(axes={"format": ["lines"]})


def test_samples_that_cannot_be_made_are_refused() -> None:
    def planned(**axes: Any) -> None:
        fixed = {"instruction": "last", "input_modeling": "off", "format": "lines", "unmentioned": "omit"}
        values = {"name": "x", "task": "masa:d1", "seeds": [0], "train_sizes": [4], "search": {"method": "grid"}}
        plan(check({**values, "axes": {**fixed, "labels": "text", "reasoning": "none", **axes}}))

    planned(demonstrations=[0, 3], slots_per_sample=["all", 1], negatives=[0.5])
    with pytest.raises(UserError, match="demonstrations=4 needs 5 training samples"):
        planned(demonstrations=[0, 4])
    with pytest.raises(UserError, match="slots_per_sample does not go with mixup"):
        planned(slots_per_sample=["all", 1], mixup=[0, 0.2])
