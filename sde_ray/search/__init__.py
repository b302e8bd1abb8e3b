"""Search methods by name: which designs of a space are tried, and in which order.

    proposer = METHODS["optuna"].build(designs, budget=20, seed=0)
    while (design := proposer.propose()) is not None:
        proposer.observe(design, score_of(design))       # None: every trial of the design failed

A method of your own is one subclass of `Searcher` and one row here. `adaptive` is of another kind: it asks for trials,
not designs, and decides at every rung whether one goes on (`adaptive.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sde_ray.search.base import Searcher
from sde_ray.search.ordered import Grid, OneAtATime, Random
from sde_ray.search.tpe import Optuna


def _factorial(*given: Any, **named: Any) -> Searcher:
    from sde_ray.search.factorial import Factorial  # scipy: only where it is used

    return Factorial(*given, **named)


def _adaptive(*given: Any, **named: Any) -> Any:
    from sde_ray.search.adaptive.search import Adaptive

    return Adaptive(*given, **named)


@dataclass(frozen=True)
class Method:
    """A row of `METHODS`. `adaptive`: what is proposed depends on the scores, so it is not known beforehand.

    `trials`: it asks for single trials (`Ask`) instead of designs. `options`: keys of `search:` that it is given.
    """

    build: Callable[..., Any]
    adaptive: bool = False
    trials: bool = False
    options: tuple[str, ...] = ()


METHODS: dict[str, Method] = {
    "adaptive": Method(_adaptive, adaptive=True, trials=True, options=("confidence", "margin")),
    "grid": Method(Grid),
    "random": Method(Random),
    "factorial": Method(_factorial, options=("interactions",)),
    "one_at_a_time": Method(OneAtATime),
    "optuna": Method(Optuna, adaptive=True),
}

__all__ = ["METHODS", "Method", "Searcher"]
