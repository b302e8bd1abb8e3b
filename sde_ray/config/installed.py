"""Whether the installed peft has a setting of the section `lora`, without importing peft (seconds, and torch).

missing_in_peft({"r": 8, "use_dora": True})   ->  [] or sentences that say which version lacks what
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sde_ray.config.section import Neutral
from sde_ray.config.trial import Lora

LORA_CONFIG = Path("tuners", "lora", "config.py")


def missing_in_peft(settings: Mapping[str, Any]) -> list[str]:
    """The settings of the section `lora` that are peft's own, and that the installed version does not have."""
    fields = lora_config_fields()
    peft = {name for name, field in Lora.model_fields.items() if Neutral("peft") in field.metadata}
    return [
        f"lora.{name} is a setting of peft's LoraConfig that the installed peft {version('peft')} does not have. "
        "Leave it out, or install a newer one: pip install -U peft."
        for name in settings
        if fields and name in peft and name not in fields
    ]


@cache
def lora_config_fields() -> frozenset[str]:
    """The fields of `peft.LoraConfig`, read from its source; none where peft is not installed."""
    spec = find_spec("peft")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    source = Path(spec.submodule_search_locations[0]) / LORA_CONFIG
    classes = [node for node in ast.parse(source.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    return frozenset(
        node.target.id
        for definition in classes
        if definition.name == "LoraConfig"
        for node in definition.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    )
