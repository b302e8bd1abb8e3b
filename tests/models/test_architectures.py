"""Other models: each architecture is trained, decoded and scored; LoRA finds its layers, and a chat template its frame.

Tiny random configurations, the tokenizer of `tiny_llama`; those in LONG are for `make test-all`. Packed projections
(Phi-3, GPT-NeoX, Bloom) and ALiBi (Bloom) stand for Baichuan, whose own code transformers does not have.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.run_trial import run_trial
from safetensors.torch import load_file

from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import designs
from sde_ray.errors import UserError
from sde_ray.models import base as model
from sde_ray.models import generation, joint_model, lora, lora_group
from sde_ray.models.availability import check_model
from sde_ray.models.predictor import Predictor
from sde_ray.models.tokenization import Encoder, chat_frame, completion_text
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import Segment

SMALL = {
    "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 1024, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.2,
}  # fmt: skip
GROUPED = {"num_key_value_heads": 2}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", GROUPED),
    "llama-tied": ("LlamaConfig", {**GROUPED, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen3": ("Qwen3Config", {**GROUPED, "head_dim": 8}),
    "mistral": ("MistralConfig", {**GROUPED, "sliding_window": 64}),
    "gemma": ("GemmaConfig", {**GROUPED, "head_dim": 8}),
    "gemma2": ("Gemma2Config", {**GROUPED, "head_dim": 8, "sliding_window": 64}),
    "gpt-neox": ("GPTNeoXConfig", {}),
    "internlm3": ("InternLM3Config", {**GROUPED, "head_dim": 8, "qkv_bias": True, "bias": True}),
    "phi3": ("Phi3Config", GROUPED),
    "bloom": ("BloomConfig", {"n_layer": 2, "n_head": 4}),
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
VISION = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
FURTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3-moe": ("Qwen3MoeConfig", {**GROUPED, "head_dim": 8, **EXPERTS}),
    "mixtral": ("MixtralConfig", {**GROUPED, "num_local_experts": 4}),
    "gpt-oss": ("GptOssConfig", {**GROUPED, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-next": (
        "Qwen3NextConfig",
        {
            **GROUPED, **EXPERTS, "head_dim": 8, "num_hidden_layers": 4, "shared_expert_intermediate_size": 16,
            "linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
    "mamba": ("MambaConfig", {"state_size": 8}),
    "gemma3": (
        "Gemma3Config",
        {
            "text_config": {**SMALL, **GROUPED, "head_dim": 8, "sliding_window": 64}, "vision_config": VISION,
            "mm_tokens_per_image": 4,
        },
    ),
}  # fmt: skip
ARCHITECTURES |= FURTHER
LOCAL = {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
STATE_SPACE = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16}
STAND_FOR_MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma3n": (
        "Gemma3nTextConfig",
        {
            **GROUPED, **LOCAL, "head_dim": 8, "num_hidden_layers": 4, "layer_types": LOCAL["layer_types"] * 2,
            "num_kv_shared_layers": 2, "vocab_size_per_layer_input": 400, "hidden_size_per_layer_input": 8,
            "altup_num_inputs": 2, "laurel_rank": 8, "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
        },
    ),
    "bamba": ("BambaConfig", {**GROUPED, **STATE_SPACE, "attn_layer_indices": [1]}),
}  # fmt: skip
ARCHITECTURES |= STAND_FOR_MORE
MAMBA2 = {"n_groups": 1, "chunk_size": 16}
LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "phi": ("PhiConfig", GROUPED),
    "smollm3": ("SmolLM3Config", {**GROUPED, "no_rope_layer_interval": 2}),
    "gemma3-text": ("Gemma3TextConfig", {**GROUPED, **LOCAL, "head_dim": 8}),
    "olmo3": ("Olmo3Config", {**GROUPED, **LOCAL}),
    "glm4": ("Glm4Config", {**GROUPED, "head_dim": 8}),
    "exaone4": ("Exaone4Config", {**GROUPED, **LOCAL}),
    "granitemoe": ("GraniteMoeConfig", {**GROUPED, "num_local_experts": 4}),
    "granitemoehybrid": (
        "GraniteMoeHybridConfig",
        {
            **GROUPED, **STATE_SPACE, "layer_types": ["linear_attention", "full_attention"], "num_local_experts": 4,
            "shared_intermediate_size": 16,
        },
    ),
    "jamba": (
        "JambaConfig",
        {
            **GROUPED, "num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 8,
            "mamba_dt_rank": 4,
        },
    ),
    "qwen3.5": (
        "Qwen3_5TextConfig",
        {
            **GROUPED, "head_dim": 8, "num_hidden_layers": 4, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
            "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        },
    ),
    "lfm2": ("Lfm2Config", {**GROUPED, "layer_types": ["conv", "full_attention"], "block_auto_adjust_ff_dim": False}),
    "rwkv": ("RwkvConfig", {}),
    "mamba2": ("Mamba2Config", {**MAMBA2, "num_heads": 8, "head_dim": 8, "state_size": 8}),
    "falcon-h1": ("FalconH1Config", {**GROUPED, **STATE_SPACE, "mamba_d_ssm": 64}),
    "nemotron-h": (
        "NemotronHConfig",
        {
            **GROUPED, **MAMBA2, "head_dim": 8, "num_hidden_layers": 4, "mamba_num_heads": 8, "mamba_head_dim": 8,
            "ssm_state_size": 8, "n_routed_experts": 4, "moe_intermediate_size": 16,
            "moe_shared_expert_intermediate_size": 16,
        },
    ),
    "deepseek-v3": (
        "DeepseekV3Config",
        {
            "num_key_value_heads": 4, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2,
            "topk_group": 1, "first_k_dense_replace": 1, "moe_intermediate_size": 16,
        },
    ),
}  # fmt: skip
ARCHITECTURES |= LONG


def each(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.long) if name in LONG else name for name in names]


SETTINGS: dict[str, dict[str, Any]] = {
    name: {"lora_dropout": 0.0} for name in ("qwen3-moe", "mixtral", "qwen3-next", "deepseek-v3")
}  # where `all-linear` does not do by itself
BY_WEIGHT = {
    "mamba": "dt_proj", "gemma3n": "correction_coefs", "bamba": "out_proj", "jamba": "dt_proj", "mamba2": "out_proj",
    "granitemoehybrid": "out_proj", "falcon-h1": "out_proj", "nemotron-h": "out_proj",
}  # a layer whose weight the model takes by itself  # fmt: skip
LAYERS = {
    "qwen3-moe": "q_proj k_proj v_proj o_proj gate experts base_layer",
    "mixtral": "q_proj k_proj v_proj o_proj gate experts base_layer",
    "gpt-oss": "q_proj k_proj v_proj o_proj",
    "qwen3-next": "q_proj k_proj v_proj o_proj in_proj_qkvz in_proj_ba out_proj shared_expert_gate gate experts "
    "base_layer",
    "mamba": "in_proj",
    "llama": "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
    "gpt-neox": "query_key_value dense dense_h_to_4h dense_4h_to_h",
    "phi3": "qkv_proj o_proj gate_up_proj down_proj",
    "bloom": "query_key_value dense dense_h_to_4h dense_4h_to_h",
    "gemma3n": "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj prediction_coefs "
    "modality_router linear_left linear_right per_layer_input_gate per_layer_projection per_layer_model_projection 0",
    "bamba": "in_proj q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
    "phi": "q_proj k_proj v_proj dense fc1 fc2",
    "glm4": "q_proj k_proj v_proj o_proj gate_up_proj down_proj",
    "granitemoe": "q_proj k_proj v_proj o_proj",
    "granitemoehybrid": "in_proj q_proj k_proj v_proj o_proj input_linear output_linear",
    "jamba": "in_proj x_proj out_proj q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
    "qwen3.5": "in_proj_qkv in_proj_z in_proj_b in_proj_a out_proj q_proj k_proj v_proj o_proj gate_proj up_proj "
    "down_proj",
    "lfm2": "in_proj q_proj k_proj v_proj out_proj w1 w2 w3",
    "rwkv": "key value receptance output",
    "mamba2": "in_proj",
    "falcon-h1": "in_proj q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
    "nemotron-h": "in_proj q_proj k_proj v_proj o_proj up_proj down_proj",
    "deepseek-v3": "q_a_proj q_b_proj kv_a_proj_with_mqa kv_b_proj o_proj gate experts base_layer",
}  # all others have Llama's names


@pytest.fixture(scope="module")
def saved(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A model of an architecture, as `save_pretrained` writes it."""
    root = tmp_path_factory.mktemp("architectures")

    def make(name: str) -> Path:
        import transformers

        folder = root / name
        if not folder.exists():
            kind, more = ARCHITECTURES[name]
            torch.manual_seed(0)
            config = getattr(transformers, kind)(**{**SMALL, **more})
            made = transformers.AutoModelForCausalLM.from_config(config)
            for weight in made.parameters():
                if not weight.any():  # a layer behind zeros (Gemma 3n has some at its start) could not learn
                    torch.nn.init.normal_(weight, std=0.2)
            made.save_pretrained(folder)
            for file in tiny_llama.glob("tokenizer*"):
                shutil.copy(file, folder)
        return folder

    return make


@pytest.fixture(scope="module")
def runner() -> Iterator[TrialRunner]:
    one = TrialRunner(WorkerGroup(RunnerResources(), in_process=True))
    yield one
    one.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", each(ARCHITECTURES))
def test_an_architecture_is_trained_decoded_and_scored(
    name: str, saved: Callable[[str], Path], runner: TrialRunner, tmp_path: Path
) -> None:
    config = TrialConfig(
        "masa:d1", designs.make_design(instruction="none", unmentioned="omit"), str(saved(name)), 1, 8, 3,
        lora=Lora(r=4, **SETTINGS.get(name, {})),
        train=Train(learning_rate=5e-3, num_train_epochs=2), generation=Generation(max_new_tokens=12),
    )  # fmt: skip
    result = run_trial(runner, config, tmp_path / "trial")
    assert result.status == "finished", result.error
    assert len(result.losses) == 4 and all(math.isfinite(loss) for loss in result.losses)
    assert result.losses[-1] < result.losses[0], "it learns"
    assert 0 <= result.scores["dev"]["format_adherence"] <= 1
    adapter = tmp_path / "trial" / "adapter" / "adapter_model.safetensors"
    unused = [path for path, weight in load_file(adapter).items() if "lora_B" in path and not weight.any()]
    assert not unused, "no layer passes its adapter by"
    answers = Predictor.load(tmp_path / "trial").predict(["Good soup.", "Rude waiter, cheap wine."])
    assert len(answers) == 2
    again = run_trial(runner, replace(config, eval_size=2), tmp_path / "again")
    assert again.losses == result.losses, "the base is as it was"
    assert (tmp_path / "again" / "adapter" / adapter.name).read_bytes() == adapter.read_bytes()


@pytest.mark.parametrize("name", each(ARCHITECTURES))
def test_lora_adapts_every_projection_and_no_output_layer(name: str, saved: Callable[[str], Path]) -> None:
    base = model.load_base(str(saved(name)))
    peft_model = lora.add_lora(base.model, Lora(**SETTINGS.get(name, {})))
    paths = [path for path, _ in peft_model.named_parameters() if ".lora_A." in path]
    layers = {path.partition(".lora_A.")[0].rpartition(".")[2] for path in paths}
    assert layers == set(LAYERS.get(name, LAYERS["llama"]).split())
    assert not [path for path in paths if "vision" in path]
    lora.remove_lora(peft_model)


UNLOADABLE = {
    "mistral3": ("Mistral3Config", {"text_config": {**SMALL, **GROUPED}, "vision_config": VISION}),
    "distilbert": ("DistilBertConfig", {}),
}  # and the kind that the refusal names


@pytest.mark.parametrize("name", UNLOADABLE)
def test_what_transformers_cannot_load_is_refused_by_the_plan(name: str, tiny_llama: Path, tmp_path: Path) -> None:
    import transformers

    kind, more = UNLOADABLE[name]
    shutil.copytree(tiny_llama, tmp_path, dirs_exist_ok=True)
    getattr(transformers, kind)(**more).save_pretrained(tmp_path)
    for load in (model.load_base, check_model):
        with pytest.raises(UserError, match=f"is of the kind {name}, for which transformers has no causal language"):
            load(str(tmp_path))


def test_the_papers_baichuan_target_is_named_where_it_is_missing(saved: Callable[[str], Path]) -> None:
    base = model.load_base(str(saved("llama")))
    with pytest.raises(UserError, match='lora.target_modules.*"all-linear", or names.*q_proj'):
        lora.add_lora(base.model, Lora(target_modules=("W_pack",)))


@pytest.mark.parametrize("name", each(SETTINGS))
def test_experts_are_refused_with_a_remedy(name: str, saved: Callable[[str], Path]) -> None:
    said = "takes the experts.*Set lora.lora_dropout: 0, or .* such as .*_proj"
    with pytest.raises(UserError, match=said):
        lora.add_lora(model.load_base(str(saved(name))).model, Lora())


@pytest.mark.parametrize("name", each(BY_WEIGHT))
def test_an_adapter_that_the_model_would_pass_by_is_refused(name: str, saved: Callable[[str], Path]) -> None:
    base = model.load_base(str(saved(name))).model
    with pytest.raises(UserError, match=rf"by itself \(.*{BY_WEIGHT[name]}.*\).*target_modules: all-linear, which"):
        lora.add_lora(base, Lora(target_modules=(BY_WEIGHT[name],), lora_dropout=0.0))
    assert not [path for path, _ in base.named_parameters() if "lora_" in path], "the base is as it was"
    lora.add_lora(base, Lora())


def test_the_experts_can_be_left_out(saved: Callable[[str], Path]) -> None:
    attention = Lora(target_modules=("q_proj", "k_proj", "v_proj", "o_proj"))
    peft_model = lora.add_lora(model.load_base(str(saved("qwen3-moe"))).model, attention)
    assert not [path for path, _ in peft_model.named_parameters() if "lora_" in path and "experts" in path]


def test_a_tower_that_reads_images_is_left_out_beside_what_the_user_excludes(saved: Callable[[str], Path]) -> None:
    for excluded in (("o_proj", "mlp.gate_proj"), r".*\.(o_proj|gate_proj)"):
        peft_model = lora.add_lora(model.load_base(str(saved("gemma3"))).model, Lora(exclude_modules=excluded))
        paths = [path for path, _ in peft_model.named_parameters() if ".lora_A." in path]
        names = {path.partition(".lora_A.")[0].rpartition(".")[2] for path in paths}
        assert names == {"q_proj", "k_proj", "v_proj", "up_proj", "down_proj"} and len(paths) == 2 * 5


@pytest.mark.parametrize("name", each(ARCHITECTURES))
def test_decoding_equals_transformers_own(name: str, saved: Callable[[str], Path]) -> None:
    base = model.load_base(str(saved(name)))
    prompts = [[1, *range(10, 10 + length)] for length in (3, 9, 90)]
    generated = generation.generate(
        base.model, prompts, eos_token_ids=[2], pad_token_id=0, max_new_tokens=10, batch_size=3
    )
    for prompt, tokens in zip(prompts, generated, strict=True):
        ids = torch.tensor([prompt])
        out: Any = base.model.generate(  # type: ignore[operator]
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=10,
            eos_token_id=[2],
            pad_token_id=0,
        )
        expected = out[0, len(prompt) :].tolist()
        assert tokens == (expected[:-1] if expected[-1] == 2 else expected)


# ---- chat templates --------------------------------------------------------------------------------------------------

TURNS = "{% for m in messages %}"
TEMPLATES = {
    "chatml (Qwen, InternLM2)": (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
        + TURNS
        + "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "llama 2, mistral": (
        "{{ bos_token }}" + TURNS + "[INST] {{ m['content'] | trim }} [/INST]{% endfor %}",
        " [/INST]",
    ),
    "llama 3": (
        "{{ bos_token }}"
        + TURNS
        + "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
        "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + TURNS
        + "<start_of_turn>{{ m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        "<end_of_turn>\n<start_of_turn>model\n",
    ),
    "baichuan 2": (TURNS + "<reserved_106>{{ m['content'] }}{% endfor %}<reserved_107>", "<reserved_107>"),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_prompt_goes_through_the_chat_template(name: str, tiny_llama: Path) -> None:
    tokenizer = model.load_tokenizer(str(tiny_llama))
    tokenizer.chat_template, after = TEMPLATES[name]
    frame = chat_frame(tokenizer, "auto")
    assert frame is not None and frame[1] == after
    thinking = chat_frame(tokenizer, "auto", thinks=True)  # the completion has a thought of its own
    assert thinking is not None and thinking[1] == after.removesuffix("<think>\n\n</think>\n\n")
    expected = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Rate it: good soup."}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    prompt = (Segment("Rate it: ", False, "instruction"), Segment("good soup.", False, "text"))
    (ids,) = Encoder(tokenizer, 500).prompts([("x", prompt)], 5)
    assert tokenizer.decode(list(ids), clean_up_tokenization_spaces=False) == expected
    assert (
        completion_text(tokenizer, Encoder(tokenizer, 500, "off").prompts([("x", prompt)], 5)[0])
        == "Rate it: good soup."
    )


def test_a_template_that_cannot_be_used_is_told(tiny_llama: Path) -> None:
    tokenizer = model.load_tokenizer(str(tiny_llama))
    tokenizer.chat_template = "{{ raise_exception('a system message is needed') }}"
    with pytest.raises(UserError, match="a system message is needed.*chat_template: off"):
        chat_frame(tokenizer, "auto")
    tokenizer.chat_template = "{{ messages[0].content }}{{ messages[0].content }}"
    with pytest.raises(UserError, match="exactly once.*chat_template: off"):
        chat_frame(tokenizer, "auto")


DATED = (
    "{%- macro today() -%}{{ strftime_now('%Y-%m-%d') }}{%- endmacro -%}"
    "<s>Today is {{ today() }}.\n" + TURNS + "{{ m['content'] }}{% endfor %}<s>"
)


def test_a_prompt_is_the_same_on_any_day(tiny_llama: Path) -> None:
    tokenizer = model.load_tokenizer(str(tiny_llama))
    tokenizer.chat_template = DATED
    assert chat_frame(tokenizer, "auto") == ("<s>Today is 2025-01-01.\n", "<s>")
    tokenizer.chat_template = DATED.replace("'%Y-%m-%d'", "'%Y' ~ '-%m'")
    with pytest.raises(UserError, match="puts the date into every prompt.*chat_template: off"):
        chat_frame(tokenizer, "auto")


CLOSED = "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("end", "framed"),
    [
        ("<|Assistant|><think>\n", f"<|Assistant|>{CLOSED}"),  # R1 distills, Qwen3-Thinking, MiniMax-M2
        ("<|Assistant|><think>", f"<|Assistant|>{CLOSED}"),
        (f"<|Assistant|>{CLOSED}", f"<|Assistant|>{CLOSED}"),  # hybrids that were asked not to think
        ("<|Assistant|></think>", "<|Assistant|></think>"),  # DeepSeek-V3.1
        ("[THINK]", "[THINK]\n\n[/THINK]\n\n"),
        ("<|start|>assistant", "<|start|>assistant<|channel|>final<|message|>"),  # GPT-OSS
        ("<|im_start|>assistant\n", "<|im_start|>assistant\n"),
    ],
)
def test_the_answer_begins_behind_the_thought(end: str, framed: str, tiny_llama: Path) -> None:
    """Whatever the template is asked for; in GPT-OSS' words the final channel is what is not a thought."""
    tokenizer = model.load_tokenizer(str(tiny_llama))
    turns = "{% if m.get('thinking') %}<|channel|>final<|message|>{% endif %}{{ m['content'] }}"
    tokenizer.chat_template = TURNS + turns + "{% endfor %}{% if add_generation_prompt %}" + end + "{% endif %}"
    assert chat_frame(tokenizer, "auto") == ("", framed)
    opened = end.rstrip().endswith(("<think>", "[THINK]"))  # the completion has a thought of its own: not twice
    without = end.replace("<think>", "").replace("[THINK]", "").rstrip()
    assert chat_frame(tokenizer, "auto", thinks=True) == ("", without if opened else end)


def test_an_adapter_keeps_the_frame_it_was_trained_in(
    saved: Callable[[str], Path], runner: TrialRunner, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved("llama"), folder)
    template = folder / "chat_template.jinja"
    template.write_text(DATED)
    config = TrialConfig(
        "masa:d1", designs.make_design(instruction="none"), str(folder), 1, 4, 1,
        lora=Lora(r=2), generation=Generation(max_new_tokens=4),
    )  # fmt: skip
    result = run_trial(runner, config, tmp_path / "trial")
    assert result.status == "finished", result.error
    card = json.loads((tmp_path / "trial" / "adapter" / "sde.json").read_text())
    assert card["chat_frame"] == ["<s>Today is 2025-01-01.\n", "<s>"]
    template.write_text("{{ messages[0].content }}<s>another version of the model")
    encoder = Predictor.load(tmp_path / "trial")._decoder.encoder
    (ids,) = encoder.prompts([("x", (Segment("soup", False, "text"),))], 5)
    assert encoder.tokenizer.decode(list(ids)) == "<s>Today is 2025-01-01.\nsoup<s>"


UNGROUPED = {"qwen3-moe", "mixtral", "qwen3-next", "deepseek-v3"}  # experts do not see every token: trials take turns


@pytest.mark.parametrize("name", each(ARCHITECTURES))
def test_rows_of_two_adapters_in_one_pass_are_those_of_each_alone(saved: Callable[[str], Path], name: str) -> None:
    """Outputs and gradients, for adapters of different ranks; or the model is known to be none for packed training."""
    base = model.load_base(str(saved(name))).model
    settings = [Lora(**{"lora_dropout": 0.0, **SETTINGS.get(name, {}), "r": rank}) for rank in (3, 8)]
    pairs: list[tuple[Any, lora_group.Adapter]] = []
    try:
        joint = joint_model.JointModel(base)
        for one in settings:
            torch.manual_seed(one.r)
            peft_model = lora.add_lora(joint_model.shared_copy(base), one)
            for weight in peft_model.parameters():
                if weight.requires_grad:
                    torch.nn.init.normal_(weight, std=0.1)
            pairs.append((peft_model, lora_group.Adapter.of(peft_model)))
            joint.check(pairs[-1][1])
    except lora_group.UngroupedError:
        assert name in UNGROUPED
        return
    assert name not in UNGROUPED
    ids = torch.randint(3, 400, (3, 7), generator=torch.Generator().manual_seed(0))
    members = [lora_group.Member(adapter, rows, 7) for (_, adapter), rows in zip(pairs, (2, 1), strict=True)]
    together = joint.logits(ids, members, torch.arange(21)).view(3, 7, -1)
    together.logsumexp(-1).sum().backward()
    gradients = [[layer.lora_A["default"].weight.grad for layer in one.layers.values()] for _, one in pairs]
    for n, (peft_model, adapter) in enumerate(pairs):
        for weight in peft_model.parameters():
            weight.grad = None
        logits = peft_model(input_ids=ids[:2] if n == 0 else ids[2:], use_cache=False).logits
        torch.testing.assert_close(together[:2] if n == 0 else together[2:], logits, atol=1e-4, rtol=1e-4)
        logits.logsumexp(-1).sum().backward()
        for layer, gradient in zip(adapter.layers.values(), gradients[n], strict=True):
            rounding = 1e-4 * max(1.0, float(gradient.abs().max()))
            torch.testing.assert_close(gradient, layer.lora_A["default"].weight.grad, atol=rounding, rtol=1e-3)
