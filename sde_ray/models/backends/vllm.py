"""The vLLM backend: an engine of its own beside the trained model, which gets the trial's adapter as saved files.

    base model, trained ─save_adapter─▶ a folder ─LoRARequest─▶ vLLM's engine: awake while it decodes, else asleep

An engine stays for all trials of a worker that have its base model; while a trial trains it sleeps, its weights in the
host's memory. Completions are the built-in backend's but for near ties, since vLLM has kernels of its own. It knows
neither shared batches nor answers that are settled: it has ways of its own to save time.

API: https://docs.vllm.ai (LLM, SamplingParams, TokensPrompt, LoRARequest, sleep mode), 0.9 and later.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from sde_ray.errors import UserError
from sde_ray.models.backends.request import BackendSettings, Request
from sde_ray.models.base import LoadedModel, pretrained
from sde_ray.models.decoding_step import Ids
from sde_ray.models.lora import ADAPTER, save_adapter

RANKS = (16, 32, 64, 128, 256, 320, 512)  # that vLLM's kernels are made for; 16 serves all below, too
MEMORY_SHARE = 0.85  # of the GPU's free memory; the rest is for what training leaves and takes while it decodes


@dataclass(frozen=True)
class EngineKey:
    """What an engine is made for: another one is made where any of it differs."""

    model: str
    dtype: str
    max_length: int
    max_lora_rank: int
    trust_remote_code: bool


class _Resident:
    """The engine of this process; one at a time, as it takes what is free of the GPU."""

    def __init__(self) -> None:
        self.key: EngineKey | None = None
        self.engine: Any = None
        self.adapters = count(1)  # vLLM keeps an adapter under its number, so no two may have the same

    @contextmanager
    def awake(self, key: EngineKey) -> Iterator[Any]:
        """The engine for this, ready to decode; asleep at the end."""
        if key == self.key:
            self.engine.wake_up()
        else:
            self.close()
            self.engine, self.key = _make_engine(key), key
        try:
            yield self.engine
        finally:
            self.engine.sleep(level=1)

    def close(self) -> None:
        self.engine = self.key = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


_resident = _Resident()


class Vllm:
    """Decodes with vLLM."""

    def __init__(self, loaded: LoadedModel, settings: BackendSettings) -> None:
        """Raises UserError where vLLM is not installed, or there is no GPU."""
        _import_vllm()
        if not has_gpu():
            raise UserError("generation.backend: vllm needs a GPU, and this worker sees none. Use backend: builtin.")
        self.loaded, self.settings = loaded, settings

    def generate(self, peft_model: PeftModel | None, prompts: Sequence[Ids], request: Request) -> list[list[int]]:
        """See `Backend`."""
        if request.constraint is not None:
            raise UserError("decoding=constrained needs generation.backend: builtin; vllm is not told the grammar.")
        if not prompts:
            return []
        rank = peft_model.peft_config[ADAPTER].r if peft_model is not None else 0
        key = EngineKey(
            self.loaded.name,
            str(next(self.loaded.model.parameters()).dtype).removeprefix("torch."),
            min(self.settings.max_length, self.loaded.max_positions),
            next((most for most in RANKS if rank <= most), rank),
            self.settings.trust_remote_code,
        )
        with tempfile.TemporaryDirectory(prefix="sde-adapter-") as folder, _resident.awake(key) as engine:
            outputs = engine.generate(
                [{"prompt_token_ids": list(prompt)} for prompt in prompts],
                sampling_params(request, len(prompts)),
                use_tqdm=False,
                lora_request=_lora_request(peft_model, Path(folder)),
            )
        ends = set(request.eos_token_ids)
        generated = [list(output.outputs[0].token_ids) for output in outputs]
        return [ids[:-1] if ids and ids[-1] in ends else ids for ids in generated]


def sampling_params(request: Request, prompts: int) -> Any:
    """vLLM's `SamplingParams` of a request: greedy ones for all, or one a prompt with a seed of its own."""
    vllm, sampling = _import_vllm(), request.sampling
    limits = {
        "max_tokens": request.max_new_tokens,
        "stop_token_ids": sorted(request.eos_token_ids),
        "detokenize": bool(request.stop),
        **({"stop": [request.stop], "include_stop_str_in_output": True} if request.stop else {}),
    }
    if sampling is None:
        return vllm.SamplingParams(temperature=0.0, **limits)
    drawn = {"temperature": sampling.temperature, "top_k": sampling.top_k or -1, "top_p": sampling.top_p}
    return [vllm.SamplingParams(**drawn, seed=sampling.seed * 10**6 + n, **limits) for n in range(prompts)]


def _lora_request(peft_model: PeftModel | None, folder: Path) -> Any:
    """vLLM's request for the adapter, saved into the folder."""
    if peft_model is None:
        return None
    from vllm.lora.request import LoRARequest

    save_adapter(peft_model, folder)
    number = next(_resident.adapters)
    return LoRARequest(f"trial-{number}", number, str(folder))


def _make_engine(key: EngineKey) -> Any:
    """An engine in what is free of the GPU. Its process is its own, so training's process group is not in its way."""
    vllm = _import_vllm()
    where = pretrained(key.model)
    name = where["pretrained_model_name_or_path"]
    free, total = torch.cuda.mem_get_info()
    try:
        return vllm.LLM(
            model=name,
            tokenizer=name,
            revision=where.get("revision"),
            dtype=key.dtype,
            max_model_len=key.max_length,
            enable_lora=True,
            max_loras=1,
            max_lora_rank=key.max_lora_rank,
            gpu_memory_utilization=round(MEMORY_SHARE * free / total, 3),
            enable_sleep_mode=True,
            trust_remote_code=key.trust_remote_code,
            seed=0,
        )
    except (ValueError, RuntimeError, NotImplementedError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"vLLM cannot decode with {key.model} beside the model that is trained, with {free / 2**30:.1f} of "
            f"{total / 2**30:.1f} GiB free: {reason} Use generation.backend: builtin."
        ) from error


def has_gpu() -> bool:
    """Whether this process sees a GPU."""
    return torch.cuda.is_available()


def _import_vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise UserError(
            f"generation.backend: vllm needs vLLM, which cannot be imported: {error}. "
            'pip install "sde_ray[vllm]", or use backend: builtin.'
        ) from error
    return vllm
