"""Validation of an adapter's folder before anything of it is loaded: it may be anybody's.

    read_adapter(folder)   -> Adapter(rank=8, alpha=16.0, shapes={"model.layers.0.self_attn.q_proj": (64, 64), ...})

The header of `adapter_model.safetensors` says what there is: names and shapes of tensors, which must be those of a LoRA
adapter and fill the file exactly. Of `adapter_config.json` the scale is used, and what else it asks for is refused: in
peft's hands that file can match patterns, replicate layers and reserve any amount of memory.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.safe_json import one_line, read_json

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAX_BYTES = 16 * 2**20  # of a header or a JSON file
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_TENSOR = re.compile(
    r"base_model\.model\.(?P<module>\w+(?:\.\w+)*)"
    r"\.(?:lora_(?P<part>[AB])\.weight|lora_embedding_(?P<table>[AB])|base_layer\.weight)"
)
# What a configuration may hold without effect here: where it comes from, and how the training began.
WITHOUT_EFFECT = {
    "auto_mapping", "base_model_name_or_path", "inference_mode", "init_lora_weights", "lora_dropout", "megatron_core",
    "peft_version", "qalora_group_size", "revision", "target_modules", "task_type",
}  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter. `shapes`: inputs and outputs of each module that it changes; `swapped`: peft's fan_in_fan_out."""

    rank: int
    alpha: float
    shapes: Mapping[str, tuple[int, int]]
    swapped: bool = False


def read_adapter(folder: Path) -> Adapter:
    """Read and check an adapter's files, without loading a tensor.

    Raises UserError for anything but a whole LoRA adapter.
    """
    if not os.path.isfile(folder / WEIGHTS):
        raise UserError(f"{folder} holds no adapter: {WEIGHTS} is missing. Give a trial's `adapter/`.")
    try:
        rank, shapes = _shapes(dict(_tensors(folder)))
        config = read_json(read_file_inside(folder, CONFIG))
        return Adapter(rank, _alpha(config, rank), shapes, config.get("fan_in_fan_out") is True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"The adapter in {folder} cannot be used: {getattr(error, 'strerror', None) or one_line(error)}. Give one "
            "that a sweep has saved, whole and unchanged."
        ) from None


def read_file_inside(folder: Path, name: str, max_bytes: int = MAX_BYTES) -> bytes:
    """The bytes of a small file in the folder. Raises ValueError for a link that leaves it, or a larger file."""
    with open(_path_inside(folder, name), "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{name} is larger than {max_bytes} bytes")
    return data


def _path_inside(folder: Path, name: str) -> str:
    path = os.path.realpath(folder / name)
    if os.path.dirname(path) != os.path.realpath(folder):
        raise ValueError(f"{name} is a link out of the folder (copy what it points to: cp -L)")
    return path


def _tensors(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor. Raises ValueError when the header does not describe the file exactly."""
    path = _path_inside(folder, WEIGHTS)
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_BYTES, size - 8):
            raise ValueError(f"{WEIGHTS} is no safetensors file")
        header = read_json(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{WEIGHTS} has no header")
    header.pop("__metadata__", None)
    parts = sorted(_span(name, entry) for name, entry in header.items())
    end = 0
    for start, stop, name, shape in parts:
        if start != end:
            raise ValueError(f"{WEIGHTS} has a hole or an overlap before the tensor {name[:80]!r}")
        end = stop
        yield name, shape
    if end != size - 8 - length:
        raise ValueError(f"{WEIGHTS} holds {size - 8 - length} bytes of tensors, its header tells of {end}")


def _span(name: str, entry: Any) -> tuple[int, int, str, tuple[int, ...]]:
    """Where a tensor starts and ends, its name and its shape."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    shape, offsets = _counts(fields.get("shape")), _counts(fields.get("data_offsets"))
    if not shape or len(offsets) != 2 or len(shape) > 4:
        raise ValueError(f"the tensor {name[:80]!r} has no shape or no place")
    kind = fields.get("dtype")
    if not isinstance(kind, str) or kind not in BYTES:
        raise ValueError(f"the tensor {name[:80]!r} is of the type {kind!r:.40}, expected one of {', '.join(BYTES)}")
    if offsets[1] - offsets[0] != math.prod(shape) * BYTES[kind] or not math.prod(shape):
        raise ValueError(f"the tensor {name[:80]!r} of shape {list(shape)} does not fill its place")
    return offsets[0], offsets[1], name, shape


def _counts(value: Any) -> tuple[int, ...]:
    """The numbers of a list; empty if it holds anything else."""
    fits = isinstance(value, list) and all(type(number) is int and 0 <= number < 2**48 for number in value)
    return tuple(value) if fits else ()


def _shapes(tensors: Mapping[str, tuple[int, ...]]) -> tuple[int, dict[str, tuple[int, int]]]:
    """The rank, and by module how many inputs and outputs the pair of matrices has."""
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, shape in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None or len(shape) != 2:
            raise ValueError(f"the tensor {name[:80]!r} of shape {list(shape)} is none of a LoRA adapter")
        part = match["part"] or match["table"]
        if part:
            pairs.setdefault(match["module"], {})[part] = shape
    ranks = {shape[0] if part == "A" else shape[1] for pair in pairs.values() for part, shape in pair.items()}
    halves = [module for module, pair in pairs.items() if len(pair) != 2]
    if halves or len(ranks) != 1:
        raise ValueError(
            f"half of {halves[0]} is missing" if halves else f"its ranks are {sorted(ranks)}, expected one"
        )
    return ranks.pop(), {module: (pair["A"][1], pair["B"][0]) for module, pair in pairs.items()}


def _alpha(config: Any, rank: int) -> float:
    """The scale in the configuration; ValueError where it tells of another adapter than a plain LoRA of this rank."""
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ValueError(f"{CONFIG} is none of a LoRA adapter")
    if config.get("r") != rank or type(config["r"]) is not int:
        raise ValueError(f"{CONFIG} says r = {config.get('r')!r:.40}, its tensors have rank {rank}")
    understood = {*WITHOUT_EFFECT, "peft_type", "r", "lora_alpha", "fan_in_fan_out"}
    unknown_keys = [key for key, value in config.items() if key not in understood and value and value != "none"]
    if unknown_keys:
        raise ValueError(f"{CONFIG} asks for {', '.join(unknown_keys)[:200]}, which no sweep uses")
    alpha: Any = config.get("lora_alpha")
    if type(alpha) not in (int, float) or not 0 < alpha < 1e6:
        raise ValueError(f"{CONFIG} says lora_alpha = {alpha!r:.40}, expected a number above 0")
    return float(alpha)
