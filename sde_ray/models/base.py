"""Base models: load a causal language model and its tokenizer, once a process.

A model is named by hub name or path, a folder or a GGUF file; `tiny` is the model inside this package. A hub name may
end with a revision: `org/repo@v1.1`. Adapters on it: `lora.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.utils.logging import disable_progress_bar

from sde_ray.errors import UserError
from sde_ray.models import gguf
from sde_ray.models.base_settings import keep_packing, quantization_config
from sde_ray.models.tokenization import eos_token_id

PACKAGED = {"tiny": Path(__file__).parent / "tiny"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


LIBRARIES = ("torch", "transformers", "peft", "deepspeed")  # another version may round otherwise


@dataclass(frozen=True)
class LoadedModel:
    """A resident model with its tokenizer.

    `max_positions`: the longest sequence, in tokens, that its position embeddings allow. `eos_token_ids`: any of them
    ends a completion.
    """

    name: str
    model: torch.nn.Module
    tokenizer: Any
    max_positions: int
    eos_token_ids: tuple[int, ...]

    def environment(self) -> dict[str, str]:
        """What the digits depend on beside the settings: device, dtype, libraries, and the commit of a hub's model."""
        weight = next(self.model.parameters())
        gpu = weight.device.type == "cuda"
        commit = getattr(getattr(self.model, "config", None), "_commit_hash", None)
        return {
            "device": torch.cuda.get_device_name(weight.device) if gpu else weight.device.type,
            "dtype": str(weight.dtype).removeprefix("torch."),
            **library_versions(),
            **({"commit": commit} if commit else {}),
        }


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
            "(config.json, *.safetensors, tokenizer files), a GGUF file, a Hugging Face name, or one of: "
            f"{', '.join(PACKAGED)}."
        )
    return str(folder)


def pretrained(name: str) -> dict[str, Any]:
    """What `from_pretrained` is told of where a model is: a hub name or folder, and in it the GGUF file, if it is one.

    Raises UserError: for a path that holds no model.
    """
    name, revision = split_revision(name)
    pinned = {"revision": revision} if revision else {}
    if (file := gguf.split(name)) is not None:
        return {"pretrained_model_name_or_path": file[0], "gguf_file": file[1], **pinned}
    return {"pretrained_model_name_or_path": locate(name), **pinned}


def split_revision(name: str) -> tuple[str, str | None]:
    """A model's name, and the commit, tag or branch of the hub that it asks for: `org/repo@v1.1`; None: it names none.

    Raises UserError for a model that is not of the hub, which has one version only.
    """
    model, mark, revision = name.rpartition("@")
    path = os.path.expanduser
    if not mark or os.path.exists(path(name)):
        return name, None
    if model in PACKAGED or os.path.exists(path(model)) or name.startswith(("/", "./", "../", "~")) or not revision:
        raise UserError(
            f"{name} asks for a revision, which only a model of the hub has, such as org/repo@v1.1 (a commit, tag or "
            f"branch). Give {model or 'the name'} without it."
        )
    return model, revision


@cache
def library_versions() -> dict[str, str]:
    """The versions of those libraries that compute which are installed; read once, as a trial needs them."""
    versions: dict[str, str] = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):  # decoding needs no DeepSpeed
            versions[name] = version(name)
    return versions


def device() -> torch.device:
    """The device of this process: its first visible GPU, else the CPU."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")


def resolve_dtype(dtype: str) -> str:
    """The number format that `auto` means here: float32 on a CPU, bfloat16 where the GPU has it, else float16.

    A GPU that merely emulates bfloat16 (V100, T4) has it not: it would be slower there than float32.
    """
    if dtype != "auto":
        return dtype
    if device().type == "cpu":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def load_tokenizer(name: str, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model. Raises UserError with the remedy."""
    with explained(name, "tokenizer"):
        return AutoTokenizer.from_pretrained(**pretrained(name), trust_remote_code=trust_remote_code)


def load_base(
    name: str,
    trust_remote_code: bool = False,
    dtype: str = "float32",
    *,
    quantization: str = "none",
    attn_implementation: str = "sdpa",
) -> LoadedModel:
    """Load a causal language model and its tokenizer; safetensors only, and code of the hub only if trusted.

    Args:
        name: hub name, folder written by `save_pretrained`, GGUF file, or a name of `PACKAGED`.
        trust_remote_code: run the model's own code, as in `AutoModel.from_pretrained`.
        dtype: the weights' number format, as in `train.dtype`; `auto` is what `resolve_dtype` says.
        quantization: as in `train.quantization`; checked by `base_settings.py`.
        attn_implementation: as in `train.attn_implementation`.

    Returns:
        The model on this process' device, in evaluation mode.

    Raises:
        UserError: when there is no such model, or it cannot be loaded; with the remedy.
    """
    disable_progress_bar()
    tokenizer = load_tokenizer(name, trust_remote_code)
    eos_token_id(tokenizer)
    weights = DTYPES[resolve_dtype(dtype)]
    with explained(name, "model"):
        where = {**pretrained(name), "trust_remote_code": trust_remote_code}
        config = AutoConfig.from_pretrained(**where)
        refuse_other_kinds(name, config, trust_remote_code)
        how = {**_placement(where), **_how(quantization, attn_implementation, weights)}
        model = AutoModelForCausalLM.from_pretrained(**where, **how, dtype=weights, use_safetensors=True)
    if quantization == "none":
        gguf.forget_quantization(model)
        model = model.to(device())
    else:
        keep_packing(model)
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    return LoadedModel(name, model.eval(), tokenizer, int(longest or 10**6), _eos_token_ids(model, tokenizer))


def _placement(where: Mapping[str, Any]) -> dict[str, Any]:
    """Straight onto a GPU, file by file, without a second copy of the weights in the host's memory.

    A GGUF file is dequantised on the CPU first; under ZeRO-3 each worker has its shard on its GPU at once.
    """
    elsewhere = device().type == "cpu" or "gguf_file" in where or is_deepspeed_zero3_enabled()
    return {} if elsewhere else {"device_map": {"": device()}}


def _how(quantization: str, attn_implementation: str, dtype: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` is told beyond its own defaults, which take sdpa where the model has it."""
    how: dict[str, Any] = {} if attn_implementation == "sdpa" else {"attn_implementation": attn_implementation}
    if quantization != "none":
        how |= {"quantization_config": quantization_config(quantization, dtype), "device_map": {"": device()}}
    return how


def refuse_other_kinds(name: str, config: Any, trust_remote_code: bool) -> None:
    """Raises UserError for a configuration that transformers, or trusted code of its own, has no language model for."""
    own = trust_remote_code and "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    if not own and type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(
            f"{name} is of the kind {config.model_type}, for which transformers has no causal language model "
            "(AutoModelForCausalLM): it may read images, or encode only. Give a model that continues text; one with "
            "code of its own needs trust_remote_code: true."
        )


@contextmanager
def explained(name: str, part: str) -> Iterator[None]:
    """Turn what transformers raises for a wrong name, a missing file or foreign code into one clear message."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, SafetensorError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"The {part} of {name} cannot be loaded: {reason} Check the name or path; the folder needs config.json, "
            "*.safetensors and the tokenizer's files. A model with code of its own needs trust_remote_code: true."
        ) from error


def _eos_token_ids(model: torch.nn.Module, tokenizer: Any) -> tuple[int, ...]:
    """The ids that end a completion: the tokenizer's end token and those of the model's generation config."""
    more = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = [eos_token_id(tokenizer)] + ([] if more is None else [more] if isinstance(more, int) else list(more))
    return tuple(dict.fromkeys(ids))
