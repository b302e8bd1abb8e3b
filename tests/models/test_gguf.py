"""A GGUF file is a base like any other: the same numbers as the model it was made from, trained, saved and applied."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.run_trial import run_trial
from transformers import AutoModelForCausalLM

from sde_ray.config.trial import Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.models import gguf
from sde_ray.models.base import load_base
from sde_ray.models.predictor import Predictor
from sde_ray.pipeline.prompting.run import identity
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup

HEADS, KEY_VALUE_HEADS = 4, 2
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def interleaved(weights: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in the order that llama.cpp wants for rotary positions."""
    rows, columns = weights.shape
    return weights.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


@pytest.fixture(scope="module")
def file(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_llama` as llama.cpp's converter writes it, in float32."""
    writer_of = pytest.importorskip("gguf")
    path = tmp_path_factory.mktemp("gguf") / "tiny.F32.gguf"
    writer = writer_of.GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(128)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(400)
    tokenizer = json.loads((tiny_llama / "tokenizer.json").read_text())["model"]
    tokens = sorted(tokenizer["vocab"], key=tokenizer["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens + [f"<unused{n}>" for n in range(400 - len(tokens))])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    for name, weights in AutoModelForCausalLM.from_pretrained(tiny_llama).state_dict().items():
        owner = name.removesuffix(".weight")
        block, _, part = owner.removeprefix("model.layers.").partition(".")
        target = NAMES[owner] if owner in NAMES else f"blk.{block}.{NAMES[part]}"
        heads = {"attn_q": HEADS, "attn_k": KEY_VALUE_HEADS}.get(target.rpartition(".")[2])
        numbers = interleaved(weights, heads) if heads else weights
        writer.add_tensor(f"{target}.weight", numbers.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_its_logits_and_tokens_are_those_of_the_model_it_was_made_from(file: Path, tiny_llama: Path) -> None:
    ours, theirs = load_base(str(file)), load_base(str(tiny_llama))
    text = "food: positive, price: neutral"
    ids = theirs.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ours.tokenizer(text, add_special_tokens=False)["input_ids"] == ids
    with torch.no_grad():
        batch = torch.tensor([ids])
        assert torch.allclose(ours.model(batch).logits, theirs.model(batch).logits, atol=1e-5)
    assert (ours.max_positions, ours.eos_token_ids[0]) == (2048, theirs.eos_token_ids[0])


def test_it_can_be_saved_and_cast_as_its_marks_of_a_quantised_model_are_gone(file: Path, tmp_path: Path) -> None:
    model = load_base(str(file)).model
    model.save_pretrained(tmp_path)  # type: ignore[operator]
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    assert model.to(torch.bfloat16).dtype == torch.bfloat16  # type: ignore[attr-defined]


def test_a_trial_trains_on_it_and_its_adapter_answers(file: Path, tmp_path: Path) -> None:
    settings = Train(learning_rate=1e-2, max_length=512)
    trial = TrialConfig("masa:d1", make_design(), str(file), 0, 8, 4, train=settings)
    result = run_trial(TrialRunner(WorkerGroup(RunnerResources(), in_process=True)), trial, tmp_path)
    assert (result.status, result.error) == ("finished", "")
    assert len(result.losses) > 0
    ((_, completion),) = Predictor(tmp_path / "adapter").predict(["great soup"])
    assert completion


def test_a_model_is_the_same_wherever_its_file_lies_and_another_one_when_it_changes(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / file.name
    copy.write_bytes(file.read_bytes())
    assert identity(str(copy)) == identity(str(file))
    copy.write_bytes(file.read_bytes()[:-1] + b"\0x")
    assert identity(str(copy)) != identity(str(file))


@pytest.mark.parametrize(
    ("name", "where"),
    [("org/repo/m.Q8_0.gguf", ("org/repo", "m.Q8_0.gguf")), ("org/repo", None), ("tiny", None), ("./folder", None)],
)
def test_a_file_of_a_hub_repository_is_named_by_three_parts(name: str, where: tuple[str, str] | None) -> None:
    pytest.importorskip("gguf")
    assert gguf.split(name) == where


@pytest.mark.parametrize("name", ["no_such.gguf", "/no/such/file.gguf", "./a/b.gguf"])
def test_a_file_that_is_not_there_is_one_message(name: str) -> None:
    with pytest.raises(UserError, match="There is no file .*org/repo/model"):
        load_base(name)


def test_a_missing_library_is_named_with_its_extra(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "sde_ray\[gguf\]"'):
        load_base(str(file))


def test_a_file_that_is_no_gguf_is_one_message(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"of .*x\.gguf cannot be loaded"):
        load_base(str(tmp_path / "x.gguf"))
