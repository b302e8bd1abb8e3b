"""`sde-ray plan` as a user meets it: what the sweep reads and whether its model loads, before anything is paid for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sde_ray.cli.app import app

SWEEP = {"task": "masa:d1", "designs": ["baseline", "ew-sde"], "search": {"method": "grid"}, "train_sizes": 40}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps({**SWEEP, "storage_path": str(tmp_path / "runs")}))
    return path


def plan(sweep: Path, *words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["plan", str(sweep), *words], env={"COLUMNS": "300"})
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_metric_items_model_and_legend_are_told(sweep: Path) -> None:
    text = plan(sweep).stdout
    assert "metric   masa:d1: weighted_kappa on dev (agreement beyond chance, near misses count in part; 1 = " in text
    assert "data     masa:d1: 2000 train / 500 dev / 1000 test items; a trial is scored on 200, the final" in text
    assert "model    tiny: configuration and tokenizer load, context of 1024 tokens" in text
    assert "PU: what is not mentioned has a placeholder, OU: what is not mentioned is left out" in text
    data = json.loads(plan(sweep, "--json").stdout)["data"]
    assert data[0]["items"] == {"train": 2000, "dev": 500, "test": 1000} and data[0]["scored"] == 200


def test_a_model_that_cannot_be_loaded_is_told_unless_it_is_elsewhere(sweep: Path) -> None:
    words = ("--set", "model=/models/of/the/cluster")
    refused = " ".join(plan(sweep, *words, code=2).stderr.split())
    assert "is not a model: it has no config.json" in refused and "sde-ray plan --no-model" in refused
    assert "2 trials" in plan(sweep, *words, "--no-model").stdout


def test_a_hub_that_is_away_is_a_note(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    shown = plan(sweep, "--set", "model=org/not-in-the-cache")
    assert "note:" in shown.stderr and "it was not checked" in shown.stderr
    assert "model    org/not-in-the-cache: not on this machine" in shown.stdout


def test_memory_is_told_and_refused_before_it_is_paid_for(sweep: Path) -> None:
    shown = plan(sweep).stdout
    assert "memory   tiny: " in shown and "in float32 on a CPU, 4 samples of up to" in shown
    memory = json.loads(plan(sweep, "--json").stdout)["memory"][0]
    assert 5e6 < memory["weights"] < 1e7 and memory["training"] > memory["weights"] + memory["activations"]
    roomy = json.loads(plan(sweep, "--json", "--gpu-memory", "40").stdout)["memory"][0]
    assert roomy["gpu"] and roomy["weights"] == pytest.approx(memory["weights"] / 2, rel=0.01)
    refused = " ".join(plan(sweep, "--gpu-memory", "1.0", code=2).stderr.split())
    assert "A trial of tiny does not fit" in refused and "Set train.gradient_checkpointing: true" in refused
    halved = ("--set", "train.train_batch_size=64", "--gpu-memory", "1.6")
    assert "will be cut into smaller parts" in plan(sweep, *halved).stderr


def test_an_adapter_that_the_model_cannot_take_is_refused(sweep: Path) -> None:
    refused = " ".join(plan(sweep, "--set", "lora.target_modules=[qkv]", code=2).stderr.split())
    assert "LoRA finds nothing to adapt for lora.target_modules" in refused and "q_proj" in refused
