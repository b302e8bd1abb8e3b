"""An adapter's folder may be anybody's: what is read of it, what is refused, and what it can never do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from fuzz.samples import DESIGN, HEADER, PEFT, safetensors

from sde_ray.errors import UserError
from sde_ray.models.adapter_files import CONFIG, WEIGHTS, read_adapter
from sde_ray.models.predictor import ADAPTER_CARD, AdapterCard, read_card, read_task
from sde_ray.plugins import load_object, trust_code


def an_adapter(folder: Path, **config: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(safetensors(HEADER))
    (folder / CONFIG).write_text(json.dumps({**PEFT, **config}))
    return folder


def test_a_whole_adapter_is_read(tmp_path: Path) -> None:
    found = read_adapter(an_adapter(tmp_path / "adapter"))
    assert (found.rank, found.alpha) == (2, 16.0) and dict(found.shapes) == {"model.layers.0.self_attn.q_proj": (6, 4)}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"r": 10**9}, "tensors have rank 2"),
        ({"r": True}, "r = True"),
        ({"modules_to_save": ["lm_head"]}, "asks for modules_to_save"),
        ({"rank_pattern": {"(a+)+$": 9}}, "asks for rank_pattern"),
        ({"layer_replication": [[0, 10**9]]}, "asks for layer_replication"),
        ({"peft_type": "XLORA"}, "none of a LoRA"),
        ({"lora_alpha": "16"}, "lora_alpha = '16'"),
        ({"some_new_trick": {"load": "x.py"}}, "asks for some_new_trick"),
    ],
    ids=str,
)
def test_what_an_adapter_s_configuration_asks_for_is_refused(config: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        read_adapter(an_adapter(tmp_path / "adapter", **config))


def test_patterns_and_imports_in_it_are_never_looked_at(tmp_path: Path) -> None:
    odd = {"target_modules": "(a+)+$", "auto_mapping": {"parent_library": "os"}, "base_model_name_or_path": "../.."}
    assert read_adapter(an_adapter(tmp_path / "adapter", **odd)) == read_adapter(an_adapter(tmp_path / "other"))


@pytest.mark.parametrize("name", [WEIGHTS, CONFIG, ADAPTER_CARD])
def test_a_link_out_of_an_adapter_s_folder_is_not_followed(name: str, tmp_path: Path) -> None:
    folder = an_adapter(tmp_path / "adapter")
    (folder / ADAPTER_CARD).write_text(json.dumps({"task": "masa:d1", "design": DESIGN, "model": "tiny",
                                                   "max_length": 64, "max_new_tokens": 8}))  # fmt: skip
    assert read_card(folder).model == "tiny" and read_adapter(folder)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(UserError, match="a link out of the folder"):
        read_adapter(folder), read_card(folder)


def test_an_adapter_of_another_base_model_is_told(tmp_path: Path, tiny_llama: Path) -> None:
    from sde_ray.models import base as model
    from sde_ray.models import lora

    base = model.load_base(str(tiny_llama))
    with pytest.raises(UserError, match=r"another base model: model\.layers\.0\.self_attn\.q_proj is 6 x 4"):
        lora.load_adapter(base.model, an_adapter(tmp_path / "adapter"))


@pytest.mark.parametrize(
    "targets", ["all-linear", ("q_proj", "v_proj"), ("embed_tokens", "q_proj"), ("lm_head",)], ids=str
)
@pytest.mark.filterwarnings("ignore")
def test_an_honest_adapter_is_loaded_as_it_was_saved(targets: Any, tmp_path: Path, tiny_llama: Path) -> None:
    import torch

    from sde_ray.config.trial import Lora
    from sde_ray.models import base as model
    from sde_ray.models import lora

    base, ids = model.load_base(str(tiny_llama)), torch.arange(5, 17)[None]
    with torch.no_grad():
        plain = base.model(ids).logits
        peft_model = lora.add_lora(base.model, Lora(target_modules=targets, lora_dropout=0.0)).eval()
        for name, weight in peft_model.named_parameters():
            if "lora" in name:
                weight.normal_(0, 0.3)
        trained = peft_model(ids).logits
        lora.save_adapter(peft_model, tmp_path)
        lora.remove_lora(peft_model)
        assert torch.equal(lora.load_adapter(base.model, tmp_path)(ids).logits, trained)
    assert not torch.allclose(plain, trained)


def test_a_module_that_fails_at_import_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_axes.py").write_text("1 +\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    trust_code("broken_axes")
    with pytest.raises(UserError, match="fails at import: SyntaxError"):
        load_object("broken_axes:AXIS", str, "an axis")


def test_the_task_of_a_card_imports_no_metric_and_reads_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "foreign_metric.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    definition = {"name": "t", "kind": "label", "slots": ["food"], "labels": ["good", "bad"]}
    foreign = {"metrics": ["foreign_metric:SCORE"], "objective": "foreign_metric:SCORE", "data": {"path": "/no/file"}}
    card = AdapterCard("t", DESIGN, "tiny", 64, 8, definition={**definition, **foreign})
    assert read_task(card).slots == ("food",)
    assert "foreign_metric" not in sys.modules
