"""A key of another tool, or of version 0.1, is answered with the one that means the same here."""

from __future__ import annotations

from typing import Any

import pytest

from sde_ray.config.load import check
from sde_ray.config.renamed import FOREIGN, FORMER, NEEDLESS, NOTES, fields
from sde_ray.errors import UserError

PATHS = {path for path, _ in fields()}


def refused(path: str) -> str:
    values: dict[str, Any] = {"name": "x", "task": "masa:d1"}
    *sections, name = path.split(".")
    inner = values
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[name] = 1
    with pytest.raises(UserError) as told:
        check(values)
    return str(told.value)


@pytest.mark.parametrize("path", FORMER)
def test_a_key_of_version_0_1_is_answered_with_todays(path: str) -> None:
    assert FORMER[path] in PATHS and path not in PATHS
    assert f'Unknown key "{path}": use "{FORMER[path]}" instead.' in refused(path)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_key_of_another_tool_is_answered_with_ours_wherever_it_stands(name: str) -> None:
    assert FOREIGN[name] in PATHS
    for path in (name, f"train.{name}", f"lora.{name}"):
        expected = FORMER.get(path, FOREIGN[name])
        assert f'Unknown key "{path}": use "{expected}" instead.' in refused(path)


@pytest.mark.parametrize("name", NEEDLESS)
def test_a_key_for_what_every_trial_is_can_be_left_out(name: str) -> None:
    assert f'Unknown key "{name}": {NEEDLESS[name]}.' in refused(name)


@pytest.mark.parametrize("path", NOTES)
def test_a_difference_in_meaning_is_told_with_it(path: str) -> None:
    assert path in FORMER or path in FOREIGN
    assert refused(path).endswith(NOTES[path])


@pytest.mark.parametrize(
    ("path", "instead"),
    [
        ("learning_rate", "train.learning_rate"),
        ("lora_alpha", "lora.lora_alpha"),
        ("train.target_modules", "lora.target_modules"),
        ("num_workers", "resources.num_workers"),
        ("search.seeds", None),  # two sections have seeds
        ("train.task", "task"),
    ],
)
def test_a_key_in_the_wrong_section_is_answered_with_its_place(path: str, instead: str | None) -> None:
    told = refused(path)
    assert (f'use "{instead}" instead' in told) if instead else ("Unknown key" in told and "instead" not in told)
