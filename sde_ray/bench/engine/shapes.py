"""Training and decoding speed at usual shapes of models with random weights, for a GPU; without Ray and DeepSpeed.

    compare(["1.5b"], batch_size=4, length=512) ─▶ {"settings", "rows": samples/s, share of the matrix rate, memory}

A step is that of one LoRA trial alone: forward and backward through the frozen base, clipping, AdamW on the adapter.
`STEPS` lists the ways to take it; each is warmed up first, so that compilation is not in the numbers. The share of the
matrix rate counts 4 operations a parameter and token (`floor.py`), at the rate that is measured in the same run.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sde_ray.bench.engine.floor import Work, count_model_parameters, matrix_rate
from sde_ray.bench.engine.measurement import Measurement, best_batch_size, timed
from sde_ray.bench.engine.settings import keep_quiet, settings
from sde_ray.bench.engine.work import LORA, plain_lora

# Fields of transformers' Qwen2Config: those of Qwen2.5, and one that a test trains in a second.
SHAPES: Mapping[str, Mapping[str, Any]] = {
    "test": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 512, "tie_word_embeddings": True},
    "0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
             "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True},
    "7b": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False},
}  # fmt: skip
LOSS_SHARE = 8  # one token in so many counts in the loss, as answers are short beside their prompts
DECODE_BATCH_SIZES = (32, 64, 128, 256)
Step = Callable[[], Any]
Say = Callable[[str], None]


def compare(
    shapes: Sequence[str],
    *,
    batch_size: int = 4,
    length: int = 512,
    new_tokens: int = 64,
    steps: int = 20,
    repeats: int = 3,
    decode_batch_sizes: Sequence[int] = DECODE_BATCH_SIZES,
    ways: Sequence[str] = (),
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Measure each shape in bfloat16 on a GPU, in float32 on a CPU. Returns plain JSON values."""
    import torch

    keep_quiet()
    dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    rate = matrix_rate(dtype)
    rows = [Measurement("matrix rate", "Tflop/s", (rate / 1e12,))]
    for shape in shapes:
        model = random_model(shape, dtype)
        for way in ways or STEPS:
            trained = train_rows(f"{shape}, {way}", model, STEPS[way], (batch_size, length), steps, repeats, rate)
            say(f"{trained[0].name}: {trained[0].median:.2f} {trained[0].unit}.")
            rows += trained
        rows += decode_rows(shape, model, decode_batch_sizes, length, new_tokens, repeats)
        say(f"{rows[-1].name}: {rows[-1].median:.0f} {rows[-1].unit}.")
        del model
        _free()
    return {
        "settings": settings(
            dtype=dtype,
            batch_size=batch_size,
            length=length,
            loss_tokens=length // LOSS_SHARE,
            new_tokens=new_tokens,
            lora_r=LORA.r,
            target_modules=LORA.target_modules,
            gradient_checkpointing=False,
            attention="sdpa",
            repeats=repeats,
        ),
        "rows": [row.to_dict() for row in rows],
    }


def train_rows(
    name: str,
    model: Any,
    make_step: Callable[[Any, tuple[int, int]], Step],
    batch: tuple[int, int],
    steps: int,
    repeats: int,
    rate: float,
) -> list[Measurement]:
    """Samples a second, share of the matrix rate, and peak memory of a way to take steps."""
    rows, length = batch
    work = Work(train_tokens=rows * length, loss_tokens=rows * (length // LOSS_SHARE))
    flops = work.training_flops(count_model_parameters(model))  # before it has an adapter
    step = make_step(model, batch)
    _take(step, 3)
    seconds = [timed(partial(_take, step, steps))[0] / steps for _ in range(repeats)]
    peak = [Measurement(f"{name}: peak memory", "GiB", (gib,)) for gib in _peak_memory()]
    del step
    _remove_adapter(model)
    return [
        Measurement(f"{name}: training", "samples/s", tuple(rows / one for one in seconds)),
        Measurement(f"{name}: share of the matrix rate", "%", tuple(100 * flops / one / rate for one in seconds)),
        *peak,
    ]


def _take(step: Step, count: int) -> None:
    for _ in range(count):
        step()


def decode_rows(
    shape: str, model: Any, batch_sizes: Sequence[int], length: int, new_tokens: int, repeats: int
) -> list[Measurement]:
    """Tokens a second of our decoding at its best batch size, every answer of the full length; adapter merged."""
    import torch

    from sde_ray.models import generation

    draw = torch.Generator().manual_seed(0)

    def decode(size: int) -> float:
        prompts = torch.randint(3, model.config.vocab_size, (size, length), generator=draw).tolist()
        ends: list[int] = []
        seconds, _ = timed(
            lambda: generation.generate(
                model, prompts, eos_token_ids=ends, pad_token_id=0, max_new_tokens=new_tokens, batch_size=size
            )
        )
        return size * new_tokens / seconds

    decode(min(batch_sizes))
    best = best_batch_size({size: decode(size) for size in batch_sizes})
    rates = tuple(decode(best) for _ in range(repeats))
    return [Measurement(f"{shape}: decoding in batches of {best}, prompts of {length}", "tokens/s", rates)]


def eager_step(model: Any, batch: tuple[int, int]) -> Step:
    """A step of one adapter, as PyTorch runs it by default."""
    return _lora_step(model, batch, compiled=False)


def compiled_step(model: Any, batch: tuple[int, int]) -> Step:
    """The same after `torch.compile`."""
    return _lora_step(model, batch, compiled=True)


STEPS: Mapping[str, Callable[[Any, tuple[int, int]], Step]] = {"eager": eager_step, "compiled": compiled_step}


def _lora_step(model: Any, batch: tuple[int, int], compiled: bool) -> Step:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.functional import cross_entropy

    torch.manual_seed(0)
    _reset_peak_memory()
    peft_model = get_peft_model(model, LoraConfig(**plain_lora(LORA), task_type="CAUSAL_LM"))  # type: ignore[arg-type]
    trained = [parameter for parameter in peft_model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    rows, length = batch
    ids = torch.randint(3, model.config.vocab_size, (rows, length), device=model.device)
    counted = length // LOSS_SHARE
    forward: Any = torch.compile(peft_model) if compiled else peft_model
    peft_model.train()

    def step() -> None:
        with torch.autocast(model.device.type, torch.bfloat16, enabled=model.dtype == torch.bfloat16):
            logits = forward(input_ids=ids, use_cache=False, logits_to_keep=counted + 1).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1).float(), ids[:, -counted:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def random_model(shape: str, dtype: str) -> Any:
    """A model of a shape with random weights, made on its device."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    from sde_ray.models.base import DTYPES, device

    torch.manual_seed(0)
    config = Qwen2Config(**SHAPES[shape], max_position_embeddings=4096)
    with torch.device(device()):
        model = AutoModelForCausalLM.from_config(config, dtype=DTYPES[dtype], attn_implementation="sdpa")
    return model.eval()


def _remove_adapter(model: Any) -> None:
    """Take the adapter off again, so that the next way has the plain base."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "get_base_layer"):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    model.__dict__.pop("peft_config", None)
    model.eval()
    _free()


def _free() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _reset_peak_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_memory() -> list[float]:
    """Peak memory of the GPU in GiB; none without one."""
    import torch

    return [torch.cuda.max_memory_allocated() / 2**30] if torch.cuda.is_available() else []
