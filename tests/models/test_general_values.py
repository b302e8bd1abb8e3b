"""Values of plain texts: a passage's bits per byte, the likeliest ending; and what a trial does to them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from helpers.run_trial import run_trial

from sde_ray.config.trial import Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.evaluation.general_set import BUNDLED, GeneralItem, open_general_set
from sde_ray.models import base, general_values
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup


def test_values_are_those_of_each_text_alone(tiny_llama: Path) -> None:
    loaded = base.load_base(str(tiny_llama))
    items = [
        GeneralItem("Bees find their way back."),
        GeneralItem("Snow is", "white.", ("loud.", "a much longer ending than that.")),
        GeneralItem("Zürich 😀"),
    ]
    values = general_values.general_values(loaded.model, loaded.tokenizer, items, 1000)

    def log_likelihood(prompt: str, ending: str = "") -> float:
        before = loaded.tokenizer("a")["input_ids"][:-1]
        first = [*before, *loaded.tokenizer(prompt, add_special_tokens=False)["input_ids"]]
        ids = [*first, *(loaded.tokenizer(ending, add_special_tokens=False)["input_ids"] if ending else [])]
        with torch.inference_mode():
            logits = loaded.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        start = len(first) - 1 if ending else 0
        return float(sum(logits[n, ids[n + 1]] for n in range(start, len(ids) - 1)))

    for place in (0, 2):
        bits = -log_likelihood(items[place].text) / math.log(2) / len(items[place].text.encode())
        assert values[place] == pytest.approx(bits, rel=1e-5)
    by_ending = [log_likelihood("Snow is", " " + ending) / len(ending.encode()) for ending in items[1].endings]
    assert values[1] == float(by_ending[0] > max(by_ending[1:]))


@pytest.mark.slow
def test_a_far_too_high_rate_forgets_and_the_base_is_scored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two trials on one worker: one learns nothing and forgets nothing, the other destroys what it knew."""
    scored: list[int] = []
    real = general_values.general_values
    monkeypatch.setattr(general_values, "general_values", lambda *given: scored.append(1) or real(*given))
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    outcomes = {}
    for rate in (1e-12, 0.5):
        train = Train(learning_rate=rate)
        trial = TrialConfig("masa:d1", make_design(), "tiny", 0, 16, 1, train=train, general=BUNDLED)
        result = run_trial(runner, trial, tmp_path / str(rate))
        assert result.status == "finished", result.error
        outcomes[rate] = result.general
    runner.close()
    still, lost = outcomes.values()
    assert len(scored) == 3 and still["base_bits_per_byte"] == lost["base_bits_per_byte"]
    assert abs(still["difference"]) < 1e-6
    assert lost["difference"] - 3 * lost["standard_error"] > 0.1
    assert len(open_general_set(BUNDLED)) == 100
