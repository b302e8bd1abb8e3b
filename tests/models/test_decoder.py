"""The decoder: one rule for the completion budget, and the same completions wherever an adapter is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.run_trial import run_trial

from sde_ray import data
from sde_ray.config.load import check
from sde_ray.config.trial import Generation, Train, TrialConfig
from sde_ray.design.answer_end import answer_end
from sde_ray.design.designs import make_design
from sde_ray.evaluation import batch_retries
from sde_ray.models.base import load_base
from sde_ray.models.decoder import LOOK_EVERY, LoraDecoder, completion_budget
from sde_ray.models.lora import load_adapter
from sde_ray.models.predictor import Predictor, find_adapter
from sde_ray.models.tokenization import Encoder
from sde_ray.pipeline.prompting.measurement import measurements
from sde_ray.pipeline.prompting.run import _UntunedModel
from sde_ray.pipeline.robustness.decoding import Condition, _AdapterDecoder
from sde_ray.tasks import get_task
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Sample, Segment

TASK = get_task("masa:d1")


def sample(text: str, completion: str) -> Sample:
    prompt = (Segment("Rate it: ", False, "instruction"), Segment(text, False, "text"))
    return Sample("s", prompt, Segment(completion, True, "completion"))


def test_the_completion_budget_is_half_as_much_again_as_the_longest_gold_completion(tiny_llama: Path) -> None:
    tokenizer = load_base(str(tiny_llama)).tokenizer
    samples = [sample("good food", "food: positive"), sample("bad", "food: positive, drinks: negative")]
    longest = max(map(len, Encoder(tokenizer, 4000).completions(samples)))
    fixed = Encoder(tokenizer, 4000).fixed_length(samples[0].prompt)
    assert completion_budget(None, Encoder(tokenizer, 4000), samples) == int(1.5 * longest) > longest > 3
    assert completion_budget(7, Encoder(tokenizer, 4000), samples) == 7, "as set"
    tight = Encoder(tokenizer, fixed + 2 * longest + 2)
    assert completion_budget(None, tight, samples) == longest + 1, "at most half of what the instruction leaves"
    full = Encoder(tokenizer, fixed + longest)
    assert completion_budget(None, full, samples) == longest, "but never less than the gold completion"


def test_trial_predict_robustness_and_prompting_give_the_same_completions(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same adapter, same prompts. Each decodes in other batches."""
    config = TrialConfig(
        "masa:d1", make_design(), str(tiny_llama), 1, train_size=16, eval_size=7, splits=("test",),
        train=Train(learning_rate=2e-2, num_train_epochs=4, max_length=2048),
        generation=Generation(batch_size=3, max_new_tokens=12),
    )  # fmt: skip
    runner = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    assert run_trial(runner, config, tmp_path).status == "finished"
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    expected = {row["id"]: row["prediction"] for row in rows}
    assert len(set(expected.values())) > 2, "completions that are all alike would prove nothing"

    test = TASK.load("test")
    examples = [example for example in data.eval_items(test, 7) if example.id in expected]
    predictions = Predictor.load(tmp_path).predict([example.text for example in examples], batch_size=2)
    assert {example.id: text for example, (_, text) in zip(examples, predictions, strict=True)} == expected

    assert _AdapterDecoder()(config, tmp_path, Condition()) == expected

    values: dict[str, Any] = {"name": "x", "task": "masa:d1", "model": str(tiny_llama), "train_sizes": [16]}
    values |= {"train": {"max_length": 2048}, "generation": {"batch_size": 4, "max_new_tokens": 12}}
    sweep = check({**values, "storage_path": str(tmp_path / "runs")})
    untuned = _UntunedModel(str(tiny_llama), sweep)
    untuned.decoder.peft_model = load_adapter(untuned.decoder.loaded.model, find_adapter(tmp_path))
    generated: list[str] = []
    parse = batch_retries.parse_completion
    monkeypatch.setattr(
        batch_retries, "parse_completion", lambda text, *more: (generated.append(text), parse(text, *more))[1]
    )
    (measurement,) = measurements(sweep, TASK, "tiny", [config.design], examples, [], (0,))
    assert "score" in untuned(measurement, 0)
    prompting = dict(zip((example.id for example in examples), generated, strict=True))
    assert prompting == {id: text.lstrip("\n").partition("\n\n")[0] for id, text in expected.items()}


def test_a_decoder_without_an_adapter_is_the_base_model(tiny_llama: Path) -> None:
    """`max_length` is held to the model's own limit, and what ends a completion can be widened."""
    loaded = load_base(str(tiny_llama))
    decoder = LoraDecoder(loaded, max_length=10**6)
    assert decoder.encoder.max_length == loaded.max_positions
    prompts = [("a", sample("good", "").prompt)]
    (text,), count = decoder.generate(prompts, 5)
    assert 0 < count <= 5 and text
    everything = range(len(loaded.tokenizer))
    assert decoder.generate(prompts, 5, stop_token_ids=everything) == ([""], 0)


def test_a_settled_answer_ends_its_own_completion_only(tiny_llama: Path) -> None:
    """No text of this random model is an object, so each is settled at the first look; of a format of rows none is."""
    decoder = LoraDecoder(load_base(str(tiny_llama)), max_length=10**6)
    prompts = [(word, sample(word, "").prompt) for word in ("good", "bad food", "a")]
    whole, _ = decoder.generate(prompts, 30)
    ends = [answer_end(TASK, make_design(format=name)) for name in ("json_object", "lines", "json_object")]
    texts, count = decoder.generate(prompts, 30, ends=ends)
    assert count == 2 * LOOK_EVERY + 30
    assert texts[1] == whole[1] and all(w.startswith(t) and t != w for t, w in zip(texts[::2], whole[::2], strict=True))
