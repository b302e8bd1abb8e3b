"""Robustness: conditions judged as planted, savings read off curves, adapters that answer again without training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.run_trial import run_trial
from typer.testing import CliRunner, Result

from sde_ray.analysis import strategy as strategies
from sde_ray.analysis.paired import Key, ScoreTable, tabulate
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.verdict import ASSEMBLED
from sde_ray.cli.app import app
from sde_ray.config.load import load_config, write_sweep
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED, make_design
from sde_ray.errors import UserError
from sde_ray.pipeline.robustness import run
from sde_ray.pipeline.robustness.conditions import ITEM_DRAWS, ConditionVerdict, judge_condition, summarize
from sde_ray.pipeline.robustness.decoding import CompletionCache, Condition
from sde_ray.pipeline.robustness.figure import curves
from sde_ray.pipeline.robustness.learning_curve import Saving, reaches, savings
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.storage.ledger import Ledger
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Design, TrialResult

DESIGNS: Mapping[str, Design] = {ASSEMBLED: make_design(format="lines"), **NAMED}
LEVELS = {ASSEMBLED: 0.8, "baseline": 0.6, "es-sde": 0.8, "ew-sde": 0.9, "heuristic": 0.5}


def planted(
    levels: Mapping[str, float], variants: Sequence[Any] = ("only",), noise: float = 0.01, seeds: int = 4
) -> ScoreTable:
    draw = np.random.default_rng(1)
    values: dict[Key, float] = {
        (name, seed, variant): level + draw.normal(0, noise)
        for name, level in levels.items()
        for seed in range(seeds)
        for variant in variants
    }
    return tabulate(values, {}, {name: DESIGNS[name] for name in levels}, ASSEMBLED, ITEM_DRAWS)


class TestCondition:
    def test_claims_are_as_planted(self) -> None:
        judged = judge_condition("size 40", planted(LEVELS))
        assert {row.name: row.claim for row in judged.rows[1:]} == {
            "baseline": "better",
            "es-sde": "no difference shown",
            "ew-sde": "worse",
            "heuristic": "better",
        }
        assert judged.holds is False
        assert judged.summary.startswith("Better than baseline (+0.1")
        first = judged.rows[0]
        assert first.name == ASSEMBLED and first.low is not None and first.high is not None
        assert first.low < 0.8 < first.high and first.high - first.low < 0.1
        assert [row["condition"] for row in judged.to_dict()] == ["size 40"] * 5

    def test_two_seeds_tell_the_noise_together(self) -> None:
        """Of five contenders with noise 0.01 on two seeds no score's interval is wider than a tenth."""
        judged = judge_condition("x", planted(LEVELS, seeds=2))
        for row in judged.rows:
            assert row.low is not None and row.high is not None and row.low < row.score < row.high
            assert row.high - row.low < 0.1

    def test_one_design_under_two_names_is_compared_once(self) -> None:
        same = {ASSEMBLED: NAMED["es-sde"], "es-sde": NAMED["es-sde"], "baseline": NAMED["baseline"]}
        values = {(name, seed, 0): level + 0.001 * seed * (name == "baseline") for name, level in (
            (ASSEMBLED, 0.8), ("es-sde", 0.8), ("baseline", 0.6)) for seed in range(3)}  # fmt: skip
        judged = judge_condition("x", tabulate(values, {}, same, ASSEMBLED, ITEM_DRAWS))
        assert [row.claim for row in judged.rows] == ["", "same design", "better"]

    def test_incomplete_seeds_and_contenders_are_left_out(self) -> None:
        values: dict[Key, float] = {
            (n, s, v): 0.5 for n in (ASSEMBLED, "baseline") for s in (1, 2, 3) for v in ("a", "b")
        }
        del values[ASSEMBLED, 2, "b"]
        values["es-sde", 1, "a"] = 0.9
        designs = {name: DESIGNS[name] for name in (ASSEMBLED, "baseline", "es-sde", "heuristic")}
        table = tabulate(values, {}, designs, ASSEMBLED, ITEM_DRAWS)
        assert (table.seeds, list(table.scores), table.variants) == ((1, 3), [ASSEMBLED, "baseline"], ("a", "b"))
        del values["baseline", 1, "a"]
        table = tabulate(values, {}, designs, ASSEMBLED, ITEM_DRAWS)
        assert table.shared_seeds(ASSEMBLED) == (1, 3) and table.shared_seeds("baseline") == (3,)
        assert "Nothing can be said" in judge_condition("x", tabulate({}, {}, DESIGNS, ASSEMBLED, ITEM_DRAWS)).summary

    def test_one_seed_without_items_says_nothing(self) -> None:
        judged = judge_condition("x", planted(LEVELS, seeds=1))
        assert judged.holds is None and "Without an interval against" in judged.summary

    def test_all_conditions_in_words(self) -> None:
        def one(condition: str, holds: bool | None) -> ConditionVerdict:
            return replace(judge_condition(condition, planted(LEVELS)), condition=condition, holds=holds)

        assert summarize([one("a", True), one("b", True)]) == (
            "No control beats the assembled design on any of 2 conditions. It is shown to be better than at least one "
            "control on 2 of 2.")  # fmt: skip
        words = summarize([one("a", True), one("b", False), one("c", None)])
        assert words.startswith("The assembled design is not robust: a control beats it on b.")
        assert words.endswith("Nothing can be said of c.")


class TestCurve:
    SIZES = (25, 100, 400)

    def cells(self, ours: Sequence[float], theirs: Sequence[float], noise: float = 0.0) -> ScoreTable:
        draw = np.random.default_rng(2)
        scores = {
            name: np.array(own)[None, :] + draw.normal(0, noise, (5, 3))
            for name, own in ((ASSEMBLED, ours), ("baseline", theirs))
        }
        return ScoreTable(
            ASSEMBLED, scores, None, {name: DESIGNS[name] for name in scores}, tuple(range(5)), self.SIZES
        )

    def test_a_curve_is_straight_on_a_logarithmic_scale(self) -> None:
        curve = np.array([0.2, 0.4, 0.8])
        assert reaches(curve, 0.1, self.SIZES) == 25 and reaches(curve, 0.4, self.SIZES) == pytest.approx(100)
        assert reaches(curve, 0.3, self.SIZES) == pytest.approx(50) and reaches(
            curve, 0.6, self.SIZES
        ) == pytest.approx(200)
        assert reaches(curve, 0.81, self.SIZES) == math.inf

    def test_what_the_better_design_saves(self) -> None:
        (saved,) = savings(self.cells([0.2, 0.6, 0.8], [0.1, 0.3, 0.6], noise=0.01), self.SIZES)
        assert saved.at == 400 and saved.needs == pytest.approx(100, rel=0.1)
        assert saved.low is not None and saved.high is not None and 60 < saved.low < saved.needs < saved.high < 160
        assert "saves 7" in saved.summary and saved.summary.startswith("For baseline's score at 400 samples")

    def test_ends_of_the_curve_are_said(self) -> None:
        (cheap,) = savings(self.cells([0.7, 0.8, 0.9], [0.1, 0.3, 0.6], noise=0.001), self.SIZES)
        assert "25 samples or fewer [at most 25, at most 25]" in cheap.summary and "saves at least 94%" in cheap.summary
        (never,) = savings(self.cells([0.1, 0.2, 0.3], [0.1, 0.3, 0.6]), self.SIZES)
        assert never.needs == math.inf and "is not reached" in never.summary and never.to_dict()["needs"] is None
        assert savings(self.cells([1, 1, 1], [1, 1, 1]), self.SIZES[:1]) == []
        assert Saving("x", 100, 60.0, 40.0, math.inf, 10).summary.endswith("[40, more than 100]: it saves 40%.")

    def test_two_seeds_give_no_interval(self) -> None:
        table = self.cells([0.2, 0.6, 0.8], [0.1, 0.3, 0.6], noise=0.01)
        two = {name: values[:2] for name, values in table.scores.items()}
        (saved,) = savings(replace(table, scores=two, seeds=(0, 1)), self.SIZES)
        assert saved.low is None and saved.high is None and saved.needs == pytest.approx(100, rel=0.1)

    def test_a_failed_trial_costs_its_own_control_only(self) -> None:
        table = self.cells([0.2, 0.6, 0.8], [0.1, 0.3, 0.6], noise=0.01)
        designs = {**table.designs, "es-sde": DESIGNS["es-sde"]}
        failed = table.scores["baseline"] + np.array([[0.0], [0.0], [math.nan], [math.nan], [math.nan]])
        both = replace(table, designs=designs, scores={**table.scores, "es-sde": failed})
        baseline, other = savings(both, self.SIZES)
        assert baseline.low is not None and baseline.needs == savings(table, self.SIZES)[0].needs
        assert other.control == "es-sde" and other.low is None

    def test_the_curve_is_drawn(self) -> None:
        judged = [judge_condition(str(size), planted(LEVELS)) for size in (10, 20)]
        figure = curves((10, 20), judged, "kappa")
        assert figure.count("<path") == 5 and "es-sde" in figure
        assert curves((10,), judged[:1], "kappa") == ""


# ---- trained adapters ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sweep(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep's folder with a strategy, as `sde-ray run` leaves it; nothing is trained yet."""
    folder = tmp_path_factory.mktemp("robustness")
    values = {
        "task": "masa:d1", "out_of_domain": [], "model": str(tiny_llama), "storage_path": str(folder / "runs"),
        "train_sizes": [4], "train": {"learning_rate": 0.01}, "generation": {"max_new_tokens": 6},
        "mlflow": {"enabled": False},
        "validation": {"seeds": [101], "test_size": 3},
    }  # fmt: skip
    (folder / "small.yaml").write_text(json.dumps(values))
    write_sweep(load_config(folder / "small.yaml"))
    strategy = Strategy("masa:d1", str(tiny_llama), make_design(format="lines"), "small", "weighted_kappa", 0.9)
    strategies.save(strategy, folder / "runs/small/strategy.yaml")
    return folder / "runs/small"


@pytest.fixture(scope="module")
def trained(sweep: Path) -> dict[str, TrialResult]:
    """Every trial of the study, run in this process and put into the ledger."""
    study = run.prepare(sweep / "strategy.yaml", sizes=(2, 4))
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    results = {one.key: run_trial(runner, one, sweep / "trials" / one.key) for one in study.unique_trials}
    runner.close()
    for result in results.values():
        assert result.status == "finished", result.error
        Ledger(sweep / "ledger.jsonl").append(result)
    return results


def call(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def predictions(sweep: Path, trial: TrialConfig) -> dict[str, str]:
    rows = [json.loads(line) for line in (sweep / "trials" / trial.key / "predictions.jsonl").read_text().splitlines()]
    return {row["id"]: row["prediction"] for row in rows}


@pytest.mark.slow
class TestAdapters:
    def test_an_adapter_answers_as_in_its_trial_and_in_other_ways(
        self, sweep: Path, trained: dict[str, TrialResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = run.prepare(sweep / "strategy.yaml", sizes=(2, 4))
        trial = study.trials["baseline"][-1]
        reader, folder = CompletionCache(JsonlCache(tmp_path / "r.jsonl")), sweep / "trials" / trial.key
        wanted = [
            (trial, folder, condition)
            for condition in (Condition(), Condition(sampling_seed=1), Condition(instruction_variant=1))
        ]
        on_progress: list[tuple[int, int]] = []
        reader.fill(wanted, study.config.resources, lambda *how_far: on_progress.append(how_far))
        assert on_progress == [(1, 3), (2, 3), (3, 3)] and reader.completions(trial, Condition()) == predictions(
            sweep, trial
        )
        cold, other = (
            reader.completions(trial, Condition(sampling_seed=1)),
            reader.completions(trial, Condition(instruction_variant=1)),
        )
        assert set(cold) == set(other) == set(predictions(sweep, trial))
        monkeypatch.setattr(
            "sde_ray.pipeline.robustness.decoding._AdapterDecoder", lambda: pytest.fail("nothing is left to decode")
        )
        again = CompletionCache(JsonlCache(tmp_path / "r.jsonl"))
        again.fill(wanted, study.config.resources)
        assert again.completions(trial, Condition(sampling_seed=1)) == cold
        unknown = (trial, folder, Condition(sampling_seed=2))
        assert again.missing([*wanted, unknown, unknown]) == [unknown]

    def test_the_whole_study(
        self, sweep: Path, trained: dict[str, TrialResult], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Through the command, with training done: conditions, files, and nothing decoded twice."""

        def ended(config: Any, trials: Sequence[TrialConfig], *given: Any) -> Any:
            assert {one.key for one in trials} == set(trained)
            return SimpleNamespace(interrupted=False, results=tuple(trained.values()))

        monkeypatch.setattr("sde_ray.sweep.run.run_trials", ended)
        words = ("robustness", sweep / "strategy.yaml", "--sizes", "2,4", "--decoding-seeds", "1,2")
        priced = call(*words, "--dry-run")
        assert "10 trials at 2, 4 samples, all of them trained; then 20 decodings of up to 3" in priced.stderr
        found = json.loads(call(*words, "--json").stdout)
        names = [one["condition"] for one in found["verdicts"]]
        assert names == ["2 samples", "4 samples", "sampled decoding", "trained on wording 0, asked in wording 1",
                         "trained on wording 0, asked in wording 2"]  # fmt: skip
        assert {row["design"] for row in found["rows"]} == {ASSEMBLED, *run.CONTROLS}
        assert len(found["rows"]) == 5 * 5 and found["summary"]
        assert json.loads((sweep / "robustness.json").read_text()) == found
        assert (sweep / "robustness.svg").read_text().startswith("<svg")
        monkeypatch.setattr(
            "sde_ray.pipeline.robustness.decoding._AdapterDecoder", lambda: pytest.fail("nothing is left to decode")
        )
        assert found["summary"] in " ".join(call(*words).stdout.split())

    def test_a_design_without_instruction_is_not_asked_in_other_words(self, sweep: Path) -> None:
        study = run.prepare(sweep / "strategy.yaml", sizes=(2, 4), decoding_seeds=(1,))
        count = len(run.decodings(study))
        silent = {
            **study.trials,
            "silent": [replace(one, design=make_design(instruction="none")) for one in study.trials["baseline"]],
        }
        assert len(run.decodings(replace(study, trials=silent))) == count + 1


class TestErrors:
    def test_a_strategy_of_another_task_or_place(self, sweep: Path, tmp_path: Path) -> None:
        other = strategies.load(sweep / "strategy.yaml")
        strategies.save(replace(other, task="masa:d2"), sweep / "other.yaml")
        with pytest.raises(UserError, match='strategy for the task masa:d2, but the sweep "small" is on masa:d1'):
            run.prepare(sweep / "other.yaml")
        strategies.save(other, tmp_path / "strategy.yaml")
        with pytest.raises(UserError, match="Name its sweep with --sweep"):
            run.prepare(tmp_path / "strategy.yaml")
        assert run.prepare(tmp_path / "strategy.yaml", sweep=sweep).sizes == (1, 2, 4, 8)
        with pytest.raises(UserError, match="no strategy of sde_ray"):
            run.prepare(sweep / "sweep.yaml")

    def test_sizes_and_wordings_that_are_not_there(self, sweep: Path) -> None:
        with pytest.raises(UserError, match=r"--sizes \[10, 99999\]: masa:d1 has \d+ training examples"):
            run.prepare(sweep / "strategy.yaml", sizes=(10, 99_999))
        with pytest.raises(UserError, match="has no wording 7. Choose of 0 to 2"):
            run.prepare(sweep / "strategy.yaml", wordings=(0, 7))
        assert "no list of whole numbers" in call("robustness", sweep / "strategy.yaml", "--sizes", "a", code=2).stderr
