"""Search methods by name: which designs of a space are tried, and in which order.

    searcher = METHODS["optuna"].build(designs, budget=20, seed=0)
    while (design := searcher.suggest()) is not None:
        searcher.observe(design, score_of(design))       # None: every trial of the design failed

A method of your own is one subclass of `Searcher` and one row here. `adaptive` is of another kind: it requests trials,
not designs, and decides at every rung whether one continues (`adaptive/search.py`).

base.py        Searcher, the base class
ordered.py     grid, random, one at a time
factorial.py   a D-optimal fraction; kernel.py the coding of designs that it shares with adaptive/
tpe.py         Optuna's TPE
scale.py       the scale on which scores are modelled: identity or logit
threads.py     linear algebra on one thread, for adaptive/ and for analysis/
adaptive/      Gaussian process and knowledge gradient
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sde_ray.search.base import Searcher
from sde_ray.search.ordered import Grid, OneAtATime, Random
from sde_ray.search.tpe import Optuna


def _factorial(*args: Any, **kwargs: Any) -> Searcher:
    from sde_ray.search.factorial import Factorial  # scipy: only where it is used

    return Factorial(*args, **kwargs)


def _adaptive(*args: Any, **kwargs: Any) -> Any:
    from sde_ray.search.adaptive.search import Adaptive

    return Adaptive(*args, **kwargs)


@dataclass(frozen=True)
class Method:
    """Search method, a row of `METHODS`. `adaptive`: what it suggests depends on the scores, so no plan knows it.

    `trials`: it requests single trials (`TrialRequest`) instead of designs. `options`: its keys in `search:`.
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
