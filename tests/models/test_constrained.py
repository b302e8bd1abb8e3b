"""Constrained decoding: completions in the grammar, the same where greedy ones are, whatever the batch."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial

from sde_ray import data
from sde_ray.config.trial import Train, TrialConfig
from sde_ray.design.answer_end import answer_end
from sde_ray.design.designs import make_design
from sde_ray.design.render import parse_completion, prompt_of
from sde_ray.errors import UserError
from sde_ray.evaluation.predictions import read_predictions
from sde_ray.models.backends.request import BackendSettings, Request
from sde_ray.models.backends.vllm import Vllm
from sde_ray.models.base import LoadedModel, load_base
from sde_ray.models.constrained import make_constraint
from sde_ray.models.decoder import LoraDecoder
from sde_ray.models.generation import Sampling
from sde_ray.models.predictor import Predictor
from sde_ray.tasks import get_task
from sde_ray.training.worker import Worker

pytest.importorskip("llguidance")

TASK = get_task("masa:d1")
GREEDY = make_design(format="lines")
CONSTRAINED = make_design(format="lines", decoding="constrained")
WORDS = 'start: "good" | "bad" " food"?\n'


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_base("tiny")


def completions(loaded: LoadedModel, batch_size: int, sampling: Sampling | None = None) -> list[str]:
    """Of an untrained model, which writes no answer by itself."""
    examples = data.eval_items(TASK.load("dev"), 4)
    prompts = [(one.id, prompt_of(one.text, TASK, CONSTRAINED)) for one in examples]
    ends = [None, *(answer_end(TASK, CONSTRAINED, one.text) for one in examples[1:])]
    decoder = LoraDecoder(loaded, max_length=512)
    return decoder.generate(prompts, 40, batch_size=batch_size, ends=ends, sampling=sampling, share_prefix=False)[0]


def test_answers_are_in_the_grammar_in_any_batch_greedy_or_drawn(loaded: LoadedModel):
    alone = completions(loaded, 1)
    assert completions(loaded, 3) == alone
    assert parse_completion(alone[0], TASK, GREEDY).faults  # the first prompt is free
    assert [parse_completion(text, TASK, GREEDY).faults for text in alone[1:]] == [()] * 3
    drawn = completions(loaded, 3, Sampling(1, temperature=2.0, top_p=1.0))
    assert parse_completion(drawn[0], TASK, GREEDY).faults
    assert [parse_completion(text, TASK, GREEDY).faults for text in drawn[1:]] == [()] * 3


def test_the_likeliest_is_taken_of_what_is_allowed(loaded: LoadedModel):
    def ids(text: str) -> list[int]:
        return loaded.tokenizer(text, add_special_tokens=False)["input_ids"]

    (end,) = loaded.eos_token_ids
    good, bad, food = ids("good")[0], ids("bad")[0], ids(" food")[0]
    constraint = make_constraint(loaded.tokenizer, [end], [WORDS, "", WORDS])
    choose = constraint(lambda logits, rows, counts: logits.argmax(-1), greedy=True)
    logits = torch.zeros(3, loaded.model.config.vocab_size)
    logits[:, food], logits[:, bad], logits[:, end] = 3.0, 2.0, 1.0
    assert choose(logits, [0, 1, 2], [0, 0, 0]).tolist() == [bad, food, bad]
    logits[:, good] = 9.0  # not after "bad"
    assert choose(logits, [0, 1, 2], [1, 1, 1]).tolist() == [food, good, food]
    assert choose(logits, [0, 1, 2], [2, 2, 2]).tolist() == [end, good, end]
    assert choose(logits[:2], [2, 0], [0, 3]).tolist() == [good, good]  # anew; finished, so that it does not matter
    # A batch names the prompt of a live slot again where one is idle; the first is the live one.
    assert choose(logits[:2], [2, 2], [1, 1]).tolist() == [end, good]


def test_what_cannot_be_constrained_is_said(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch):
    assert make_constraint(loaded.tokenizer, [2], ["", ""]) is None
    constraint = make_constraint(loaded.tokenizer, [2], ["start: ("])
    choose = constraint(lambda logits, rows, counts: logits.argmax(-1), greedy=True)
    with pytest.raises(UserError, match="cannot use the grammar of the design"):
        choose(torch.zeros(1, 2048), [0], [0])
    with pytest.raises(UserError, match="vllm is not told the grammar"):
        backend = Vllm.__new__(Vllm)
        backend.loaded, backend.settings = loaded, BackendSettings(64)
        backend.generate(None, [[1]], Request((2,), 4, constraint=constraint))
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UserError, match=r"pip install .*constrained"):
        make_constraint(loaded.tokenizer, [2], [WORDS])


@pytest.mark.slow
def test_a_trained_adapter_answers_the_same_where_it_had_no_fault_and_is_served_so(tmp_path: Path):
    greedy = TrialConfig("masa:d1", GREEDY, "tiny", 0, 24, 30, train=Train(learning_rate=6e-3))
    worker = Worker()
    worker.join(*worker.address())
    texts = {}
    for name, config in {"greedy": greedy, "constrained": replace(greedy, design=CONSTRAINED)}.items():
        result = run_trial(runner_on(worker), config, tmp_path / name)
        assert result.status == "finished", result.error
        texts[name] = {row.id: row.prediction for row in read_predictions(tmp_path / name / "predictions.jsonl")}
        texts[name + " adherence"] = result.scores["dev"]["format_adherence"]
    valid = [one for one, text in texts["greedy"].items() if not parse_completion(text, TASK, GREEDY).faults]
    assert 0 < len(valid) < 30 and texts["constrained adherence"] == 1.0
    assert [texts["constrained"][one] for one in valid] == [texts["greedy"][one] for one in valid]

    items = data.eval_items(TASK.load("dev"), 30)
    served = Predictor.load(tmp_path / "constrained").predict([one.text for one in items])
    assert [text for _, text in served] == [texts["constrained"][one.id] for one in items]
