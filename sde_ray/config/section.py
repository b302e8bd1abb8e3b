"""A section of the configuration, and which of its settings are in a trial's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration: frozen, without unknown keys, every field documented."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @cached_property
    def key_values(self) -> Mapping[str, Any]:
        """What of the section is in a trial's key; computed once, as all trials of a sweep share their sections."""
        return without_neutral(self)


@dataclass(frozen=True)
class Neutral:
    """Marks a setting whose default changes nothing: it is in a trial's key only where it is set.

    `library`: the one whose setting it is, of the same name.
    """

    library: str = ""


PEFT, TRANSFORMERS, NEUTRAL = Neutral("peft"), Neutral("transformers"), Neutral()


def without_neutral(section: Section) -> dict[str, Any]:
    """The section's values, less those marked `Neutral` that are at their default."""
    settings = type(section).model_fields
    return {
        name: value
        for name, value in section.model_dump().items()
        if value != settings[name].get_default(call_default_factory=True)
        or not any(isinstance(mark, Neutral) for mark in settings[name].metadata)
    }
