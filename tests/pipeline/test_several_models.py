"""One sweep over a base model and a chat model: each gets its prompts in its own way, and both are held together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.run_trial import run_trial
from transformers import AutoTokenizer

from sde_ray.analysis.cross_study import cross_studies
from sde_ray.analysis.study import studies
from sde_ray.config.load import check, write_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.models.predictor import read_card
from sde_ray.pipeline import run
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep.plan import Plan, plan
from sde_ray.sweep.tokenizer_check import drop_unencodable
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import TrialResult

TEMPLATE = (
    "{% for m in messages %}<user>{{ m.content }}</user>{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)
FRAME = "<user></user><bot>"


@pytest.fixture(scope="module")
def chat(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights with a chat template."""
    folder = shutil.copytree(tiny_llama, tmp_path_factory.mktemp("models") / "chat")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def swept(
    tiny_llama: Path, chat: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SweepConfig, list[TrialResult]]:
    """Six designs on both models, on one worker that takes its bases in turn."""
    values = {
        "name": "both", "task": "masa:d1", "out_of_domain": [], "model": [str(tiny_llama), str(chat)],
        "axes": {"format": ["natural", "lines", "json"], "unmentioned": ["placeholder", "omit"],
        "instruction": "first", "input_modeling": "off", "labels": "text", "reasoning": "none"},
        "search": {"method": "grid", "points_to_evaluate": []}, "train_sizes": [4], "eval_size": 3,
        "train": {"learning_rate": 0.01},
        "generation": {"max_new_tokens": 6}, "storage_path": str(tmp_path_factory.mktemp("runs")),
    }  # fmt: skip
    config = check(values)
    write_sweep(config)
    folder, runner, results = config.run_dir.path, TrialRunner(WorkerGroup(RunnerResources(), in_process=True)), []
    for trial in plan(config).trials:
        results.append(run_trial(runner, trial, folder / "trials" / trial.key))
        Ledger(folder / "ledger.jsonl").append(results[-1])
    runner.close()
    return config, results


@pytest.mark.slow
def test_each_model_reads_its_prompts_in_its_own_way(
    swept: tuple[SweepConfig, list[TrialResult]], tiny_llama: Path, chat: Path
) -> None:
    _, results = swept
    assert len(results) == 12 and {(one.status, one.error) for one in results} == {("finished", "")}
    frame = len(AutoTokenizer.from_pretrained(chat)(FRAME, add_special_tokens=False)["input_ids"])
    prompts: dict[str, dict[str, float]] = {}
    for one in results:
        prompts.setdefault(one.config["model"], {})[json.dumps(one.config["design"])] = one.tokens["prompt"]
    assert set(prompts) == {str(tiny_llama), str(chat)} and frame > 5
    for design, length in prompts[str(tiny_llama)].items():
        assert prompts[str(chat)][design] == length + frame


@pytest.mark.slow
def test_their_findings_stand_side_by_side(
    swept: tuple[SweepConfig, list[TrialResult]], tiny_llama: Path, chat: Path
) -> None:
    config, results = swept
    (family,) = cross_studies(studies(config, results))
    assert family.kind == "models" and family.groups == (str(tiny_llama), str(chat))
    assert {(row.axis, row.option) for row in family.rows} == {
        ("format", "lines"), ("format", "json"), ("unmentioned", "omit"),
    }  # fmt: skip
    assert all(set(row.signs) == set(family.groups) and row.verdict for row in family.rows)
    (config.run_dir.report).write_text("")
    page = run.refresh_report(config)
    assert page is not None and "Consistency over models" in page.read_text()


def test_the_chat_template_may_be_an_axis(tiny_llama: Path, chat: Path, tmp_path: Path) -> None:
    def planned(model: Path, chat_template: list[str]) -> Plan:
        axes = {"format": "lines", "unmentioned": "omit", "instruction": "first", "labels": "text"}
        values = {
            "name": "chat", "task": "masa:d1", "out_of_domain": [], "model": str(model), "seeds": [0],
            "axes": {**axes, "input_modeling": "off", "reasoning": "none", "chat_template": chat_template},
            "search": {"method": "grid", "points_to_evaluate": []}, "train_sizes": [4], "eval_size": 2,
            "generation": {"max_new_tokens": 6}, "storage_path": str(tmp_path),
        }  # fmt: skip
        return drop_unencodable(plan(check(values)))

    trials = {trial.design["chat_template"]: trial for trial in planned(chat, ["configured", "auto", "off"]).trials}
    assert {option: trial.chat_template for option, trial in trials.items()} == {
        "configured": "auto", "auto": "auto", "off": "off",
    }  # fmt: skip
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    results = {option: run_trial(runner, trial, tmp_path / option) for option, trial in trials.items()}
    frame = len(AutoTokenizer.from_pretrained(chat)(FRAME, add_special_tokens=False)["input_ids"])
    prompts = {option: result.tokens["prompt"] for option, result in results.items()}
    assert prompts["auto"] == prompts["configured"] > prompts["off"] > prompts["auto"] - frame - 1
    assert results["auto"].scores == results["configured"].scores
    assert read_card(tmp_path / "off" / "adapter").chat_template == "off"
    with pytest.raises(UserError, match="has no chat template, so all options make the same samples"):
        planned(tiny_llama, ["auto", "off"])
