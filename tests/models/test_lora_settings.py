"""Settings of peft's LoraConfig act by their own names; the adapter is saved, loaded and removed without a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sde_ray.config.trial import Lora
from sde_ray.errors import UserError
from sde_ray.models.base import LoadedModel, load_base
from sde_ray.models.lora import add_lora, load_adapter, remove_lora, save_adapter
from sde_ray.models.merged_lora import merged_lora

IDS = torch.arange(5, 17)[None]
NEUTRAL: dict[str, Any] = {
    "exclude_modules": None,
    "target_parameters": None,
    "layers_to_transform": None,
    "layers_pattern": None,
    "rank_pattern": {},
    "alpha_pattern": {},
    "use_rslora": False,
    "use_dora": False,
    "init_lora_weights": True,
    "modules_to_save": None,
}
OTHER: list[dict[str, Any]] = [
    {"exclude_modules": ["mlp.up_proj", "o_proj"]},
    {"target_modules": ["q_proj"], "target_parameters": ["self_attn.k_proj.weight", "mlp.up_proj.weight"]},
    {"target_modules": [], "target_parameters": ["self_attn.k_proj.weight"]},
    {"layers_to_transform": 1, "target_modules": ["q_proj", "up_proj"]},
    {"layers_to_transform": [0], "layers_pattern": "layers", "target_modules": ["q_proj"]},
    {"rank_pattern": {"q_proj": 2, r"layers\.1\.mlp.*": 6}},
    {"alpha_pattern": {"down_proj": 64}, "use_rslora": True},
    {"use_rslora": True},
    {"use_dora": True},
    {"use_dora": True, "rank_pattern": {"q_proj": 2}},
    {"init_lora_weights": False},
    {"init_lora_weights": "gaussian"},
    {"init_lora_weights": "orthogonal"},
    {"modules_to_save": ["lm_head"]},
    {"modules_to_save": ["embed_tokens", "input_layernorm"], "target_modules": ["q_proj"]},
]


@pytest.fixture(scope="module")
def base(tiny_llama: Path) -> LoadedModel:
    return load_base(str(tiny_llama))


def settings(**changes: Any) -> Lora:
    return Lora(**{"r": 4, "lora_dropout": 0.0, **changes})


def start(base: LoadedModel, **changes: Any) -> Any:
    torch.manual_seed(1)
    return add_lora(base.model, settings(**changes)).eval()


def trained(base: LoadedModel, **changes: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The adapter's parameters at its start, and the logits after random steps on them."""
    peft_model = start(base, **changes)
    begun = {name: weight.detach().clone() for name, weight in peft_model.named_parameters() if weight.requires_grad}
    with torch.no_grad():
        for weight in peft_model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))
        logits = peft_model(IDS).logits
    remove_lora(peft_model)
    return begun, logits


@pytest.fixture(scope="module")
def plain(base: LoadedModel) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    return trained(base)


@pytest.mark.parametrize("name", NEUTRAL)
def test_the_neutral_value_is_the_plain_adapter_to_the_digit(name: str, base: LoadedModel, plain: Any) -> None:
    assert Lora(**{name: NEUTRAL[name]}) == Lora()
    begun, logits = trained(base, **{name: NEUTRAL[name]})
    assert begun.keys() == plain[0].keys() and all(torch.equal(begun[key], plain[0][key]) for key in begun)
    assert torch.equal(logits, plain[1])


@pytest.mark.parametrize("setting", OTHER, ids=str)
@pytest.mark.filterwarnings("ignore")
def test_another_value_acts_and_leaves_the_base_as_it_was(
    setting: dict[str, Any], base: LoadedModel, plain: Any, tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    with torch.no_grad():
        bare = base.model(IDS).logits
        peft_model = start(base, **setting)
        for weight in peft_model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))
        logits = peft_model(IDS).logits
        with merged_lora(peft_model) as model:
            torch.testing.assert_close(model(IDS).logits, logits, rtol=1e-3, atol=1e-3)
        save_adapter(peft_model, tmp_path)
        remove_lora(peft_model)
        assert not torch.allclose(logits, plain[1]) and not torch.allclose(logits, bare)
        assert torch.equal(base.model(IDS).logits, bare)
        loaded = load_adapter(base.model, tmp_path)
        assert torch.equal(loaded(IDS).logits, logits), "saved and loaded"
        remove_lora(loaded)
    after = base.model.state_dict()
    assert after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def test_ranks_scales_and_layers_are_the_wanted_ones(base: LoadedModel) -> None:
    def layers(**changes: Any) -> dict[str, Any]:
        peft_model = start(base, **changes)
        found = {
            name.removeprefix("base_model.model.model."): (module.r["default"], module.scaling["default"])
            for name, module in peft_model.named_modules()
            if hasattr(module, "lora_A")
        }
        remove_lora(peft_model)
        return found

    assert set(layers().values()) == {(4, 4.0)}
    assert set(layers(use_rslora=True).values()) == {(4, 8.0)}
    assert layers(rank_pattern={"q_proj": 2})["layers.0.self_attn.q_proj"] == (2, 8.0)
    assert layers(alpha_pattern={"q_proj": 2})["layers.0.self_attn.q_proj"] == (4, 0.5)
    assert {name.split(".")[1] for name in layers(layers_to_transform=1, target_modules=["q_proj"])} == {"1"}
    assert not [name for name in layers(exclude_modules=["q_proj"]) if "q_proj" in name]


def test_what_peft_refuses_is_told_as_a_fault_of_the_section(base: LoadedModel) -> None:
    with pytest.raises(UserError, match="peft refuses the section lora: .*even"):
        start(base, r=3, init_lora_weights="orthogonal")
