"""Ids and labels of samples: what counts for the loss, what is cut, what a tokenizer cannot write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from sde_ray.errors import UserError
from sde_ray.models.tokenization import (
    IGNORE_INDEX,
    Encoder,
    bos_prefix,
    completion_text,
    eos_token_id,
    missing_characters,
    pad_token_id,
)
from sde_ray.types import Sample, Segment

CHAT = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


@pytest.fixture
def tokenizer(tiny_llama: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_llama)


def sample(text: str = "good food", instruction: str = "Rate:", loss: bool = False, completion: str = "1") -> Sample:
    prompt = (
        Segment(text, loss, "text"),
        Segment("\n", loss, "glue"),
        Segment(instruction, loss, "instruction"),
    )
    return Sample("s1", prompt, Segment(completion, True, "completion"))


def test_segments_are_tokenized_one_by_one(tokenizer: Any) -> None:
    (row,) = Encoder(tokenizer, 100).samples([sample()])
    parts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("good food", "\n", "Rate:", "1")]
    assert list(row.input_ids) == [i for part in parts for i in part] + [2]
    assert row.completion == (*parts[3], 2)


def test_loss_covers_the_completion_and_its_end(tokenizer: Any) -> None:
    (row,) = Encoder(tokenizer, 100).samples([sample()])
    assert row.labels == (IGNORE_INDEX,) * len(row.prompt) + row.completion
    assert row.num_loss_tokens == len(row.completion)


def test_the_end_token_spelled_in_a_text_is_text(tokenizer: Any) -> None:
    (row,) = Encoder(tokenizer, 100).samples([sample(text="so </s> good", completion="a </s>")])
    assert row.input_ids.count(2) == 1 and row.input_ids[-1] == 2


def test_input_modeling_counts_every_token(tokenizer: Any) -> None:
    (row,) = Encoder(tokenizer, 100).samples([sample(loss=True)])
    assert row.labels == row.input_ids
    assert row.num_loss_tokens == len(row.input_ids) - 1, (
        "the first token of a sequence has nothing to be predicted from"
    )


def test_prompt_is_the_same_at_inference(tokenizer: Any) -> None:
    encoder = Encoder(tokenizer, 30)
    one = sample(text="good food, " * 10, completion="food: positive")
    for reserve in (0, 12, 16):
        encoded = encoder.samples([one], reserve)[0]
        needed = max(reserve, len(encoded.completion))
        assert encoder.prompts([("s1", one.prompt)], needed) == [encoded.prompt]


def test_only_the_text_is_cut_from_its_end(tokenizer: Any) -> None:
    one = sample(text="good food, " * 10, completion="food: positive")
    whole = Encoder(tokenizer, 500).samples([one])[0]
    row = Encoder(tokenizer, 30).samples([one])[0]
    assert len(row.input_ids) == 30
    assert row.num_truncated == len(whole.input_ids) - 30 > 0
    tail = (
        tokenizer("\n", add_special_tokens=False)["input_ids"]
        + tokenizer("Rate:", add_special_tokens=False)["input_ids"]
    )
    assert list(row.prompt[-len(tail) :]) == tail
    kept = len(row.prompt) - len(tail)
    assert row.prompt[:kept] == whole.prompt[:kept]
    assert row.completion == whole.completion


def test_what_cannot_be_cut_is_refused_with_sizes(tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"s1 does not fit.* 30, .*context of 20"):
        Encoder(tokenizer, 20).samples([sample()], completion_budget=30)


def test_a_sample_without_anything_to_learn_is_refused(tokenizer: Any) -> None:
    nothing = Sample("s9", (), Segment("", True, "completion"))
    with pytest.raises(UserError, match="s9 has no token to learn"):
        Encoder(tokenizer, 20).samples([nothing])


def test_chat_template_frames_the_prompt_and_never_counts(tokenizer: Any) -> None:
    tokenizer.chat_template = CHAT
    one = sample(loss=True)
    (row,) = Encoder(tokenizer, 100).samples([one])
    content = "".join(segment.text for segment in one.prompt)
    rendered = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.decode(row.prompt) == rendered
    before = tokenizer("<s>user: ", add_special_tokens=False)["input_ids"]
    after = tokenizer("</s><s>assistant: ", add_special_tokens=False)["input_ids"]
    assert row.labels[: len(before)] == (IGNORE_INDEX,) * len(before)
    assert row.labels[len(row.prompt) - len(after) : len(row.prompt)] == (IGNORE_INDEX,) * len(after)
    assert row.num_loss_tokens == len(row.input_ids) - len(before) - len(after)
    plain = Encoder(tokenizer, 100, chat="off").samples([one])[0]
    assert plain.prompt == row.prompt[len(before) : -len(after)]


def test_a_template_that_hides_the_message_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = "nothing of it"
    with pytest.raises(UserError, match="chat_template: off"):
        Encoder(tokenizer, 100)


def test_begin_token_by_the_tokenizers_own_rule(tokenizer: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    assert bos_prefix(tokenizer) == ()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    assert bos_prefix(tokenizer) == (1,)
    (row,) = Encoder(tokenizer, 100).samples([sample(loss=True)])
    assert row.input_ids[0] == 1 and row.input_ids.count(1) == 1
    assert row.labels[0] == IGNORE_INDEX


def test_missing_end_and_pad_tokens(tokenizer: Any) -> None:
    tokenizer.pad_token = None
    assert pad_token_id(tokenizer) == eos_token_id(tokenizer) == 2
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="eos_token"):
        Encoder(tokenizer, 100)


def test_every_character_survives_a_byte_level_tokenizer(tokenizer: Any) -> None:
    text = "{\"食物\": 'gut', é\n\t#%}，。😀"
    assert missing_characters(tokenizer, [text, "plain"]) == set()
    assert completion_text(tokenizer, tokenizer(text)["input_ids"]) == text


@pytest.mark.realdata
def test_a_foreign_tokenizer_lacks_characters(realdata: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(realdata / "models" / "TinyStories-656K")
    lacking = set("#%&()*+/=@[\\]^`{}~é食")
    assert missing_characters(tokenizer, ['food: positive, 1 or -2; "x"?', "".join(lacking)]) == lacking


@pytest.mark.parametrize("kind", ["normalizer", "pre-tokenizer", "none"])
def test_segments_have_the_ids_of_the_whole_text(kind: str) -> None:
    """Also with a tokenizer of SentencePiece's kind, which puts a space before each text that it is given."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=False, unk_token="<unk>"))
    if kind == "normalizer":  # as Llama 2 and Phi-3 have it
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    elif kind == "pre-tokenizer":  # as newer ones have it
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel() if kind == "none" else decoders.Metaspace()
    texts = ["Great food.", "\nRate the review.", "\nfood: ", "1"]
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=["<unk>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(["".join(texts).replace("\n", " \n "), *texts, "a | 1"] * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>")
    whole = fast("".join(texts[:3]), add_special_tokens=False)["input_ids"]
    encoder = Encoder(fast, 100, "off")
    prompt = tuple(Segment(text, True) for text in texts[:3])
    sample = Sample("s", prompt, Segment(texts[3], True, "completion"))
    assert encoder.prompts([("p", prompt)], 5) == [tuple(whole)]
    assert encoder.length(prompt) == len(whole)
    assert fast.convert_ids_to_tokens(encoder.completions([sample])[0]) == ["1", "</s>"]
