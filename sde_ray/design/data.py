"""The axes of the stage data: which samples a trial learns from; each default leaves them as they are drawn.

An entry declares an axis and names the class that carries it out, in a file of its own in `curation/`.
"""

from __future__ import annotations

from sde_ray.design.base import Axis

DATA: tuple[Axis, ...] = ()
