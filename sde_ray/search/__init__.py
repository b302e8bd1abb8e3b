"""Search methods by name: which designs of a space are tried, and in which order.

    proposer = METHODS["optuna"].build(designs, budget=20, seed=0)
    while (design := proposer.propose()) is not None:
        proposer.observe(design, score_of(design))       # None: every trial of the design failed

A method of your own is one subclass of `Proposer` and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sde_ray.search.base import Proposer
from sde_ray.search.optuna import Optuna
from sde_ray.search.ordered import Grid, OneAtATime, Random


@dataclass(frozen=True)
class Method:
    """A row of `METHODS`. `adaptive`: what is proposed depends on the scores, so it is not known beforehand."""

    build: Callable[..., Proposer]
    adaptive: bool = False


METHODS: dict[str, Method] = {
    "grid": Method(Grid),
    "random": Method(Random),
    "one_at_a_time": Method(OneAtATime),
    "optuna": Method(Optuna, adaptive=True),
}

__all__ = ["METHODS", "Method", "Proposer"]
