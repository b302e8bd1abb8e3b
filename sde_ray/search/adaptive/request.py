"""TrialRequest, what the adaptive search asks for."""

from __future__ import annotations

from dataclasses import dataclass

from sde_ray.types import Design


@dataclass(frozen=True)
class TrialRequest:
    """Request for a trial: contest, design and seed, and the number of the rung at which it may end."""

    contest: int
    design: Design
    seed: int
    rung: int
