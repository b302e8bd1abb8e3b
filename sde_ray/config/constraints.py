"""The section `constraints`: what the assembled design must keep to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sde_ray.config.section import Section


class Constraints(Section):
    """Constraints on the assembled design."""

    min_format_adherence: Annotated[float, Field(ge=0, le=1)] | None = None
    """Least share of completions without a fault that the assembled design may have; empty: any."""
    max_output_tokens: Annotated[float, Field(gt=0)] | None = None
    """Most output tokens of a completion, in the mean, that the assembled design may need; empty: any."""
