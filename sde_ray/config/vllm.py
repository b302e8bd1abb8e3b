"""What `generation.backend: vllm` cannot decode, told from the configuration alone.

refused_by_vllm(Lora(use_dora=True), ...)   ->  ["lora.use_dora, which vLLM does not read"]
"""

from __future__ import annotations

from collections.abc import Sequence

from sde_ray.config.trial import Lora

# Of peft's LoraConfig, what vLLM refuses or, worse, reads past: it knows one rank and one scale, and pairs of matrices.
NOT_READ = ("use_dora", "modules_to_save", "target_parameters", "rank_pattern", "alpha_pattern")


def refused_by_vllm(
    lora: Lora, *, quantization: str, num_workers: int, pack: int | str, gpus: float | str, models: Sequence[str]
) -> list[str]:
    """The settings that vLLM does not go with, in words; empty where it can decode."""
    reasons = [f"lora.{name}, which vLLM does not read" for name in NOT_READ if getattr(lora, name)]
    if quantization != "none":
        reasons.append(f"train.quantization: {quantization}, as its engine has a base of its own, and that a whole one")
    if num_workers > 1:
        reasons.append(f"resources.num_workers: {num_workers}, as its engine takes one GPU")
    if pack != 1:
        reasons.append(f"resources.pack: {pack}, as its engine has one adapter at a time")
    if gpus == 0:
        reasons.append("resources.resources_per_worker.GPU: 0, as it needs a GPU")
    return reasons + [f"model: {name}, a GGUF file" for name in models if name.endswith(".gguf")]
