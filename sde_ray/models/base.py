"""The base model and the adapters on it: load, attach, detach, save.

A base is loaded once and stays; an adapter (peft LoRA) is attached for a trial and taken off after it, which leaves the
base's weights untouched to the bit. A model is named by hub name or path; `tiny` is the model inside this package.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from sde_ray.config.trial import Lora
from sde_ray.errors import UserError
from sde_ray.models import fast_dropout
from sde_ray.models.adapter_files import read_adapter
from sde_ray.models.tokenization import end_token
from sde_ray.safe_json import one_line

PACKAGED = {"tiny": Path(__file__).parent / "tiny"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ADAPTER = "default"  # peft's name of the one adapter a trial has


@dataclass(frozen=True)
class Base:
    """A resident model with its tokenizer; `context` is the most tokens its positions reach."""

    name: str
    model: torch.nn.Module
    tokenizer: Any
    context: int
    stops: tuple[int, ...]


def locate(name: str) -> str:
    """A model's hub name or folder. Raises UserError for a path that holds no model."""
    if name in PACKAGED:
        return str(PACKAGED[name])
    folder = Path(os.path.expanduser(name))
    if not (os.path.exists(folder) or name.startswith(("/", "./", "../", "~"))):
        return name
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{name} is not a model: it has no config.json. Give a folder written by `save_pretrained` "
            f"(config.json, *.safetensors, tokenizer files), a Hugging Face name, or one of: {', '.join(PACKAGED)}."
        )
    return str(folder)


def device() -> torch.device:
    """The device of this process: its first visible GPU, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def resolve_dtype(dtype: str) -> str:
    """The number format that `auto` means here: float32 on a CPU, bfloat16 where the GPU has it, else float16."""
    if dtype != "auto":
        return dtype
    if not torch.cuda.is_available():
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def load_tokenizer(name: str, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model. Raises UserError with the remedy."""
    with _explained(name, "tokenizer"):
        return AutoTokenizer.from_pretrained(locate(name), trust_remote_code=trust_remote_code)


def load_base(name: str, trust_remote_code: bool = False, dtype: torch.dtype = torch.float32) -> Base:
    """Load a causal language model for training adapters on it; safetensors only, code of the hub only if trusted."""
    disable_progress_bar()
    tokenizer = load_tokenizer(name, trust_remote_code)
    end_token(tokenizer)
    with _explained(name, "model"):
        config = AutoConfig.from_pretrained(locate(name), trust_remote_code=trust_remote_code)
        model = AutoModelForCausalLM.from_pretrained(
            locate(name), trust_remote_code=trust_remote_code, dtype=dtype, use_safetensors=True
        )
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return Base(name, model.to(device()).eval(), tokenizer, int(longest or 10**6), _stops(model, tokenizer))


def attach(base: torch.nn.Module, settings: Lora) -> PeftModel:
    """A fresh adapter on the base; its random start comes from torch's global generator."""
    targets = settings.target_modules if isinstance(settings.target_modules, str) else list(settings.target_modules)
    lora = LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        peft_model = get_peft_model(base, lora)  # type: ignore[arg-type]
    except ValueError as error:
        raise UserError(
            f"LoRA finds nothing to adapt for lora.target_modules = {settings.target_modules}: {error} Use "
            '"all-linear", or names of the model\'s layers such as '
            f"{', '.join(_linear_names(base)[:6])}."
        ) from error
    if device().type == "cpu":
        fast_dropout.use_fast_dropout(peft_model)
    return peft_model  # type: ignore[return-value]


def detach(peft_model: PeftModel) -> torch.nn.Module:
    """Take the adapter off and give back the base as it was."""
    base: torch.nn.Module = peft_model.unload()
    base.__dict__.pop("peft_config", None)  # peft leaves it there and would warn of a second adapter
    return base.eval()


def save_adapter(peft_model: PeftModel, folder: Path) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json`. The parameters must be whole (gathered) here."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in get_peft_model_state_dict(peft_model).items()}
    empty = [name for name, tensor in tensors.items() if tensor.numel() == 0]
    assert tensors and not empty, f"adapter tensors without content (not gathered?): {empty[:3]}"
    learned = [name for name, tensor in tensors.items() if "lora_B" in name and bool(tensor.any())]
    assert learned, "every lora_B is zero: the adapter did not learn anything"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    peft_model.peft_config[ADAPTER].save_pretrained(str(folder))


def load_adapter(base: torch.nn.Module, folder: Path) -> PeftModel:
    """Put a saved adapter on its base, for decoding. `UserError` where it is damaged, or of another base model."""
    saved = read_adapter(folder)
    modules = dict(base.named_modules())
    for name, (inputs, outputs) in saved.shapes.items():
        own = modules.get(name)
        if own is None or (
            isinstance(own, torch.nn.Linear) and (own.in_features, own.out_features) != (inputs, outputs)
        ):
            raise UserError(f"The adapter in {folder} is for another base model: {name} is {inputs} x {outputs} in it.")
    # Not peft's reading of adapter_config.json, which believes all that it says.
    lora = LoraConfig(
        r=saved.rank,
        lora_alpha=saved.alpha,  # type: ignore[arg-type]
        target_modules=list(saved.shapes),
        fan_in_fan_out=saved.swapped,
        task_type="CAUSAL_LM",
    )
    try:
        return PeftModel.from_pretrained(base, str(folder), config=lora, use_safetensors=True).eval()  # type: ignore[arg-type]
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise UserError(f"The adapter in {folder} does not fit its base model: {one_line(error)}") from error


@contextmanager
def merged(peft_model: PeftModel) -> Iterator[torch.nn.Module]:
    """The adapter folded into the weights for the time of decoding, on copies: the base's own tensors wait aside.

    Decoding is many small steps, and two more small products per layer would double their cost. peft's own merge and
    unmerge would leave rounding in the base. Only full-precision weights are folded in; a bf16 weight would round the
    adapter away, so there it stays beside its layer.
    """
    layers = [m for m in peft_model.modules() if hasattr(m, "get_delta_weight") and ADAPTER in getattr(m, "lora_A", {})]
    if not layers or any(layer.get_base_layer().weight.dtype != torch.float32 for layer in layers):
        yield peft_model.get_base_model()  # its layers carry the adapter; peft's own forward hides what the model takes
        return
    kept = [(layer.get_base_layer().weight, layer.get_base_layer().weight.data) for layer in layers]
    try:
        with peft_model.disable_adapter(), torch.no_grad():
            for layer, (weight, own) in zip(layers, kept, strict=True):
                weight.data = own + layer.get_delta_weight(ADAPTER).to(own.dtype)
            yield peft_model.get_base_model()
    finally:
        for weight, own in kept:
            weight.data = own


@contextmanager
def _explained(name: str, part: str) -> Iterator[None]:
    """Turn what transformers raises for a wrong name, a missing file or foreign code into one clear message."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"The {part} of {name} cannot be loaded: {reason} Check the name or path; the folder needs config.json, "
            "*.safetensors and the tokenizer's files. A model with code of its own needs trust_remote_code: true."
        ) from error


def _stops(model: torch.nn.Module, tokenizer: Any) -> tuple[int, ...]:
    """The ids that end a completion: the tokenizer's end token and those of the model's generation settings."""
    settings = getattr(model, "generation_config", None)
    more = getattr(settings, "eos_token_id", None)
    ids = [end_token(tokenizer)] + ([] if more is None else [more] if isinstance(more, int) else list(more))
    return tuple(dict.fromkeys(ids))


def _linear_names(base: torch.nn.Module) -> list[str]:
    linear = (name.rsplit(".", 1)[-1] for name, m in base.named_modules() if isinstance(m, torch.nn.Linear))
    return list(dict.fromkeys(linear))
