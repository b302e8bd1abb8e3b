"""The final comparison: who runs, paired intervals that cover, and verdicts that also admit a loss."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.planted import additive, one_at_a_time, result, results

from sde_ray.analysis.paired import Key, compare, tabulate
from sde_ray.analysis.strategy import Strategy, assemble
from sde_ray.analysis.validation import judge_validation
from sde_ray.analysis.verdict import Verdict, load, save, verdict_table
from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED, make_design
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts, TaskItems, bootstrap_weights
from sde_ray.pipeline.validation_trials import validation_trials
from sde_ray.types import Design, TrialResult

METRIC = "weighted_kappa"
CONFIG = check({"name": "quick", "task": "masa:d1", "train_sizes": [100, 200], "validation": {"test_size": 40}})
SWEPT = results(one_at_a_time(), seeds=(0, 1), noise=0.01)
STRATEGY = assemble(SWEPT, METRIC)
Trials = Mapping[str, list[TrialConfig]]


def played(trials: Trials, worth: Callable[[Design], float], noise: float = 0.01) -> dict[str, TrialResult]:
    """Results of the final comparison as planted, by key."""
    random = np.random.default_rng(5)
    found = {}
    for trial in {t.key: t for own in trials.values() for t in own}.values():
        score = worth(trial.design) + random.normal(0, noise)
        scores = {"test": {METRIC: score}, "test_ood": {METRIC: score - 0.2}}
        found[trial.key] = TrialResult(trial.key, trial.resolved(), "finished", scores)
    return found


def verdict(worth: Callable[[Design], float], noise: float = 0.01, strategy: Strategy = STRATEGY) -> Verdict:
    trials = validation_trials(strategy, CONFIG, SWEPT)
    return judge_validation(strategy, trials, played(trials, worth, noise))


def claims(found: Verdict, split: str = "test") -> dict[str, str]:
    return {row.control: row.claim for row in found.overall(split)}


def test_contenders_run_on_fresh_seeds_the_test_split_and_all_sizes() -> None:
    trials = validation_trials(STRATEGY, CONFIG, SWEPT)
    assert list(trials) == ["assembled", "best seen", "baseline", "es-sde", "ew-sde", "heuristic"]
    for own in trials.values():
        assert {(t.seed, t.train_size) for t in own} == {(s, z) for s in (101, 102, 103) for z in (100, 200)}
        assert {t.splits for t in own} == {("test",)} and {t.eval_size for t in own} == {40}
        assert {t.out_of_domain for t in own} == {("masa:d2",)} and {t.rungs for t in own} == {(1.0,)}
    assert trials["assembled"][0].design == make_design(instruction="first", format="lines", unmentioned="omit")
    assert trials["best seen"][0].design == make_design(format="lines")
    assert trials["heuristic"][0].design == NAMED["heuristic"]


def test_one_design_under_two_names_is_one_trial() -> None:
    same = replace(STRATEGY, design=NAMED["es-sde"])
    trials = validation_trials(same, CONFIG, SWEPT)
    assert [t.key for t in trials["assembled"]] == [t.key for t in trials["es-sde"]]
    found = judge_validation(same, trials, played(trials, additive))
    assert claims(found)["es-sde"] == "same design" and "The same design as es-sde." in found.summary
    assert claims(found)["baseline"] == "better"


def test_used_seeds_are_refused_but_not_those_of_an_earlier_final_comparison() -> None:
    with pytest.raises(UserError, match=r"validation\.seeds \[102\] were used by the sweep"):
        validation_trials(STRATEGY, CONFIG, [*SWEPT, result(make_design(), 0.5, seed=102)])
    earlier = result(make_design(labels="number"), 0.99, seed=102, splits=("test",))
    trials = validation_trials(STRATEGY, CONFIG, [*SWEPT, earlier])
    assert trials["best seen"][0].design == make_design(format="lines")


def test_a_winner_is_called_one() -> None:
    found = verdict(additive)
    assert set(claims(found).values()) == {"better"} and found.recommended == "assembled"
    assert found.summary.startswith("The assembled design wins against all controls. Better than best seen (+0.1")
    assert "Out-of-domain: Better than" in found.summary
    row = found.overall()[1]
    assert row.control == "baseline" and row.paired is not None and row.seeds == 3
    assert row.paired.low is not None and row.paired.high is not None
    assert row.paired.low < additive(STRATEGY.design) - 0.5 < row.paired.high
    by_size = [row for row in found.rows if row.control == "baseline" and row.split == "test"]
    assert [row.train_size for row in by_size] == [None, 100, 200]


def test_no_difference_is_not_called_a_win() -> None:
    found = verdict(lambda design: 0.6, noise=0.02)
    assert set(claims(found).values()) == {"no difference shown"} and found.recommended == "assembled"
    assert found.summary.startswith(
        "The assembled design is not shown to be better than any control. No difference shown against best"
    )


def test_a_loss_is_admitted_and_the_better_control_recommended() -> None:
    found = verdict(lambda design: 0.9 if design == NAMED["es-sde"] else additive(design) - 0.2)
    assert found.recommended == "es-sde" and claims(found)["es-sde"] == "worse"
    assert found.summary.startswith("The assembled design does not win: use es-sde. Better than")
    assert "Worse than es-sde (-0." in found.summary


def test_failed_trials_leave_the_rest_comparable() -> None:
    trials = validation_trials(STRATEGY, CONFIG, SWEPT)
    ended = played(trials, additive)
    for trial in trials["ew-sde"]:
        ended[trial.key] = replace(ended[trial.key], status="failed", scores={})
    lost = trials["baseline"][0]
    ended[lost.key] = replace(ended[lost.key], scores={"test": {METRIC: float("nan")}})
    found = judge_validation(STRATEGY, trials, ended)
    assert claims(found)["ew-sde"] == "no score" and "No score of ew-sde." in found.summary
    assert [row.seeds for row in found.overall()] == [3, 2, 3, 0, 3] and claims(found)["best seen"] == "better"
    assert "Not paired: baseline on seed 101 (weighted_kappa is no finite number)" in found.summary
    assert "ew-sde on seeds 101, 102, 103 (failed)." in found.summary
    assert found.dropped[1].contender == "ew-sde" and found.dropped[1].seeds == (101, 102, 103)
    with pytest.raises(UserError, match="no finished trial of the assembled design"):
        judge_validation(STRATEGY, trials, {})


def test_one_seed_without_completions_says_nothing() -> None:
    config = check({"name": "quick", "task": "masa:d1", "validation": {"seeds": [101]}})
    trials = validation_trials(STRATEGY, config, SWEPT)
    found = judge_validation(STRATEGY, trials, played(trials, additive))
    assert set(claims(found).values()) == {"no interval"}
    assert found.summary.startswith("Nothing can be said") and "One seed only" in found.summary


def test_a_design_without_instruction_has_no_out_of_domain_verdict() -> None:
    silent = replace(STRATEGY, design=make_design(instruction="none"))
    trials = validation_trials(silent, CONFIG, SWEPT)
    ended = played(trials, additive)
    for trial in trials["assembled"]:
        ended[trial.key] = replace(ended[trial.key], scores={"test": ended[trial.key].scores["test"]})
    assert "Out-of-domain: not applicable" in judge_validation(silent, trials, ended).summary


def test_kept_completions_narrow_the_intervals_to_what_differs(tmp_path: Path) -> None:
    """The assembled answers all items right, the baseline all but every fourth: items give the interval of one seed."""
    from sde_ray.design.render import render_sample
    from sde_ray.tasks import get_task

    config = check(
        {"name": "q", "task": "masa:d1", "out_of_domain": [], "validation": {"seeds": [101], "controls": ["baseline"]}}
    )
    strategy = replace(STRATEGY, objective="accuracy")
    trials = validation_trials(strategy, config, [])
    task, ended = get_task("masa:d1"), {}
    for name, (trial,) in trials.items():
        lines = []
        for n, example in enumerate(task.load("test")[:40]):
            wrong = name == "baseline" and n % 4 == 0
            text = "" if wrong else render_sample(example, task, trial.design).completion.text
            lines.append(json.dumps({"split": "test", "id": example.id, "prediction": text, "task": "masa:d1"}))
        (tmp_path / trial.key).mkdir()
        (tmp_path / trial.key / "predictions.jsonl").write_text("\n".join(lines))
        score = 0.75 if name == "baseline" else 1.0
        ended[trial.key] = TrialResult(trial.key, trial.resolved(), "finished", {"test": {"accuracy": score}})
    (row,) = judge_validation(strategy, trials, ended, tmp_path).overall()
    assert row.items == 40 and row.seeds == 1 and row.paired is not None and row.paired.noise == "items"
    assert row.claim == "ahead on these items, one seed"
    assert row.paired.low is not None and row.paired.low > 0.05


@pytest.mark.slow
def test_paired_intervals_cover_the_truth() -> None:
    """60 simulated comparisons: 3 seeds, 150 shared items, five controls, nothing differs. Nominal 95%."""
    random = np.random.default_rng(3)
    inside, total, false_claims = 0, 0, 0
    noises = [(0.2, (1, 150)), (0.05, (3, 1)), (0.2, (3, 150))]  # of the items, of the seeds, of both
    for _ in range(60):
        items = random.normal(0, 0.4, 150)
        weights = random.multinomial(150, np.full(150, 1 / 150), 400) / 150
        answers = {str(n): items + sum(random.normal(0, spread, shape) for spread, shape in noises) for n in range(6)}
        scores = {name: each.mean(axis=1, keepdims=True) for name, each in answers.items()}
        drawn = {name: (weights @ each.T)[:, :, None] for name, each in answers.items()}
        found = compare(scores, drawn, "0", random).values()
        inside += sum((one.low or 0) <= 0 <= (one.high or 0) for one in found)
        total += len(found)
        false_claims += any((one.adjusted_p_value or 0) < 0.05 for one in found)
    assert 0.92 <= inside / total <= 0.99
    assert false_claims / 60 <= 0.1


def test_pairing_removes_what_the_contenders_share() -> None:
    """Items differ much, contenders hardly: the paired interval is a tenth of an unpaired one."""
    random = np.random.default_rng(4)
    items = random.normal(0, 1.0, 200)
    answers = {"a": items + 0.05 + random.normal(0, 0.05, (3, 200)), "b": items + random.normal(0, 0.05, (3, 200))}
    weights = random.multinomial(200, np.full(200, 1 / 200), 500) / 200
    scores = {name: each.mean(axis=1, keepdims=True) for name, each in answers.items()}
    (found,) = compare(scores, {n: (weights @ e.T)[:, :, None] for n, e in answers.items()}, "a", random).values()
    assert found.low is not None and found.high is not None
    assert 0 < found.low < 0.05 < found.high and found.high - found.low < 0.06


def test_holm_counts_the_comparisons() -> None:
    scores = {name: np.array([[value], [value + 0.02], [value - 0.02]]) for name, value in
              {"a": 0.5, "b": 0.5, "c": 0.4, "d": 0.3}.items()}  # fmt: skip
    scores["c"] = scores["c"] + np.array([[0.03], [0.0], [-0.03]])
    found = compare(scores, None, "a")
    order = sorted(found.values(), key=lambda one: one.p_value or 0)
    assert order[0].adjusted_p_value == pytest.approx(min(1, 3 * (order[0].p_value or 0)))
    assert all((one.adjusted_p_value or 0) >= (one.p_value or 0) for one in order)
    assert [one.adjusted_p_value for one in order] == sorted(one.adjusted_p_value or 0 for one in order)


def test_a_verdict_survives_its_file(tmp_path: Path) -> None:
    found = verdict(additive)
    save(found, tmp_path / "validation.json")
    assert load(tmp_path / "validation.json") == found
    row = verdict_table(found)[0]
    assert row["label"].startswith("Inst-") and row["claim"] == "better" and row["difference"] > 0
    for text in ("", "[]", '{"rows": [{}]}', '{"rows": [], "strategy_design": {"formt": "x"}}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(UserError):
            load(tmp_path / "bad.json")


# ---- the one table of scores -----------------------------------------------------------------------------------------

DESIGNS = {
    "assembled": make_design(instruction="first"),
    "best seen": make_design(format="lines"),
    "baseline": NAMED["baseline"],
    "es-sde": make_design(labels="number"),
    "best again": make_design(format="lines"),
}


def answered(seeds: tuple[int, ...] = (1, 2, 3), sizes: tuple[int, ...] = (50, 100)) -> dict[Key, ItemCounts]:
    """Right or wrong answers to the same 40 items, as planted."""
    random, ids = np.random.default_rng(8), tuple(map(str, range(40)))
    found: dict[Key, ItemCounts] = {}
    for name in DESIGNS:
        for size in sizes:
            for seed in seeds:
                right = (random.random((40, 1)) < 0.5 + 0.001 * size).astype(float)
                part = TaskItems(ids, np.hstack([right, np.ones((40, 1))]), lambda sums: sums[..., 0] / sums[..., 1])
                found[name, seed, size] = ItemCounts((part,))
    return found


def measured(items: Mapping[Key, ItemCounts]) -> dict[Key, float]:
    return {key: float(one.parts[0].rows[:, 0].mean()) for key, one in items.items()}


def test_a_table_holds_each_score_and_the_same_bootstrap_for_both_numbers_of_draws() -> None:
    """What the final comparison (2,000 draws) and a robustness study (1,000) compute from: cell by cell as by hand."""
    items = answered()
    scores = measured(items)
    for draws in (1000, 2000):
        table = tabulate(scores, items, DESIGNS, "assembled", draws)
        weights = bootstrap_weights(items["assembled", 1, 50].ids, draws, np.random.default_rng(0))
        assert table.seeds == (1, 2, 3) and table.variants == (50, 100) and table.resampled is not None
        for name in DESIGNS:
            assert table.scores[name].tolist() == [[scores[name, s, z] for z in (50, 100)] for s in (1, 2, 3)]
            assert table.resampled[name].shape == (draws, 3, 2)
            for row, seed in enumerate(table.seeds):
                for column, size in enumerate(table.variants):
                    by_hand = items[name, seed, size].scores(weights)
                    assert np.array_equal(table.resampled[name][:, row, column], by_hand)
        one = table.column(100)
        assert one.resampled is not None and one.variants == (100,)
        assert np.array_equal(one.resampled["baseline"][:, :, 0], table.resampled["baseline"][:, :, 1])


def test_a_table_keeps_for_each_contender_the_seeds_that_it_shares_with_the_first() -> None:
    items = answered()
    scores = measured(items)
    del scores["es-sde", 1, 100]
    scores["baseline", 2, 50] = float("nan")
    for seed in (1, 2, 3):
        del scores["best again", seed, 50]
    table = tabulate(scores, items, DESIGNS, "assembled", 10)
    assert table.seeds == (1, 2, 3) and list(table.scores) == ["assembled", "best seen", "baseline", "es-sde"]
    shared = {name: table.shared_seeds(name) for name in table.scores}
    assert shared == {"assembled": (1, 2, 3), "best seen": (1, 2, 3), "baseline": (1, 3), "es-sde": (2, 3)}
    assert table.resampled is not None and np.isfinite(table.resampled["es-sde"][:, 1:]).all()
    assert np.isnan(table.scores["es-sde"][0]).all() and np.isnan(table.resampled["es-sde"][:, 0]).all()
    by_hand = [np.mean([scores[name, s, z] for s in (2, 3) for z in (50, 100)]) for name in ("assembled", "es-sde")]
    assert table.means("es-sde") == pytest.approx(tuple(by_hand))
    assert table.compare(["assembled", "es-sde"])["es-sde"].difference == pytest.approx(by_hand[0] - by_hand[1])
    only = tabulate(scores, items, DESIGNS, "assembled", 10, variants=(50,))
    assert only.shared_seeds("es-sde") == (1, 2, 3) and only.scores["es-sde"].shape == (3, 1)
    assert tabulate({}, {}, DESIGNS, "assembled", 10).scores == {} and table.column(7).scores == {}
    del items["es-sde", 3, 50]
    without = tabulate(scores, items, DESIGNS, "assembled", 10).resampled
    assert without is not None and "es-sde" not in without and "baseline" in without
    del items["assembled", 3, 50]
    assert tabulate(scores, items, DESIGNS, "assembled", 10).resampled is None


def test_a_design_with_two_names_is_compared_once() -> None:
    table = tabulate(measured(answered()), {}, DESIGNS, "assembled", 10)
    names = table.representatives()
    assert set(names.values()) == {"assembled", "best seen", "baseline", "es-sde"}
    found = table.compare(list(names.values()))
    by_hand = compare({name: table.scores[name] for name in names.values()}, None, "assembled")
    assert found == by_hand and set(found) == {"best seen", "baseline", "es-sde"}
