"""The report's column `general`: what training does to plain texts, beside what it does for the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sde_ray.analysis.forgetting import Forgetting
from sde_ray.design.designs import essential
from sde_ray.types import Design

NOTE = (
    "General: bits per byte of plain texts that no task is about, before → after training, the change and its 95% "
    "interval (seeds and passages). Above 0: the model knows such texts less well; it is a loss, not a score."
)


def general_cell(general: Mapping[Design, Forgetting], design: Design) -> dict[str, Any]:
    """The cell of a design in a table; empty where its trials were not scored on the general set."""
    known = general.get(essential(design))
    return {"general": str(known)} if known else {}


def general_note(general: Mapping[Design, Forgetting], assembled: Design) -> str:
    """What stands above the final comparison: the column's meaning, and the assembled design's own cell."""
    own = general_cell(general, assembled).get("general")
    return (f" {NOTE}" if general else "") + (f" Of the assembled design: {own}." if own else "")
