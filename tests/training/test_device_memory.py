"""The memory that a plan tells is what a step allocates; the figures of the docs follow from it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers

from sde_ray.config.trial import Lora, Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.models.meta import check_lora
from sde_ray.models.tokenization import TokenizedSample
from sde_ray.training.device_memory import GIB, LiveBytes, Sizes, estimate_memory
from sde_ray.training.worker import Worker
from sde_ray.types import Sample, Segment

QWEN_7B = {
    "hidden_size": 3584, "num_attention_heads": 28, "num_key_value_heads": 4, "intermediate_size": 18944,
    "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
LAYERS, MEASURED = 28, 2  # of Qwen2.5-7B, and of these how many a test has: every further layer keeps the same


@pytest.fixture(scope="module")
def shape(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """A folder with the configuration of a model, and no weights."""

    def write(kind: str, **values: Any) -> str:
        folder = tmp_path_factory.mktemp(kind)
        getattr(transformers, kind)(**values).save_pretrained(folder)
        return str(folder)

    return write


def trial(model: str, **values: Any) -> TrialConfig:
    return TrialConfig("masa:d1", make_design(), model, 1, 4, 4, **values)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("rows", "length", "counted"), [(4, 256, 20), (2, 96, 90)])
def test_a_step_allocates_what_was_told(
    rows: int, length: int, counted: int, checkpointing: bool, worker: Worker
) -> None:
    """On the embedded model, in this process: the bytes of all tensors that live at once in a real step."""
    train = Train(train_batch_size=rows, num_train_epochs=2, gradient_checkpointing=checkpointing)
    config = trial("tiny", train=train)
    samples = [
        Sample(f"s{n}", (Segment("good", False, "text"),), Segment(" x", True, "completion")) for n in range(rows)
    ]
    worker.start_trial(config, samples)
    trainer = worker._trainer
    prompt = length - counted
    trainer.samples = [
        TokenizedSample(sample.id, (5,) * prompt, (False,) * prompt, (7,) * counted, 0) for sample in samples
    ]
    trainer.run(1)  # the optimiser has its state, the gradients are there
    gc.collect()
    live = LiveBytes(trainer.peft_model)
    trainer.engine.train()
    with live:
        trainer._take_step(trainer.steps[1])
    worker.end_trial()
    told = estimate_memory(config, Sizes(rows, length, counted), gpu=False)
    assert told.activations is not None and told.workspace is not None
    assert told.activations + told.workspace == pytest.approx(live.peak, rel=0.03)


def test_qwen_7b_needs_what_the_docs_say(shape: Callable[..., str]) -> None:
    """Four samples of 1,024 tokens, bf16, LoRA r 8 on all layers with dropout; by hand, a token and layer keeps:

    gate, up and their product in 2 bytes; the dropped inputs of seven adapters, with a byte a unit for the mask; two
    norms' input in full precision; queries, keys, values and output of the attention.
    """
    hidden, inner, keys = 3584, 18944, 4 * 128
    by_hand = 3 * 2 * inner + (2 + 1) * (6 * hidden + inner) + 2 * 4 * hidden + 2 * (2 * hidden + 2 * keys)
    model, deeper = (shape("Qwen2Config", **QWEN_7B, num_hidden_layers=count) for count in (MEASURED, MEASURED + 1))
    sizes = Sizes(4, 1024, 240)
    told, more = (estimate_memory(trial(name), sizes, gpu=True) for name in (model, deeper))
    assert told.activations is not None and more.activations is not None
    layer = more.activations - told.activations
    assert layer / 4096 == pytest.approx(by_hand, rel=0.002)
    assert (told.activations + (LAYERS - MEASURED) * layer) / GIB == pytest.approx(29.9, abs=0.05)
    less = estimate_memory(trial(model, train=Train(gradient_checkpointing=True)), sizes, gpu=True)
    assert less.activations == pytest.approx((MEASURED * 2 + 4) * 4096 * hidden, rel=0.01), (
        "each layer's input, and the last norm's in full precision"
    )
    weights = 2 * 152064 * hidden + MEASURED * by_layer(hidden, inner, keys) + hidden
    assert less.weights == told.weights == 2 * weights + 4 * 64, "and the rotary frequencies"
    smallest = estimate_memory(trial(model), Sizes(1, 1024, 60), gpu=True)
    assert smallest.activations == pytest.approx(told.activations / 4, rel=0.01)


def by_layer(hidden: int, inner: int, keys: int) -> int:
    """Weights of a layer: projections with the biases of q, k and v, the MLP, two norms."""
    return 2 * hidden * (hidden + keys) + hidden + 2 * keys + 3 * hidden * inner + 2 * hidden


def test_activations_grow_with_the_tokens_not_with_their_pairs() -> None:
    fused = estimate_memory(trial("tiny"), Sizes(2, 256, 20), gpu=True)
    longer = estimate_memory(trial("tiny"), Sizes(2, 512, 20), gpu=True)
    assert longer.activations == pytest.approx(2 * (fused.activations or 0), rel=0.01)


def test_zero_stages_share_out_what_they_shard() -> None:
    sizes = Sizes(2, 128, 20, new_tokens=10)
    one, two, three = (
        estimate_memory(
            trial("tiny", num_workers=workers, deepspeed={"zero_optimization": {"stage": stage}}), sizes, gpu=True
        )
        for workers, stage in ((1, 1), (4, 2), (4, 3))
    )
    assert (two.optimizer, two.weights) == (-(-one.optimizer // 4), one.weights)
    assert three.weights == -(-one.weights // 4) and three.merged == 0, "decodes a layer at a time"
    assert one.cache == 4 * 2 * 6 * 32 * 128 * 2, "layers, keys and values, heads, width, tokens, bytes"


def test_refusals_of_lora_need_no_weights(shape: Callable[..., str]) -> None:
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "num_hidden_layers": 1}
    model = shape("Qwen3MoeConfig", hidden_size=32, num_attention_heads=4, num_key_value_heads=2, **experts)
    with pytest.raises(UserError, match=r"no dropout. Set lora.lora_dropout: 0"):
        check_lora(model, Lora().model_dump_json())
    with pytest.raises(UserError, match=r"finds nothing to adapt.*q_proj, k_proj"):
        check_lora("tiny", Lora(target_modules=("qkv",)).model_dump_json())
    check_lora("tiny", Lora().model_dump_json())
    told = estimate_memory(replace(trial(model), lora=Lora(lora_dropout=0.0)), Sizes(2, 64, 8, 4), gpu=True)
    assert told.weights > 0 and told.adapter > 0


def test_nothing_is_read_but_the_configuration(shape: Callable[..., str]) -> None:
    folder = Path(
        shape("LlamaConfig", hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    )
    assert [file.name for file in folder.iterdir()] == ["config.json"]
    assert estimate_memory(trial(str(folder)), Sizes(2, 64, 8), gpu=True).activations


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("MambaConfig", {"state_size": 8}),
        ("BloomConfig", {"n_layer": 2, "n_head": 4}),
        ("Gemma2Config", {"head_dim": 8}),
    ],
)
def test_other_architectures_are_told_as_far_as_their_shapes_tell(
    kind: str, more: dict[str, Any], shape: Callable[..., str]
) -> None:
    small = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    small |= {} if kind != "Gemma2Config" else {"num_attention_heads": 4, "num_key_value_heads": 2}
    lora = Lora(exclude_modules=("out_proj",)) if kind == "MambaConfig" else Lora()
    told = estimate_memory(replace(trial(shape(kind, **small, **more)), lora=lora), Sizes(2, 64, 8, 4), gpu=True)
    assert told.weights > 2 * 400 * 32 and told.adapter > 0
    assert told.activations is None or told.activations > 2 * 2 * 64 * 32
