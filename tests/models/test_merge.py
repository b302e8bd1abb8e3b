"""A merged folder: the adapter's answers without the adapter, for this package and for plain transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_merged_lora import adapted
from transformers import AutoModelForCausalLM, AutoTokenizer

from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import NAMED
from sde_ray.errors import UserError
from sde_ray.models.lora import save_adapter
from sde_ray.models.merge import merge_adapter
from sde_ray.models.predictor import ADAPTER_CARD, Predictor, write_card
from sde_ray.models.tokenization import chat_frame

TEXTS = ["Great soup, rude waiter.", "We waited for an hour.", "x"]
CHAT = (
    "{% for m in messages %}<s>{{ m.role }}\n{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
DATED = "{{ strftime_now('%d %B %Y') }}" + CHAT


def make_adapter(folder: Path, base: Path, chat: str = "auto", **settings: Any) -> Path:
    """An adapter that has learned something, with its card."""
    save_adapter(adapted(base, **settings), folder)
    config = TrialConfig(
        task="masa:d1", design=NAMED["es-sde"], model=str(base), seed=0, train_size=1, eval_size=1, chat_template=chat
    )  # type: ignore[arg-type]
    frame = chat_frame(AutoTokenizer.from_pretrained(base), chat)  # type: ignore[arg-type]
    write_card(folder, config, 24, frame)
    return folder


def with_template(base: Path, folder: Path, template: str | None) -> Path:
    """The tiny model with a chat template."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = template
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("template", [None, CHAT, DATED], ids=["plain", "chat", "dated"])
def test_a_merged_folder_answers_as_the_adapter(tiny_llama: Path, tmp_path: Path, template: str | None) -> None:
    """By `Predictor`, and by transformers from a chat whose user's message is the whole prompt."""
    base = with_template(tiny_llama, tmp_path / "base", template)
    adapter = make_adapter(tmp_path / "adapter", base)
    report = merge_adapter(adapter, tmp_path / "merged")
    assert report.deviation <= report.tolerance == 1e-3 and report.same_tokens == report.positions
    assert not (tmp_path / "merged.new").exists()
    expected = Predictor.load(adapter).predict(TEXTS)
    merged = Predictor.load(tmp_path / "merged")
    assert merged.predict(TEXTS) == expected
    assert len({completion for _, completion in expected}) > 1
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    prompts = merged._asking.prompts("x", TEXTS[0])
    prompt = "".join(segment.text for segment in prompts[0][1])
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    assert tokenizer.decode(ids[0]) == tokenizer.decode(merged._decoder.encoder.prompts(prompts, 24)[0])
    new = model.generate(input_ids=ids, max_new_tokens=24)[0, ids.shape[1] :]
    assert model.generation_config.do_sample is False
    assert tokenizer.decode(new, skip_special_tokens=True)[:10] == expected[0][1][:10]
    assert (tokenizer.chat_template == CHAT) == (template == CHAT)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"modules_to_save": ("lm_head",)}], ids=["dora", "saved"])
def test_what_is_no_sum_of_weights_merges_by_peft(tiny_llama: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny_llama, **settings)
    report = merge_adapter(adapter, tmp_path / "merged")
    assert report.deviation <= report.tolerance
    assert Predictor.load(tmp_path / "merged").predict(TEXTS) == Predictor.load(adapter).predict(TEXTS)


def test_in_half_precision_the_difference_is_told(tiny_llama: Path, tmp_path: Path) -> None:
    report = merge_adapter(make_adapter(tmp_path / "adapter", tiny_llama), tmp_path / "merged", "bfloat16")
    assert report.dtype == "bfloat16" and 0 < report.deviation <= report.tolerance


def test_a_sum_that_answers_otherwise_is_refused(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sde_ray.models import merge

    adapter = make_adapter(tmp_path / "adapter", tiny_llama)
    monkeypatch.setattr(merge.merged_lora, "merged_weight", lambda weight, layer: weight)
    with pytest.raises(UserError, match=r"off by .* 0.001 is allowed in float32"):
        merge_adapter(adapter, tmp_path / "merged")
    monkeypatch.setattr(merge.merged_lora, "merged_weight", lambda weight, layer: weight * float("nan"))
    with pytest.raises(UserError, match="is not finite"):
        merge_adapter(adapter, tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter"]


def test_what_cannot_be_merged_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tmp_path / "adapter", tiny_llama)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(UserError, match="is there already"):
        merge_adapter(adapter, tmp_path / "full")
    card = json.loads((adapter / ADAPTER_CARD).read_text())
    for changes, message in (
        ({"quantization": "nf4"}, "trained on a base in nf4"),
        ({"trust_remote_code": True}, "--trust-remote-code"),
        ({"merged": True}, "merged already"),
    ):
        (adapter / ADAPTER_CARD).write_text(json.dumps({**card, **changes}))
        with pytest.raises(UserError, match=message):
            merge_adapter(adapter, tmp_path / "merged")
