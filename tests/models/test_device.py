"""What a machine with a GPU would do, told from a machine without: where weights go, and what `auto` means."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sde_ray.models import base


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, native: bool, emulated: bool = True) -> None:
    """A GPU that has bfloat16, or emulates it as torch does on a V100."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or (emulated and including_emulation)
    )


def test_auto_is_the_format_that_the_device_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert base.resolve_dtype("auto") == "float32"
    pretend_gpu(monkeypatch, native=True)
    assert base.resolve_dtype("auto") == "bfloat16"
    pretend_gpu(monkeypatch, native=False)
    assert base.resolve_dtype("auto") == "float16"
    assert base.resolve_dtype("float32") == "float32"


@pytest.mark.parametrize(("gpu", "expected"), [(True, {"": torch.device("meta")}), (False, None)])
def test_weights_go_straight_to_the_gpu(
    gpu: bool, expected: Any, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    load = base.AutoModelForCausalLM.from_pretrained

    def from_pretrained(*arguments: Any, device_map: Any = None, **options: Any) -> Any:
        asked.append(device_map)
        return load(*arguments, device_map=device_map, **options)

    monkeypatch.setattr(base, "AutoModelForCausalLM", SimpleNamespace(from_pretrained=from_pretrained))
    if gpu:
        monkeypatch.setattr(base, "device", lambda: torch.device("meta"))
    model = base.load_base(str(tiny_llama)).model
    assert asked == [expected]
    assert {parameter.device.type for parameter in model.parameters()} == {"meta" if gpu else "cpu"}


def test_a_gguf_file_is_dequantised_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "device", lambda: torch.device("cuda", 0))
    assert base._placement({"pretrained_model_name_or_path": "x", "gguf_file": "x.Q8_0.gguf"}) == {}
    assert base._placement({"pretrained_model_name_or_path": "x"}) == {"device_map": {"": torch.device("cuda", 0)}}


def test_a_library_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LIBRARIES", ("torch", "no_such_library"))
    base.library_versions.cache_clear()
    try:
        assert base.library_versions() == {"torch": metadata.version("torch")}
    finally:
        base.library_versions.cache_clear()
