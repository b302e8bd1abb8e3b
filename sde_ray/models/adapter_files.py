"""Validation of an adapter's folder before anything of it is loaded: it may be anybody's.

    read_adapter(folder)   -> Adapter(rank=8, alpha=16.0, shapes={"model.layers.0.self_attn.q_proj": (64, 64), ...})

The header of `adapter_model.safetensors` says what there is: names and shapes of tensors, which must be those of a LoRA
adapter and fill the file exactly. Of `adapter_config.json` is used what a sweep sets (ranks, scales, DoRA, modules to
save) where it agrees with the tensors; what else it asks for is refused: in peft's hands that file can match patterns,
replicate layers and reserve any amount of memory.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError, format_error
from sde_ray.safe_json import read_json

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
MAX_BYTES = 16 * 2**20  # of a header or a JSON file
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_TENSOR = re.compile(
    r"base_model\.model\.(?P<module>\w+(?:\.\w+)*)"
    r"\.(?:lora_(?P<part>[AB])\.weight|lora_embedding_(?P<table>[AB])|(?P<magnitude>lora_magnitude_vector)"
    r"|base_layer\.weight)"
)
_SAVED = re.compile(r"base_model\.model\.(?P<module>\w+(?:\.\w+)*)\.(?:weight|bias)")
# What a configuration may hold without effect here: where it comes from, and how the training began.
WITHOUT_EFFECT = {
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size",
    "revision", "target_modules", "task_type",
}  # fmt: skip
# What has one, and is checked against the tensors.
WITH_EFFECT = {
    "alpha_pattern", "fan_in_fan_out", "lora_alpha", "modules_to_save", "peft_type", "r", "rank_pattern",
    "target_parameters", "use_dora", "use_rslora",
}  # fmt: skip


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter. `shapes`: inputs and outputs of each module that it changes; `swapped`: peft's fan_in_fan_out.

    `ranks` and `alphas`: of the modules and parameters that have their own. `saved`: the shapes of the tensors of
    `modules_to_save`.
    """

    rank: int
    alpha: float
    shapes: Mapping[str, tuple[int, int]]
    swapped: bool = False
    ranks: Mapping[str, int] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)
    use_rslora: bool = False
    use_dora: bool = False
    modules_to_save: tuple[str, ...] = ()
    saved: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    target_parameters: tuple[str, ...] = ()

    @property
    def target_modules(self) -> list[str]:
        """The modules with an adapter on the whole module, not on one of its parameters."""
        parameters = {name.rpartition(".")[0] for name in self.target_parameters}
        return [module for module in self.shapes if module.removesuffix(".base_layer") not in parameters]


def read_adapter(folder: Path) -> Adapter:
    """Read and check an adapter's files, without loading a tensor.

    Raises UserError for anything but a whole LoRA adapter.
    """
    if not os.path.isfile(folder / WEIGHTS):
        raise UserError(f"{folder} holds no adapter: {WEIGHTS} is missing. Give a trial's `adapter/`.")
    try:
        tensors = dict(_tensors(folder))
        return _adapter(_checked_keys(read_json(read_file_inside(folder, CONFIG))), tensors)
    except (OSError, ValueError) as error:
        raise UserError(
            f"The adapter in {folder} cannot be used: {getattr(error, 'strerror', None) or format_error(error)}. "
            "Give one that a sweep has saved, whole and unchanged."
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


def _adapter(config: Mapping[str, Any], tensors: Mapping[str, tuple[int, ...]]) -> Adapter:
    """The adapter that the tensors are, as far as the configuration agrees with them."""
    pairs, magnitudes, saved = _sorted_tensors(tensors)
    shapes = {module: (pair["A"][1], pair["B"][0]) for module, pair in pairs.items()}
    modules = {name.removesuffix(".base_layer") for name in shapes}
    parameters = _names(config, "target_parameters", modules, parents=True)
    alphas = _by_module(config, "alpha_pattern", {*shapes, *parameters})
    adapter = Adapter(
        config["r"],
        _alpha(config.get("lora_alpha"), "lora_alpha"),
        shapes,
        config.get("fan_in_fan_out") is True,
        _by_module(config, "rank_pattern", {*shapes, *parameters}),
        {name: _alpha(alpha, f"alpha_pattern.{name}") for name, alpha in alphas.items()},
        config.get("use_rslora") is True,
        config.get("use_dora") is True,
        _modules_to_save(config, saved),
        saved,
        parameters,
    )
    _check_ranks(adapter, {module: pair["A"][0] for module, pair in pairs.items()})
    if magnitudes != ({module: (shape[1],) for module, shape in shapes.items()} if adapter.use_dora else {}):
        raise ValueError(f"{CONFIG} says use_dora = {adapter.use_dora}, its tensors have {len(magnitudes)} magnitudes")
    return adapter


def _check_ranks(adapter: Adapter, ranks: Mapping[str, int]) -> None:
    """Raises ValueError unless each tensor has the rank that the configuration says, and no other rank is asked for.

    A parameter of a mixture of experts has the matrices of all experts in one, and which of its module's parameters a
    tensor belongs to is up to peft.
    """
    whole = set(adapter.target_modules)
    of_parameters = {adapter.rank, *(adapter.ranks.get(name, adapter.rank) for name in adapter.target_parameters)}
    matched: set[Any] = set()
    for module, rank in ranks.items():
        expected = {adapter.ranks.get(module, adapter.rank)} if module in whole else of_parameters
        fitting = {one for one in expected if type(one) is int and one > 0 and _fits(rank, one, module in whole)}
        if not fitting:
            raise ValueError(f"{CONFIG} says r = {next(iter(expected))!r:.40}, its tensors have rank {rank}")
        matched |= fitting
    for name, rank in adapter.ranks.items():
        if rank not in matched:
            raise ValueError(f"{CONFIG} says r = {rank!r:.40} of {name[:80]}, its tensors have another rank")


def _fits(rank: int, expected: int, whole: bool) -> bool:
    return rank == expected if whole else rank % expected == 0


def _sorted_tensors(tensors: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The shapes of the pairs of matrices and of DoRA's magnitudes by module, and of all other tensors by name."""
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    magnitudes: dict[str, tuple[int, ...]] = {}
    saved: dict[str, tuple[int, ...]] = {}
    for name, shape in tensors.items():
        match = _TENSOR.fullmatch(name)
        part = match and (match["part"] or match["table"])
        if match and match["magnitude"] and len(shape) == 1:
            magnitudes[match["module"]] = shape
        elif match and part and len(shape) == 2:
            pairs.setdefault(match["module"], {})[part] = shape
        elif match is None and _SAVED.fullmatch(name):
            saved[name] = shape
        elif match is None or part or len(shape) != 2:
            raise ValueError(f"the tensor {name[:80]!r} of shape {list(shape)} is none of a LoRA adapter")
    for module, pair in pairs.items():
        if len(pair) != 2:
            raise ValueError(f"half of {module} is missing")
        if pair["A"][0] != pair["B"][1]:
            raise ValueError(f"the ranks of {module} are {pair['A'][0]} and {pair['B'][1]}, expected one")
    if not pairs:
        raise ValueError("it has no pair of LoRA matrices")
    return pairs, magnitudes, saved


def _checked_keys(config: Any) -> dict[str, Any]:
    """The configuration; ValueError where it tells of something else than a LoRA adapter that a sweep trains."""
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ValueError(f"{CONFIG} is none of a LoRA adapter")
    understood = WITHOUT_EFFECT | WITH_EFFECT
    unknown_keys = [key for key, value in config.items() if key not in understood and value and value != "none"]
    if unknown_keys:
        raise ValueError(f"{CONFIG} asks for {', '.join(unknown_keys)[:200]}, which no sweep uses")
    if type(config.get("r")) is not int:
        raise ValueError(f"{CONFIG} says r = {config.get('r')!r:.40}, expected a whole number")
    return config


def _by_module(config: Mapping[str, Any], key: str, names: Collection[str]) -> dict[str, Any]:
    """A mapping by module or parameter. Never a pattern: in peft's hands the names are regular expressions."""
    value = config.get(key) or {}
    if not isinstance(value, dict) or not set(value) <= set(names):
        raise ValueError(f"{CONFIG} asks for {key} {str(value)[:80]}, which names other modules than its tensors")
    return value


def _names(config: Mapping[str, Any], key: str, allowed: set[str], parents: bool = False) -> tuple[str, ...]:
    """A list of names, each (or its parent) one of those allowed."""
    value = config.get(key) or []
    fits = isinstance(value, list) and all(
        isinstance(name, str) and (name.rpartition(".")[0] if parents else name) in allowed for name in value
    )
    if not fits:
        raise ValueError(f"{CONFIG} asks for {key} {str(value)[:80]}, of which it has no tensor")
    return tuple(value)


def _modules_to_save(config: Mapping[str, Any], saved: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    modules = {name.removeprefix("base_model.model.").rpartition(".")[0]: name for name in saved}
    listed = _names(config, "modules_to_save", set(modules))
    for module in modules.keys() - set(listed):
        name = modules[module]
        raise ValueError(f"the tensor {name[:80]!r} of shape {list(saved[name])} is none of a LoRA adapter")
    return listed


def _alpha(alpha: Any, key: str) -> float:
    if type(alpha) not in (int, float) or not 0 < alpha < 1e6:
        raise ValueError(f"{CONFIG} says {key[:80]} = {alpha!r:.40}, expected a number above 0")
    return float(alpha)
