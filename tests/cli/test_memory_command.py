"""`sde-ray memory`: cost first, then levels; what is measured is kept, and goes on after a kill."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.planted_memory import planted_sweep
from typer.testing import CliRunner, Result

from sde_ray.analysis.report.extras import read_extras
from sde_ray.cli.app import app
from sde_ray.config.load import load_config
from sde_ray.curation.memory.completions import MemoryMeter
from sde_ray.curation.memory.levels import fact_memory
from sde_ray.design.render import render_sample
from sde_ray.evaluation.predictions import Prediction, write_predictions
from sde_ray.pipeline.memory_study.trials import trained_study
from sde_ray.sweep.plan import plan
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.types import TrialResult

MEASURE = ["--samples", "25", "--templates", "8", "--max-new-tokens", "3", "--limit", "0"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_sweep(tmp_path_factory.mktemp("planted_sweep"))


def invoke(sweep: Path, *arguments: str) -> Result:
    templates = ["--templates-file", str(sweep.parent / "templates.jsonl")]
    return CliRunner().invoke(app, ["memory", str(sweep), *templates, *MEASURE, *arguments])


def test_the_cost_is_said_first(sweep: Path) -> None:
    done = invoke(sweep, "--dry-run")
    assert done.exit_code == 0, done.output
    cost = "50 of 50 facts to measure (40 train, 10 dev): x 8 templates x 25 samples = 10,000 completions of 3 tokens"
    assert cost in done.stderr and "time known after the first" in done.stderr
    assert not (sweep.parent / "runs").exists()


def test_levels_are_the_planted_ones_and_are_measured_once(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke(sweep)
    assert done.exit_code == 0, done.output
    assert re.search(r"whole words +40 +8 +8 +8 +8 +8\n", done.stdout), done.stdout
    assert re.search(r"R1 +20 +4 +4 +4 +4 +4\n", done.stdout) and "standard error of 0.0" in done.stdout
    assert "50 of 50 facts measured" in done.stderr
    cache = sweep.parent / "runs" / "planted" / "memory.jsonl"
    measured = json.loads(invoke(sweep, "--json").stdout)[0]
    levels = {name: row["level"]["words"] for name, row in measured["facts"].items()}
    assert len(levels) == 50
    assert all(level == (int(name.rpartition(":")[2]) - 1) % 5 for name, level in levels.items())
    assert measured["splits"]["train"]["tables"][0]["levels"]["D3"]["facts"] == 8

    # killed in the middle of a line: what is whole is kept, the rest is measured again and comes out the same
    lines = cache.read_bytes().split(b"\n")
    cache.write_bytes(b"\n".join([*lines[:30], lines[30][: len(lines[30]) // 2]]))
    calls: list[int] = []
    measure = MemoryMeter.__call__
    monkeypatch.setattr(
        MemoryMeter, "__call__", lambda self, facts, t: (calls.append(len(facts)), measure(self, facts, t))[1]
    )
    again = json.loads(invoke(sweep, "--json").stdout)[0]
    assert again == measured and 0 < sum(calls) < 50
    calls.clear()
    assert "all of 50 facts (40 train, 10 dev) are measured already" in invoke(sweep, "--dry-run").stderr
    assert json.loads((sweep.parent / "runs" / "planted" / "memory.json").read_text()) == measured and not calls


def test_levels_without_the_facts_for_a_size_are_told(sweep: Path) -> None:
    said = invoke(sweep, "--set", "train_sizes=[4,9,40]").stdout
    for level in range(5):
        assert f"memory_level={level} has 8 measured training facts: too few for 9, 40.\n" in said
    assert "Measure more facts (--limit), or leave these levels or sizes out" in said
    few = ("--set", "train_sizes=[4]", "--set", "axes.memory_level=[0,mixed]")
    assert "too few" not in invoke(sweep, *few).stdout


def test_further_names_of_answers_are_hits(sweep: Path, tmp_path: Path) -> None:
    """ "no" is what the planted model writes where it does not write the object."""
    aliases = tmp_path / "aliases.json"
    aliases.write_text('{"R1o0": ["no"], "R1o1": ["nothing"]}')
    named = ("--json", "--set", f"curation.memory_level.aliases={aliases}", "--set", "storage_path=" + str(tmp_path))
    facts, plain = (json.loads(invoke(sweep, *each).stdout)[0]["facts"] for each in (named, ["--json"]))
    changed = {name for name in facts if facts[name]["level"] != plain[name]["level"]}
    assert changed == {"R1.train:1", "R1.dev:1"} and plain["R1.train:1"]["level"]["words"] == 0
    assert facts["R1.train:1"]["level"] == {"words": 4, "substring": 4}


def test_what_cannot_be_measured_is_one_message(sweep: Path) -> None:
    done = CliRunner().invoke(app, ["memory", str(sweep), "--dry-run"])
    assert done.exit_code == 2
    assert "error: 2 relations have no completion templates: R1 (20 facts), R2 (20 facts)." in done.stderr
    done = CliRunner().invoke(app, ["memory", "quickstart", "--dry-run"])
    assert done.exit_code == 2 and 'The task "masa:d1" asks no closed-book questions' in done.stderr


def answer_as_trained(
    path: Path, levels: dict[str, dict[str, int]], is_right: Callable[[str, int, int], bool], noise: float = 0.1
) -> None:
    """Put made trials in the ledger: `is_right(model, level trained on, level asked)`, in all but a share of items."""
    config = load_config(path)
    for trial in plan(config).trials:
        examples = trial_examples(trial.task, "dev", trial.definition)
        task, random = trial_task(trial.task, trial.definition), np.random.default_rng(trial.seed)
        predictions = []
        for one in examples:
            trained, asked = int(trial.design["memory_level"]), levels[trial.model][one.id]
            right = is_right(trial.model, trained, asked) != (random.random() < noise)
            answer = one.answer if right else {"answer": ("nowhere",)}
            sample = render_sample(replace(one, answer=answer), task, trial.design)
            predictions.append(Prediction(one.id, "dev", sample.completion.text))
        config.run_dir.trial(trial.key).mkdir(parents=True)
        write_predictions(config.run_dir.predictions(trial.key), predictions)
        config.run_dir.ledger.append(TrialResult(trial.key, trial.resolved(), "finished", {"dev": {"accuracy": 0.5}}))


def levels_by_model(path: Path) -> dict[str, dict[str, int]]:
    measured = json.loads(invoke(path, "--json").stdout)
    assert all(one["findings"] == {} for one in measured)
    return {one["model"]: {name: row["level"]["words"] for name, row in one["facts"].items()} for one in measured}


@pytest.mark.slow
def test_several_models_are_each_measured_and_told_apart(tmp_path: Path) -> None:
    """On one model the facts that it knows best teach best, on the other those that it knows least."""
    path = planted_sweep(tmp_path, train=10, dev=20, opposite=True)
    levels = levels_by_model(path)
    first, other = levels
    assert all(levels[other][name] == 4 - level for name, level in levels[first].items())
    answer_as_trained(path, levels, lambda model, trained, asked: asked > 2 or trained == (4 if model == first else 0))
    done = invoke(path)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert f"Which level teaches best? ({first}) all items: D4, above every other" in said
    assert f"Which level teaches best? ({other}) all items: D0, above every other" in said
    assert f"every model? No: how much a level helps depends on the model: D0: {first} against {other} -0." in said
    sections = "".join(map(str, read_extras(load_config(path).run_dir.path)))
    assert "Is it the same for every model? (dev)" in sections and f"D4: {first}" in sections


def test_once_trials_have_ended_the_four_questions_are_answered(tmp_path: Path) -> None:
    """Trials whose answers are made: right on the items of the level that they were trained on, and on nothing else."""
    path = planted_sweep(tmp_path, train=10, dev=40)
    levels = levels_by_model(path)
    answer_as_trained(path, levels, lambda model, trained, asked: trained == asked)
    assert len(load_config(path).run_dir.results()) == 5 * 3 * 2
    done = invoke(path)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "What the trials say, dev:" in said and "Is 2 enough? " in said
    assert "Which level teaches best? all items: no level is shown to be best" in said
    assert "Does training on a level help that level most? all items: yes, +0.8" in said
    assert "within relations: yes, +0.8" in said
    assert "Is it the same for every model? Not known: one model was tried." in said
    sections = "".join(map(str, read_extras(load_config(path).run_dir.path)))
    assert "What does the untuned" in sections and "Does training on a level help that level most? (dev)" in sections
    result = json.loads(invoke(path, "--json").stdout)[0]
    assert result["findings"]["dev"][2]["rows"][0]["claim"] == "better"
    assert len(result["accuracy"]["dev"]) == 5 * 2
    for row in result["accuracy"]["dev"]:
        assert row["seeds"] == 3 and row["mean"] == pytest.approx(sum(row[f"D{level}"] for level in range(5)) / 5)
        own = row.pop(f"D{row['trained_on']}")
        assert own > 0.75 and all(row[name] < 0.25 for name in row if name.startswith("D"))

    # a further name of the wrong answer makes it right in the study, and only there
    table = {f"{relation}o{n}": ["nowhere"] for relation in ("R1", "R2") for n in range(40)}
    (tmp_path / "aliases.json").write_text(json.dumps(table))
    config = load_config(path, [f"curation.memory_level.aliases={tmp_path / 'aliases.json'}"])
    memories = [fact_memory(name, row) for name, row in result["facts"].items() if row["split"] == "dev"]
    lenient = trained_study(config, "places", {config.model[0]: {"dev": memories}}, "words")["dev"]
    assert [row["mean"] for row in lenient.accuracy] == pytest.approx([1.0] * 10)
