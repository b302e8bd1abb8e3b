"""A trial whose texts are asked after demonstrations, slot by slot, in a grammar; its adapter is asked the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial

from sde_ray import data
from sde_ray.config.trial import Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.design.groups import SEPARATOR
from sde_ray.evaluation.predictions import read_predictions
from sde_ray.models.predictor import Predictor, read_card
from sde_ray.pipeline.robustness.decoding import Condition, _AdapterDecoder
from sde_ray.tasks import get_task
from sde_ray.training.worker import Worker

TASK = get_task("masa:d1")


@pytest.mark.slow
@pytest.mark.parametrize("decoding", ["greedy", "constrained"])
def test_a_trial_and_its_adapter_ask_alike(tmp_path: Path, decoding: str) -> None:
    if decoding == "constrained":
        pytest.importorskip("llguidance")
    design = make_design(format="lines", demonstrations=2, slots_per_sample=1, negatives=0.5, decoding=decoding)
    train = Train(learning_rate=6e-3, max_length=512)
    config = TrialConfig("masa:d1", design, "tiny", 1, 12, 8, splits=("dev", "test"), train=train)
    worker = Worker()
    worker.join(*worker.address())
    result = run_trial(runner_on(worker), config, tmp_path)
    assert result.status == "finished", result.error
    rows = read_predictions(tmp_path / "predictions.jsonl")
    assert {row.prediction.count(SEPARATOR) for row in rows} == {len(TASK.slots) - 1}
    drawn = data.draw(TASK.load("train"), 12, seed=1)
    card = read_card(tmp_path / "adapter")
    assert [(one.id, dict(one.answer)) for one in card.demonstrations] == [
        (one.id, dict(one.answer)) for one in drawn[:3]
    ]
    plain = TrialConfig("masa:d1", make_design(), "tiny", 1, 12, 8)
    assert "demonstrations" not in json.dumps(plain.resolved())

    kept = {row.id: row.prediction for row in rows if row.split == "test"}
    items = data.eval_items(TASK.load("test"), 8)
    served = Predictor.load(tmp_path).predict([one.text for one in items])
    assert [text for _, text in served] == [kept[one.id] for one in items]
    assert _AdapterDecoder()(config, tmp_path, Condition()) == kept
    if decoding == "constrained":
        assert result.scores["dev"]["format_adherence"] == 1.0
