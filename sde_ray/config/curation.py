"""Settings of the data and training axes, the section `curation` of the YAML: one section a method.

    axes: {repeat: [1, 4]}
    curation: {repeat: {dropout_from: 0.5}}

They count for trials whose design has another option of the axis than the neutral one, and only these have them in
their key.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sde_ray.config.section import Section


class Repeat(Section):
    """Settings of the axis `repeat`."""

    dropout_from: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the training after which `lora.lora_dropout` sets in; 0: from the start. Before it there is none."""


class Curation(Section):
    """Settings of the data and training axes, one section a method."""

    repeat: Repeat = Repeat()
    """Fewer samples, more often (`axes: {repeat: [1, 4]}`)."""
