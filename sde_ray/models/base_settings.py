"""Settings of the base model of a trial, checked before it is loaded: quantization, attention, compilation.

    check_base_settings("org/model", Train(quantization="nf4"), stage=3, gpu=True)
        UserError: train.quantization: nf4 cannot be sharded by ZeRO-3 ...

Whether a package is installed is asked of the machine that the models are on.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from sde_ray.config.trial import Train
from sde_ray.errors import FaultList
from sde_ray.models import gguf

BYTES = {"int8": 1.0, "nf4": 0.5 + 1 / 64 + 4 / (64 * 256)}  # a weight, with its scales in blocks of 64, and theirs
COMPILERS = ("c++", "g++", "clang++")


def check_base_settings(model: str, train: Train, stage: Any, gpu: bool) -> None:
    """Raises UserError, all faults at once, for what this machine cannot do.

    Args:
        model: its name, as in `load_base`.
        train: the trial's settings.
        stage: the ZeRO stage.
        gpu: trials run on a GPU.
    """
    faults = FaultList("base model")
    if train.quantization != "none":
        _check_quantization(faults, model, train.quantization, stage)
    if train.attn_implementation == "flash_attention_2":
        _check_flash_attention(faults, train, gpu)
    if train.torch_compile:
        _check_compilation(faults, stage, gpu)
    faults.raise_if_any()


def _check_quantization(faults: FaultList, model: str, quantization: str, stage: Any) -> None:
    setting = f"train.quantization: {quantization}"
    if find_spec("bitsandbytes") is None:
        faults.add(f'{setting} needs a package that is not installed here: pip install "sde_ray[quant]"')
    if stage == 3:
        faults.add(
            f"{setting} cannot be sharded by ZeRO-3. Use deepspeed.zero_optimization.stage: 2, or no quantization."
        )
    if gguf.split(model) is not None:
        faults.add(f"{setting} is for a model in full precision, and {model} is a GGUF file. Leave one of both out.")


def _check_flash_attention(faults: FaultList, train: Train, gpu: bool) -> None:
    setting = "train.attn_implementation: flash_attention_2"
    if not gpu:
        faults.add(f"{setting} runs on a GPU only. Use sdpa, which is the default.")
    elif find_spec("flash_attn") is None:
        faults.add(f"{setting} needs a package that is not installed here: pip install flash-attn. Or use sdpa.")
    if train.dtype == "float32":
        faults.add(f"{setting} has no float32. Set train.dtype: bfloat16, or use sdpa.")


def _check_compilation(faults: FaultList, stage: Any, gpu: bool) -> None:
    if stage == 3:
        faults.add(
            "train.torch_compile does not go with ZeRO-3, which fetches weights between the layers. Leave it out."
        )
    named = os.environ.get("CXX")
    if not gpu and not any(map(shutil.which, [named] if named else COMPILERS)):
        faults.add("train.torch_compile needs a C++ compiler on a CPU, and none is installed here, such as g++.")
    if gpu and find_spec("triton") is None:
        faults.add("train.torch_compile needs triton on a GPU: pip install triton. Or leave it out.")


def quantization_config(quantization: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """The base in 8 bits (LLM.int8) or 4 bits (NF4 with its scales quantised again, as QLoRA has it)."""
    if quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, bnb_4bit_use_double_quant=True
    )


def keep_packing(model: torch.nn.Module) -> None:
    """Keep 4-bit weights as they were packed, for the base must stay the same from trial to trial.

    bitsandbytes would pack them anew for its decoding kernel on some CPUs, and back for training, and round their
    scales each time.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
