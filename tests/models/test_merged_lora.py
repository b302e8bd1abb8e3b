"""An adapter in the weights while decoding: the sum rounded once, left out where it is no sum; the base is restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sde_ray.config.trial import Lora
from sde_ray.models import merged_lora as merging
from sde_ray.models.base import load_base
from sde_ray.models.lora import add_lora, remove_lora
from sde_ray.models.merged_lora import merged_lora

IDS = torch.arange(5, 17)[None]


def adapted(folder: Path, dtype: str = "float32", tie: bool = False, **settings: Any) -> Any:
    """A model with an adapter that has learned something, in the dtype that DeepSpeed trains it in."""
    base = load_base(str(folder), dtype=dtype).model
    if tie:
        base.lm_head.weight = base.model.embed_tokens.weight
    torch.manual_seed(3)
    peft_model = add_lora(base, Lora(**{"r": 4, "lora_dropout": 0.0, **settings})).eval()
    for weight in peft_model.parameters():
        if weight.requires_grad:
            weight.data = (weight + 0.2 * torch.randn_like(weight)).to(next(base.parameters()).dtype)
    return peft_model


def tensors(peft_model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in peft_model.state_dict().items()}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("on_host", [False, True])
def test_each_weight_is_the_sum_rounded_once_and_then_the_bases_again(
    tiny_llama: Path, dtype: str, on_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    peft_model = adapted(tiny_llama, dtype)
    before = tensors(peft_model)
    if on_host:  # as on a GPU without room for both
        monkeypatch.setattr(merging, "waits_on_host", lambda *_: True)
    layer = peft_model.get_submodule("base_model.model.model.layers.1.mlp.down_proj")
    exact = layer.get_base_layer().weight.double() + layer.scaling["default"] * (
        layer.lora_B["default"].weight.double() @ layer.lora_A["default"].weight.double()
    )
    with pytest.raises(RuntimeError, match="in the middle"), merged_lora(peft_model):
        weight = layer.get_base_layer().weight
        step = torch.finfo(weight.dtype).eps * exact.abs() * (0.501 if dtype != "float32" else 4)
        assert ((weight.double() - exact).abs() <= step + 1e-6).all()
        assert not torch.equal(weight, before["base_model.model.model.layers.1.mlp.down_proj.base_layer.weight"])
        raise RuntimeError("in the middle")
    after = tensors(peft_model)
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("settings", "merges"),
    [
        ({}, True),
        ({"use_rslora": True, "rank_pattern": {"q_proj": 2}}, True),
        ({"target_modules": ["q_proj", "embed_tokens"]}, False),
        ({"target_modules": ["q_proj", "lm_head"]}, True),
        ({"target_modules": ["q_proj", "lm_head"], "tie": True}, False),
        ({"use_dora": True}, False),
        ({"modules_to_save": ["lm_head"]}, False),
        ({"target_modules": ["q_proj"], "target_parameters": ["self_attn.k_proj.weight"]}, False),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore")
def test_the_logits_are_those_of_the_adapter_beside_its_layers(
    tiny_llama: Path, settings: dict[str, Any], merges: bool
) -> None:
    """An embedding, or a head that is also the embedding, cannot be merged: it would answer without, or twice, it."""
    peft_model = adapted(tiny_llama, **settings)
    with torch.no_grad():
        beside = peft_model(IDS).logits
        with merged_lora(peft_model) as model:
            torch.testing.assert_close(model(IDS).logits, beside, rtol=1e-3, atol=1e-3)
        assert bool(merging.mergeable_layers(peft_model)) == merges
        with merged_lora(peft_model, merge=False) as model:
            assert torch.equal(model(IDS).logits, beside)
        remove_lora(peft_model)
