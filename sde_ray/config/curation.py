"""Settings of the data and training axes, the section `curation` of the YAML: one section a method.

    axes: {repeat: [1, 4]}
    curation: {repeat: {dropout_from: 0.5}}

They count for trials whose design has another option of the axis than the neutral one, and only these have them in
their key.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from sde_ray.config.memory_file import digest_of_levels
from sde_ray.config.section import Section


class Repeat(Section):
    """Settings of the axis `repeat`."""

    dropout_from: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training after which `lora.lora_dropout` sets in; 0: from the start. Before it there is none."""


class MemoryLevel(Section):
    """Settings of the axis `memory_level`."""

    levels: str = ""
    """The file that `sde-ray memory` has written; empty: that in the sweep's own folder."""
    rule: Literal["words", "substring"] = "words"
    """What counts as a hit: the answer as whole words, or as a raw substring (as published)."""

    @cached_property
    def key_values(self) -> Mapping[str, Any]:
        """The levels themselves in place of where they are."""
        return {"levels": digest_of_levels(self.levels, self.rule), "rule": self.rule}


class Curation(Section):
    """Settings of the data and training axes, one section a method."""

    repeat: Repeat = Repeat()
    """Fewer samples, more often (`axes: {repeat: [1, 4]}`)."""
    memory_level: MemoryLevel = MemoryLevel()
    """Facts that the untuned model knows to some degree (`axes: {memory_level: [0, 2, 4]}`)."""
