"""LoRA adapters (peft) on a base model: add, remove, save and load; `merged_lora.py` decodes with them.

    peft_model = add_lora(loaded.model, settings)      a fresh adapter, to be trained
    save_adapter(peft_model, folder)
    remove_lora(peft_model)                            the base model as it was

The base is loaded once and stays; training an adapter does not change its weights, to the bit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from copy import copy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.utils.other import ModulesToSaveWrapper
from safetensors import SafetensorError
from safetensors.torch import save_file

from sde_ray.config.section import without_neutral
from sde_ray.config.trial import Lora
from sde_ray.errors import UserError, format_error
from sde_ray.models import fast_dropout
from sde_ray.models.adapter_files import read_adapter
from sde_ray.models.base import device

ADAPTER = "default"  # peft's name of the one adapter a trial has
ROOT = "base_model.model."  # what peft puts before the names of a model's modules
# Layers whose weight a model takes by itself, always, in training, or in the fused kernels of mamba_ssm: an adapter
# beside one would not be called there, and learn nothing. peft knows some of them.
WEIGHT_ONLY = {
    **dict.fromkeys(("mamba", "falcon_mamba"), ("x_proj", "dt_proj", "out_proj")),
    **dict.fromkeys(("mamba2", "bamba", "granitemoehybrid", "zamba2", "falcon_h1", "nemotron_h"), ("out_proj",)),
    "jamba": ("dt_proj",),
    **dict.fromkeys(("gemma3n", "gemma3n_text"), ("correction_coefs",)),
}


def add_lora(model: torch.nn.Module, settings: Lora) -> PeftModel:
    """Add a fresh LoRA adapter to a base model; its random start comes from torch's global generator.

    Raises UserError when the settings name no layer of the model, or one that cannot be adapted so.
    """
    values = json.loads(json.dumps(without_neutral(settings)))  # lists, which is what peft knows
    layers = ", ".join(_linear_names(model)[:6])  # before peft has put its own among them
    passed_by = WEIGHT_ONLY.get(getattr(getattr(model, "config", None), "model_type", ""), ())
    if settings.target_modules == "all-linear":
        for pattern in (_beside_language_model(model), "|".join(rf".*\.{name}" for name in passed_by)):
            if pattern:
                values["exclude_modules"] = _either(pattern, values.get("exclude_modules"))
    try:
        lora = LoraConfig(**values, task_type="CAUSAL_LM")
        peft_model = get_peft_model(model, lora)  # type: ignore[arg-type]
    except (ValueError, TypeError, NotImplementedError) as error:  # what peft raises for settings it cannot combine
        raise UserError(
            _why_refused(str(error), settings, layers, passed_by)
            or f"peft refuses the section lora: {format_error(error)}"
        ) from error
    adapted = (name.rpartition(".")[2] for name, module in peft_model.named_modules() if isinstance(module, LoraLayer))
    if not set(passed_by).isdisjoint(adapted):
        remove_lora(peft_model)  # type: ignore[arg-type]
        raise UserError(_why_passed_by(settings, passed_by))
    if device().type == "cpu":
        fast_dropout.use_fast_dropout(peft_model)
    return peft_model  # type: ignore[return-value]


def remove_lora(peft_model: PeftModel) -> torch.nn.Module:
    """Remove the adapter; returns the base model, its weights untouched to the bit."""
    for name, module in list(peft_model.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):  # peft would leave the trained copy in the base
            parent, _, child = name.rpartition(".")
            setattr(peft_model.get_submodule(parent), child, module.original_module)
    model: torch.nn.Module = peft_model.unload()
    model.__dict__.pop("peft_config", None)  # peft leaves it there and would warn of a second adapter
    return model.eval()


def save_adapter(peft_model: PeftModel, folder: Path) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json`. Under ZeRO-3 the parameters must be gathered."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in get_peft_model_state_dict(peft_model).items()}
    empty = [name for name, tensor in tensors.items() if tensor.numel() == 0]
    assert tensors and not empty, f"adapter tensors without content (not gathered?): {empty[:3]}"
    learned = [name for name, tensor in tensors.items() if "lora_B" in name and bool(tensor.any())]
    assert learned, "every lora_B is zero: the adapter did not learn anything"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    _exact_config(peft_model, tensors).save_pretrained(str(folder))


def _exact_config(peft_model: PeftModel, names: Iterable[str]) -> LoraConfig:
    """The adapter's configuration with whole names of modules for patterns, as `adapter_files` reads it."""
    config = copy(peft_model.peft_config[ADAPTER])
    layers = {
        _pattern_name(name.removeprefix(ROOT), module): module
        for name, module in peft_model.named_modules()
        if isinstance(module, LoraLayer)
    }
    config.rank_pattern = {name: one.r[ADAPTER] for name, one in layers.items() if one.r[ADAPTER] != config.r}
    alphas = {name: one.lora_alpha[ADAPTER] for name, one in layers.items()}
    config.alpha_pattern = {name: alpha for name, alpha in alphas.items() if alpha != config.lora_alpha}
    if config.modules_to_save:
        others = {name.removeprefix(ROOT).rpartition(".")[0] for name in names if ".lora_" not in name}
        config.modules_to_save = sorted(others)
    if getattr(config, "target_parameters", None):
        config.target_parameters = [name for name, module in layers.items() if hasattr(module, "parameter_name")]
    return config


def _pattern_name(name: str, layer: LoraLayer) -> str:
    """What peft's patterns call a layer: by its module, or by the parameter that it adapts (experts.gate_up_proj)."""
    parameter = getattr(layer, "parameter_name", None)
    return f"{name.removesuffix('.base_layer')}.{parameter}" if parameter else name


def load_adapter(model: torch.nn.Module, folder: Path) -> PeftModel:
    """Load a saved adapter onto its base model, for decoding.

    Raises UserError when it is damaged, or belongs to another base model.
    """
    saved = read_adapter(folder)
    modules = dict(model.named_modules())
    for name, (inputs, outputs) in saved.shapes.items():
        layer = modules.get(name if name in saved.target_modules else name.removesuffix(".base_layer"))
        if layer is None or (
            isinstance(layer, torch.nn.Linear) and (layer.in_features, layer.out_features) != (inputs, outputs)
        ):
            raise UserError(f"The adapter in {folder} is for another base model: {name} is {inputs} x {outputs} in it.")
    tensors = model.state_dict()
    for name, shape in saved.saved.items():
        tensor = tensors.get(name.removeprefix(ROOT))
        if tensor is None or tuple(tensor.shape) != shape:
            raise UserError(f"The adapter in {folder} is for another base model: {name} is {list(shape)} in it.")
    # Not peft's reading of adapter_config.json, which believes all that it says.
    lora = LoraConfig(
        r=saved.rank,
        lora_alpha=saved.alpha,  # type: ignore[arg-type]
        target_modules=saved.target_modules,
        fan_in_fan_out=saved.swapped,
        rank_pattern={re.escape(name): rank for name, rank in saved.ranks.items()},
        alpha_pattern={re.escape(name): alpha for name, alpha in saved.alphas.items()},
        use_rslora=saved.use_rslora,
        use_dora=saved.use_dora,
        modules_to_save=list(saved.modules_to_save) or None,
        **({"target_parameters": list(saved.target_parameters)} if saved.target_parameters else {}),
        task_type="CAUSAL_LM",
    )
    try:
        return PeftModel.from_pretrained(model, str(folder), config=lora, use_safetensors=True).eval()  # type: ignore[arg-type]
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"The adapter in {folder} does not fit its base model: {format_error(error)}") from error


def _why_passed_by(settings: Lora, passed_by: Iterable[str]) -> str:
    """The refusal of an adapter on layers whose weight the model takes by itself."""
    return (
        f"lora.target_modules = {settings.target_modules} takes layers of which this model uses the weight by itself "
        f"({', '.join(passed_by)}), and would pass the adapter by. Take them out, or set lora.target_modules: "
        "all-linear, which leaves them out."
    )


def _why_refused(error: str, settings: Lora, layers: str, passed_by: Iterable[str]) -> str:
    """The reason and the remedy behind what peft says; empty where its own words are clear."""
    if "does not work with lora_dropout" in error:
        return (
            f"lora.target_modules = {settings.target_modules} takes the experts of this model, whose weights are one "
            "parameter, and there peft has no dropout. Set lora.lora_dropout: 0, or leave the experts out and name the "
            f"modules to be adapted, such as {layers}."
        )
    if "incompatible with Mamba" in error:
        return _why_passed_by(settings, passed_by)
    if "arget modules" in error:
        return (
            f"LoRA finds nothing to adapt for lora.target_modules = {settings.target_modules}: {error} Use "
            f'"all-linear", or names of the model\'s layers such as {layers}.'
        )
    return ""


def _beside_language_model(model: Any) -> str:
    """A regular expression for the modules of a multimodal model that read no text; empty for a language model."""
    config = getattr(model, "config", None)
    if config is None or config.get_text_config() is config or not hasattr(model, "get_decoder"):
        return ""
    decoder = model.get_decoder()
    name = next((name for name, module in model.named_modules() if module is decoder), "")
    return rf"(?!{re.escape(name)}\.).*" if name else ""


def _either(pattern: str, modules: str | list[str] | None) -> str:
    """One regular expression for what it matches, and for what peft takes from `exclude_modules`."""
    if not modules:
        return pattern
    own = modules if isinstance(modules, str) else "|".join(rf"(.*\.)?{re.escape(name)}" for name in modules)
    return f"({pattern})|({own})"


def _linear_names(model: torch.nn.Module) -> list[str]:
    linear = (name.rsplit(".", 1)[-1] for name, m in model.named_modules() if isinstance(m, torch.nn.Linear))
    return list(dict.fromkeys(linear))
