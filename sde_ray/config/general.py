"""The section `general`: on which plain texts a sweep measures what its models forget."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sde_ray.config.section import Section


class General(Section):
    """What training does to plain texts that no task is about: forgetting, in bits per byte before and after."""

    score: Literal["none", "validation", "all"] = "none"
    """Which trials are scored on the set: none, those of the final comparison, or all."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """A set of one's own, JSONL of {"text": ...} or {"text": ..., "right": ..., "wrong": [...]}; empty: the bundled
    one, 60 passages and 40 sentences with endings."""

    @model_validator(mode="after")
    def _a_set_is_used(self) -> General:
        if self.path is not None and self.score == "none":
            raise ValueError("path names a set, but score is none. Set score: validation, or all; or leave path out.")
        return self
