"""GGUF files as bases: dequantised by transformers into an ordinary model, which is trained and saved like any other.

split("models/SmolLM2-135M-Instruct.Q4_1.gguf")   ("models", "SmolLM2-135M-Instruct.Q4_1.gguf")
split("org/repo/model.Q8_0.gguf")                 ("org/repo", "model.Q8_0.gguf"): a file of a hub repository
split("org/repo")                                 None
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError

SUFFIX = ".gguf"


def split(name: str) -> tuple[str, str] | None:
    """The folder or repository of a GGUF file, and the file's name in it; None for another kind of model.

    Raises UserError: when there is no such file, or the library that reads it is not installed.
    """
    if not name.endswith(SUFFIX):
        return None
    path = Path(name).expanduser()
    parts = name.split("/")
    in_hub = len(parts) == 3 and not path.exists() and not name.startswith((".", "~", "/"))
    if not in_hub and not path.is_file():
        raise UserError(
            f"There is no file {name}. Give the path of a GGUF file, or its name in a hub repository: "
            "org/repo/model.Q8_0.gguf."
        )
    if find_spec("gguf") is None:
        raise UserError(f'{name} needs a package that is not installed here: pip install "sde_ray[gguf]"')
    return ("/".join(parts[:2]), parts[2]) if in_hub else (str(path.parent), path.name)


def forget_quantization(model: Any) -> None:
    """Take off the marks of a quantised model: its weights are ordinary numbers now, to be cast, trained and saved."""
    model.__dict__.pop("hf_quantizer", None)
    model.config.__dict__.pop("quantization_config", None)
    for mark in ("_is_quantized", "is_quantized"):
        if getattr(model, mark, False):
            setattr(model, mark, False)
