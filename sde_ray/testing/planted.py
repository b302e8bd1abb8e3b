"""A planted objective: scores of designs without a model, with one known best design.

planted(make_design())                                   about 0.4
planted(BEST)                                            about 0.8, the best of all
"""

from __future__ import annotations

import random

from sde_ray.design.designs import make_design
from sde_ray.types import Design

BEST = make_design(instruction="first", format="lines")
WORTH = {
    "first": 0.2,
    "lines": 0.2,
    "json": 0.05,
    "omit": -0.1,
    "on": -0.05,
    "number": -0.1,
    "cot": -0.02,
    "rcot": -0.03,
}


def planted(design: Design, seed: int = 0) -> float:
    """Score of a design, in [0, 1]: additive in its options, with a little noise that depends on design and seed."""
    noise = random.Random(f"{design.slug}/{seed}").uniform(-0.004, 0.004)
    return 0.4 + sum(WORTH.get(option, 0.0) for _, option in design.options) + noise
