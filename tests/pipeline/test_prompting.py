"""Prompts against samples: likelihoods as plain transformers gives them, prompts that fit, correlations, words."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner, Result

from sde_ray import data
from sde_ray.cli.app import app
from sde_ray.config.load import check, load_config
from sde_ray.design import render
from sde_ray.design.demonstrations import in_context
from sde_ray.design.designs import make_design, parse_design
from sde_ray.errors import UserError
from sde_ray.models import base as model
from sde_ray.models.perplexity import likelihoods
from sde_ray.models.tokenization import Encoder, TokenizedSample
from sde_ray.pipeline.prompting import run, tuned_scores
from sde_ray.pipeline.prompting.correlation import PROMPTING, Correlation, correlations, rank_correlations, verdict
from sde_ray.pipeline.prompting.few_shot import answer_of, fit
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.tasks import get_task
from sde_ray.tracking import prompting_runs
from sde_ray.types import Design

TASK = get_task("masa:d1")
DESIGNS = [
    make_design(format=one, unmentioned=other)
    for one in ("natural", "lines", "json")
    for other in ("placeholder", "omit")
]


@pytest.fixture(scope="module")
def base(tiny_llama: Path) -> model.LoadedModel:
    return model.load_base(str(tiny_llama))


@pytest.fixture(scope="module")
def encoded(base: model.LoadedModel) -> list[TokenizedSample]:
    encoder = Encoder(base.tokenizer, 1024)
    return [
        row
        for n, design in enumerate(DESIGNS)
        for row in encoder.samples([render.render_sample(one, TASK, design) for one in TASK.load("dev")[n : n + 3]])
    ]


class TestPerplexity:
    @pytest.mark.parametrize("batch_size", [1, 4, 32])
    def test_equals_plain_transformers(
        self, base: model.LoadedModel, encoded: list[TokenizedSample], batch_size: int
    ) -> None:
        """`model(ids, labels=...)`.loss is the mean loss of what is labelled: one sample at a time, without padding."""
        found = likelihoods(base.model, encoded, pad_token_id=0, batch_size=batch_size)
        for one, sample in zip(found, encoded, strict=True):
            prompt = torch.tensor([sample.prompt])
            whole = torch.tensor([sample.prompt + sample.completion[:-1]])
            labels = whole.clone()
            labels[:, : len(sample.prompt)] = -100
            with torch.no_grad():
                of_prompt = math.exp(base.model(prompt, labels=prompt).loss)  # type: ignore[operator]
                of_output = math.exp(base.model(whole, labels=labels).loss)  # type: ignore[operator]
            assert one.prompt_perplexity == pytest.approx(of_prompt, rel=1e-4)
            assert one.output_perplexity == pytest.approx(of_output, rel=1e-4)
            assert one.output == pytest.approx(-math.log(of_output) * (len(sample.completion) - 1), rel=1e-4)
            assert one.output_tokens == len(sample.completion) - 1

    def test_neighbours_order_and_padding_side_change_nothing(
        self, base: model.LoadedModel, encoded: list[TokenizedSample]
    ) -> None:
        usual = likelihoods(base.model, encoded, pad_token_id=0)
        mixed = list(range(len(encoded)))
        random.Random(1).shuffle(mixed)
        shuffled = likelihoods(base.model, [encoded[i] for i in mixed], pad_token_id=7, batch_size=5)
        left = likelihoods(base.model, encoded, pad_token_id=0, batch_size=6, side="left")
        for n, i in enumerate(mixed):
            for other in (shuffled[n], left[i]):
                assert other.prompt == pytest.approx(usual[i].prompt, rel=1e-5)
                assert other.output == pytest.approx(usual[i].output, rel=1e-5)

    def test_an_empty_prompt_and_an_empty_output(self, base: model.LoadedModel) -> None:
        found = likelihoods(
            base.model,
            [TokenizedSample("a", (), (), (5, 6, 2)), TokenizedSample("b", (5, 6), (False,) * 2, (2,))],
            pad_token_id=0,
        )
        assert (found[0].prompt_tokens, found[0].output_tokens, found[0].prompt_perplexity) == (0, 1, 1.0)
        assert (found[1].prompt_tokens, found[1].output_tokens, found[1].output_perplexity) == (1, 0, 1.0)


class TestContext:
    def samples(self, count: int) -> list[Any]:
        return [render.render_sample(one, TASK, make_design()) for one in TASK.load("train")[:count]]

    def test_the_published_layout(self) -> None:
        shown, query = self.samples(2), render.prompt_of("Good.", TASK, make_design())
        text = "".join(segment.text for segment in in_context(query, shown, "en"))
        written = ["".join(s.text for s in (*one.prompt, one.completion)) for one in shown]
        last = "".join(s.text for s in query)
        assert text == f"Example 1:\n{written[0]}\n\nExample 2:\n{written[1]}\n\nExample 3:\n{last}"
        assert in_context(query, [], "en") == query

    def test_demonstrations_that_do_not_fit_are_left_out_whole(self, base: model.LoadedModel) -> None:
        shown, query = self.samples(3), render.prompt_of("Good.", TASK, make_design())
        wide = Encoder(base.tokenizer, 10**6)
        lengths = [wide.length(in_context(query, shown[:k], "en")) for k in range(4)]
        assert lengths == sorted(set(lengths))
        for k in range(4):
            encoder = Encoder(base.tokenizer, lengths[k] + 20)
            fitted = fit(encoder, query, shown, "en", 20)
            assert (fitted.num_demonstrations, fitted.num_truncated) == (k, 0)
            assert len(encoder.prompts([("x", fitted.prompt)], 20)[0]) == lengths[k]
        tight = fit(Encoder(base.tokenizer, lengths[0] + 18), query, shown, "en", 20)
        assert (tight.num_demonstrations, tight.num_truncated, tight.prompt) == (0, 2, query)

    def test_only_the_queries_text_can_be_cut(self) -> None:
        prompt = in_context(render.prompt_of("Good.", TASK, make_design()), self.samples(2), "en")
        assert [segment.text for segment in prompt if segment.role == "text"] == ["Good."]
        assert not any(segment.loss for segment in prompt)

    def test_what_counts_ends_at_a_blank_line(self) -> None:
        assert answer_of("\nfood: good\nprice: bad\n\nExample 4:\nfood: bad") == "food: good\nprice: bad"


class TestCorrelations:
    def test_values_equal_scipys_with_ties(self) -> None:
        draw = np.random.default_rng(2)
        for _ in range(20):
            x, y = draw.integers(0, 8, 30).astype(float), draw.normal(size=30).round(1)
            rho, tau = rank_correlations(x, y, draws=10)
            assert rho.value == pytest.approx(stats.spearmanr(x, y).statistic)
            assert tau.value == pytest.approx(stats.kendalltau(x, y).statistic)

    def test_a_bootstrap_draw_is_the_statistic_of_the_drawn_designs(self) -> None:
        from sde_ray.pipeline.prompting.correlation import _kendall, _spearman

        draw = np.random.default_rng(3)
        x, y = draw.integers(0, 5, 12).astype(float), draw.normal(size=12)
        taken = draw.integers(0, 12, 12)
        weights = np.bincount(taken, minlength=12)[None, :].astype(float)
        assert _spearman(x, y, weights)[0] == pytest.approx(stats.spearmanr(x[taken], y[taken]).statistic)
        assert _kendall(x, y, weights)[0] == pytest.approx(stats.kendalltau(x[taken], y[taken]).statistic)

    def test_intervals_hold_the_truth_as_often_as_they_say(self) -> None:
        draw, inside = np.random.default_rng(4), 0
        truth = 6 / math.pi * math.asin(0.5 / 2)  # Spearman's rho of a normal pair with correlation 0.5
        for n in range(200):
            x = draw.normal(size=80)
            y = 0.5 * x + math.sqrt(0.75) * draw.normal(size=80)
            rho, _ = rank_correlations(x, y, draws=300, seed=n)
            assert rho.low is not None and rho.high is not None
            inside += rho.low <= truth <= rho.high
        assert 0.90 <= inside / 200 <= 0.99

    def test_what_does_not_vary_has_no_correlation(self) -> None:
        rho, tau = rank_correlations(np.zeros(6), np.arange(6.0))
        assert (rho.value, rho.low, tau.value) == (None, None, None)


def rows_of(score: Callable[[int], float], perplexity: Callable[[int], float]) -> list[dict[str, Any]]:
    from sde_ray.design.space import design_space

    designs = design_space(TASK, True).designs[:40]
    return [
        {"design": design.slug, "prompt_perplexity": perplexity(n), "output_perplexity": 1.0,
         "output_log_likelihood": -perplexity(n), "0_shot": score(n) / 2, "2_shot": score(n)}
        for n, design in enumerate(designs)
    ]  # fmt: skip


def scored(rows: list[dict[str, Any]]) -> dict[Design, float]:
    return {parse_design(row["design"]): n / 40 for n, row in enumerate(rows)}


class TestVerdict:
    def found(
        self, score: Callable[[int], float], perplexity: Callable[[int], float] = lambda n: 9.0
    ) -> list[Correlation]:
        rows = rows_of(score, perplexity)
        return correlations(rows, scored(rows), (0, 2))

    def test_prompting_that_foretells_tuning(self) -> None:
        found = self.found(lambda n: n / 40, lambda n: 100.0 - n)
        assert [one.measure for one in found][3:] == ["0_shot", "2_shot", PROMPTING]
        assert found[0].spearman.value == pytest.approx(1.0), "a low perplexity counts as good"
        assert found[1].spearman.value is None and found[-1].pick is not None and found[-1].pick.rank == 1
        words = verdict(found)
        assert words.startswith(
            "Good prompting would have picked a good sample design here. The design that prompts best"
        )
        assert "prompts best (0.975), " in words
        assert "Above chance: prompt perplexity (+1.00), output log likelihood (+1.00)." in words
        assert found[0].pick is not None and (found[0].pick.value, found[0].pick.tied) == (61.0, 1)

    def test_prompting_that_misleads(self) -> None:
        words = verdict(self.found(lambda n: -n))
        assert words.startswith("Good prompting would not have picked a good sample design here. ")
        assert "number 40 of 40" in words and "-1.00" in words and "No likelihood measure" in words

    def test_a_likelihood_that_misleads_is_told(self) -> None:
        words = verdict(self.found(lambda n: n / 40, lambda n: 100.0 + n))
        assert "The wrong way round, so misleading: prompt perplexity (-1.00), output log likelihood (-1.00)." in words

    def test_designs_that_prompt_best_alike_are_all_the_pick(self) -> None:
        """Numbers 0, 10 and 38 after tuning tie but for rounding: their mean place is (40 + 30 + 2) / 3."""
        found = self.found(lambda n: 0.5 + n * 1e-16 if n in (0, 10, 38) else n / 100)
        pick = found[-1].pick
        assert pick is not None and (pick.tied, pick.rank) == (3, 24)
        assert pick.tuned == pytest.approx((0 + 10 + 38) / 3 / 40)
        assert "3 designs prompt best alike (0.500)" in verdict(found)

    def test_luck_is_called_luck(self) -> None:
        draw = random.Random(1)
        words = verdict(self.found(lambda n: 2.0 if n == 39 else draw.random()))
        assert "but by luck as far as these designs show" in words

    def test_nothing_to_say_is_said(self) -> None:
        assert "all designs prompt alike" in verdict(self.found(lambda n: 0.0))
        rows = rows_of(lambda n: n, lambda n: 9.0)
        assert "Nothing can be said: 0 designs" in verdict(correlations(rows, {}, (0, 2)))


class TestTuned:
    def test_the_recorded_table_is_read(self) -> None:
        from sde_ray.bench.tables.table import table_path

        found = tuned_scores.from_table(table_path("masa_d1"), "weighted_kappa")
        assert len(found) > 10 and all(-1 <= score <= 1 for score in found.values())

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("", "at least one row"),
            ("format,score\nlines,1\n", 'Unknown metric "weighted_kappa"'),
            ("format,weighted_kappa\nline,1\n", 'line 2: Design: Unknown option of format "line"'),
            ("format,weighted_kappa\nlines,\n", 'line 2: weighted_kappa is ""'),
            ("format,weighted_kappa\nlines,nan\n", "finite"),
        ],
    )
    def test_other_tables_are_told(self, tmp_path: Path, text: str, told: str) -> None:
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(UserError, match=told.replace("(", r"\(")):
            tuned_scores.from_table(tmp_path / "t.csv", "weighted_kappa")
        with pytest.raises(UserError, match="Cannot read the table"):
            tuned_scores.from_table(tmp_path / "none.csv", "weighted_kappa")


def sweep_file(folder: Path, name: str, **more: Any) -> Path:
    values = {
        "task": "masa:d1", "out_of_domain": [], "model": name, "storage_path": str(folder / "runs"), "eval_size": 4,
        "train_sizes": [8], "axes": {"format": ["natural", "lines", "json"], "input_modeling": [False, True],
        "reasoning": "none", "labels": "text", "unmentioned": "omit", "instruction": "first"},
        "generation": {"max_new_tokens": 6}, "mlflow": {"enabled": False}, **more,
    }  # fmt: skip
    (folder / "look.yaml").write_text(json.dumps(values))
    return folder / "look.yaml"


def call(*words: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


class TestRun:
    def test_a_sweep_is_looked_at_once(self, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Six designs; three differ in the loss only. The second call has the same rows and never loads the model."""
        sweep = sweep_file(tmp_path, str(tiny_llama))
        table = tmp_path / "tuned.csv"
        table.write_text(
            "format,input_modeling,unmentioned,instruction,weighted_kappa\n"
            + "".join(f"{f},{m},omit,first,{n / 10}\n" for n, (f, m) in enumerate(
                (f, m) for f in ("natural", "lines", "json") for m in ("off", "on")))
        )  # fmt: skip
        priced = " ".join(call("analyze", sweep, "--dry-run").stderr.split())
        assert "12 measurements of 6 designs" in priced and "36 completions" in priced
        first = call("analyze", sweep, "--tuned", table, "--json")
        (one,) = json.loads(first.stdout)
        assert len(one["rows"]) == 6 and len({row["output_log_likelihood"] for row in one["rows"]}) == 3
        assert all(row["prompt_perplexity"] > 1 and row["error"] == "" for row in one["rows"])
        assert [each["designs"] for each in one["correlations"]] == [6] * 7
        assert "designs" in one["verdict"] and one["rows"][0]["tuned"] is not None
        folder = tmp_path / "runs" / "look"
        assert json.loads((folder / "analysis.json").read_text()) == one
        assert (folder / "analysis.svg").read_text().count("<circle") >= 6
        monkeypatch.setattr(run, "_UntunedModel", lambda *given: pytest.fail("nothing is left to measure"))
        again = call("analyze", sweep, "--tuned", table)
        assert "measured already" in again.stderr and one["verdict"] in " ".join(again.stdout.split())

    def test_measured_values_are_those_of_the_parts(
        self, base: model.LoadedModel, tiny_llama: Path, tmp_path: Path
    ) -> None:
        config = load_config(sweep_file(tmp_path, str(tiny_llama)))
        measurements = run.prepare(config, TASK, str(tiny_llama), [make_design(format="lines")], 4, (0, 1), 0)
        (row,) = run.measure(measurements, str(tiny_llama), config, JsonlCache(tmp_path / "a.jsonl"))
        held = data.eval_items(TASK.load("dev"), 4)
        rows = Encoder(base.tokenizer, 1024).samples(
            [render.render_sample(one, TASK, make_design(format="lines")) for one in held]
        )
        found = likelihoods(base.model, rows, pad_token_id=0, batch_size=1)
        assert row["output_perplexity"] == pytest.approx(np.mean([one.output_perplexity for one in found]), rel=1e-4)
        assert 0 <= row["0_shot_adherence"] <= 1 and row["1_shot_fewer"] == 0.0

    def test_a_tight_context_is_told_and_costs_no_other_design(
        self, base: model.LoadedModel, tiny_llama: Path, tmp_path: Path
    ) -> None:
        """Room for two of four demonstrations without an instruction, and for none beside one."""
        from sde_ray.pipeline.prompting.result import conclude

        bare_design = make_design(instruction="none")
        config = load_config(sweep_file(tmp_path, str(tiny_llama)))
        (roomy,) = run.prepare(config, TASK, str(tiny_llama), [bare_design], 4, (0, 4), 0)
        wide = Encoder(base.tokenizer, 10**6)
        longest = max(wide.length(in_context(one.prompt, roomy.demonstrations[:2], "en")) for one in roomy.samples)
        config = load_config(sweep_file(tmp_path, str(tiny_llama), train={"max_length": longest + 6}))
        measurements = run.prepare(config, TASK, str(tiny_llama), [bare_design, make_design()], 4, (0, 4), 0)
        bare, asked = run.measure(measurements, str(tiny_llama), config, JsonlCache(tmp_path / "a.jsonl"))
        assert bare["4_shot"] is not None and bare["error"] == "" and bare["4_shot_fewer"] == 1.0
        assert asked["4_shot"] is None and asked["error"]
        notes = " ".join(conclude("t", "m", "weighted_kappa", [bare, asked], {}, (0, 4)).notes)
        assert "Of 4 demonstrations not all fit" in notes and "1 designs lack values" in notes

    def test_a_model_that_cannot_do_the_task_by_prompting_is_told(self) -> None:
        from sde_ray.pipeline.prompting.result import conclude

        rows = [{**row, "2_shot_adherence": 0.1 + n / 100} for n, row in enumerate(rows_of(lambda n: n, float)[:5])]
        found = conclude("t", "m", "weighted_kappa", rows, {}, (0, 2))
        assert "hardly does this task by prompting: in no design do more than 14% of its" in " ".join(found.notes)
        able = conclude("t", "m", "weighted_kappa", [*rows, {**rows[0], "2_shot_adherence": 0.9}], {}, (0, 2))
        assert able.notes == ()

    def test_a_changed_model_is_another_one(self, tiny_llama: Path, tmp_path: Path) -> None:
        import shutil

        copy = shutil.copytree(tiny_llama, tmp_path / tiny_llama.name)
        assert run.identity(str(copy)) == run.identity(str(tiny_llama))
        (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
        assert run.identity(str(copy)) != run.identity(str(tiny_llama))
        assert run.identity("org/name") == "org/name"

    def test_bad_input_is_one_message(self, tiny_llama: Path, tmp_path: Path) -> None:
        import shutil

        sweep = sweep_file(tmp_path, str(tiny_llama))
        told = call("analyze", sweep, "--tuned", "recorded", code=2).stderr
        assert "recorded table is of masa:d1 on tiny" in " ".join(told.split())
        assert "no list of numbers" in call("analyze", sweep, "--shots", "0,x", code=2).stderr
        few = {"name": "few", "kind": "label", "slots": ["a"], "labels": ["x", "y"], "data": {"format": "jsonl"}}
        for split, count in (("train", 3), ("dev", 2), ("test", 2)):
            rows = [{"text": f"{split} {n}", "answer": {"a": "x"}} for n in range(count)]
            (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            few["data"][split] = str(tmp_path / f"{split}.jsonl")  # type: ignore[index]
        values = {"task": few, "model": str(tiny_llama), "storage_path": str(tmp_path / "runs"), "train_sizes": [3]}
        (tmp_path / "few.yaml").write_text(json.dumps(values))
        assert "has 3 training examples" in " ".join(call("analyze", tmp_path / "few.yaml", code=2).stderr.split())
        bare = shutil.copytree(tiny_llama, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
        told = call("analyze", sweep_file(tmp_path, str(bare)), code=2).stderr
        assert "tokenizer" in told and "cannot be loaded" in told


@pytest.mark.slow
def test_each_design_is_a_run_in_mlflow_beside_the_trials(tmp_path: Path) -> None:
    from sde_ray.tracking.mlflow_tracker import MlflowTracker

    rows = rows_of(lambda n: n / 40, lambda n: 9.0 + n)[:3]
    for _ in range(2):  # the second time nothing is new
        tracker = MlflowTracker(f"sqlite:///{tmp_path}/m.db", "e")
        tracker.on_sweep_start("s", {}, tmp_path)
        prompting_runs.log(tracker, rows, [{"measure": "x"}], "<svg/>", "")
        tracker.on_sweep_end()
        prompting_runs.log_runs(f"sqlite:///{tmp_path}/m.db", "e", tmp_path, "s", "masa:d1", "tiny", rows)
    runs = tracker.client.search_runs([tracker.experiment_id], "tags.`sde.run` = 'analysis'")
    assert len(runs) == 3 and {one.info.status for one in runs} == {"FINISHED"}
    assert {one.data.tags["mlflow.parentRunId"] for one in runs} == {tracker.parent}
    assert sorted(one.data.metrics["untuned.prompt_perplexity"] for one in runs) == [9.0, 10.0, 11.0]
    with pytest.warns(UserWarning, match="MLflow failed in an analysis"):
        prompting_runs.log_runs(f"sqlite:///{tmp_path}/m.db", "other", tmp_path, "s", "masa:d1", "tiny", rows)
    files = {one.path for one in tracker.client.list_artifacts(tracker.parent)}
    assert {"analysis.json", "analysis_correlations.json", "analysis.svg"} <= files


def test_the_objective_may_be_another_metric(tiny_llama: Path, tmp_path: Path) -> None:
    config = check({"name": "x", "task": "masa:d1", "objective": {"metric": "accuracy"}})
    (look,) = run.prepare(config, TASK, str(tiny_llama), [make_design()], 2, (0,), 0)
    (usual,) = run.prepare(check({"name": "x", "task": "masa:d1"}), TASK, str(tiny_llama), [make_design()], 2, (0,), 0)
    assert look.metric == "accuracy" and look.key(0) != usual.key(0) and look.demonstrations == ()
