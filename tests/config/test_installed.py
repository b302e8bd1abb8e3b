"""Settings that are peft's own are checked against the installed version, without importing it."""

from __future__ import annotations

import dataclasses
from importlib.metadata import version

import pytest

from sde_ray.config import installed
from sde_ray.config.load import check
from sde_ray.config.trial import Lora
from sde_ray.errors import UserError

SWEEP = {"name": "x", "task": "masa:d1"}


def test_the_fields_are_those_of_peft() -> None:
    from peft import LoraConfig

    own = {field.name for field in dataclasses.fields(LoraConfig)}
    assert installed.lora_config_fields() <= own and len(installed.lora_config_fields()) > 20
    assert set(Lora.model_fields) <= own, "by their own names"


def test_a_setting_that_the_installed_peft_lacks_is_refused_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check({**SWEEP, "lora": {"use_dora": True}}).lora.use_dora
    without = installed.lora_config_fields() - {"use_dora"}
    monkeypatch.setattr(installed, "lora_config_fields", lambda: without)
    with pytest.raises(UserError, match=f"lora.use_dora .* the installed peft {version('peft')} does not have"):
        check({**SWEEP, "lora": {"use_dora": True}})
    assert check({**SWEEP, "lora": {"r": 4}}).lora.r == 4


def test_an_unknown_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match='Unknown key "lora.use_rslorra". Did you mean "use_rslora"'):
        check({**SWEEP, "lora": {"use_rslorra": True}})


@pytest.mark.parametrize("start", ["pissa", "olora", "loftq"])
def test_a_start_that_changes_the_base_is_refused(start: str) -> None:
    with pytest.raises(UserError, match="lora.init_lora_weights"):
        check({**SWEEP, "lora": {"init_lora_weights": start}})


def test_layers_of_all_linear_are_refused() -> None:
    with pytest.raises(UserError, match="layers_to_transform needs target_modules as a list"):
        check({**SWEEP, "lora": {"layers_to_transform": [1]}})


def test_target_parameters_with_dropout_are_refused() -> None:
    with pytest.raises(UserError, match="Set lora_dropout: 0"):
        check({**SWEEP, "lora": {"target_parameters": ["experts.down_proj"]}})
