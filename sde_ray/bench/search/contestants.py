"""Contestants: each search method run on a known truth, and the design that it would recommend at each cost.

    CONTESTANTS["random"](truth, (10, 22), seed=0)      -> {10: Design(...), 22: Design(...)}

Each drives the class that a sweep runs. Costs are in full trials; a trial that stops at a quarter costs a quarter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from sde_ray.analysis.response_surface import fit_response_surface
from sde_ray.bench.search.truth import Truth
from sde_ray.config.schema import Asha, Search
from sde_ray.design.designs import make_design
from sde_ray.search import METHODS, Searcher
from sde_ray.types import Design

Costs = Sequence[int]
Chosen = dict[int, Design]
Contestant = Callable[[Truth, Costs, int], Chosen]


def one_at_a_time(truth: Truth, costs: Costs, seed: int) -> Chosen:
    """The paper's way: one axis after another, then of each axis the best option. More budget repeats it with seeds."""
    around = make_design() if make_design() in truth.number else truth.designs[0]
    order = list(iter(METHODS["one_at_a_time"].build(truth.designs, seed=seed, reference_design=around).suggest, None))
    scores: dict[Design, list[float]] = {}
    trials = [(design, repeat) for repeat in truth.seeds for design in order][: max(costs)]
    chosen: Chosen = {}
    for count, (design, repeat) in enumerate(trials, 1):
        scores.setdefault(design, []).append(truth.report(design, repeat))
        if count in costs:
            means = {design: float(np.mean(values)) for design, values in scores.items()}
            chosen[count] = _greedy(around, means, truth)
    return {cost: chosen.get(cost) or chosen[max(chosen)] for cost in costs if chosen}


def _greedy(around: Design, means: Mapping[Design, float], truth: Truth) -> Design:
    best = {}
    for axis, option in around.options:
        alone = {design[axis]: score for design, score in means.items() if design.replace(**{axis: option}) == around}
        best[axis] = max(alone, key=lambda option: alone[option])
    together = around.replace(**best)
    return together if together in truth.number else max(means, key=lambda design: means[design])


def best_seen(method: str) -> Contestant:
    """Designs by a method's proposals, once each; the best score seen."""

    def contest(truth: Truth, costs: Costs, seed: int) -> Chosen:
        searcher: Searcher = METHODS[method].build(truth.designs, budget=max(costs), seed=seed)
        scores: dict[Design, float] = {}
        chosen: Chosen = {}
        while (design := searcher.suggest()) is not None:
            scores[design] = truth.report(design)
            searcher.observe(design, scores[design])
            if len(scores) in costs:
                chosen[len(scores)] = max(scores, key=lambda design: scores[design])
        return chosen

    return contest


def factorial(truth: Truth, costs: Costs, seed: int) -> Chosen:
    """A D-optimal fraction of each size; the best design by the fitted surface (options and shrunken pairs)."""
    chosen: Chosen = {}
    for cost in costs:
        searcher: Searcher = METHODS["factorial"].build(truth.designs, budget=cost, seed=seed)
        tried = list(iter(searcher.suggest, None))
        surface = fit_response_surface(tried, [truth.report(design) for design in tried])
        covered = [design for design in truth.designs if surface.covers(design)]
        chosen[cost] = covered[int(np.argmax([surface.predict(design) for design in covered]))]
    return chosen


def asha(truth: Truth, costs: Costs, seed: int) -> Chosen:
    """Random order, stopped at rungs by successive halving as a sweep does; the best score of those that finished."""
    from sde_ray.sweep.tune_search import BUDGET_KEY, SCORE_KEY, GroupedASHAScheduler, budget

    settings = Asha()
    scheduler = GroupedASHAScheduler(settings)
    searcher: Searcher = METHODS["random"].build(truth.designs, seed=seed)
    peers = SimpleNamespace(task="", model="", train_size=0)
    best: tuple[int, float, Design] | None = None  # the furthest rung, then the score
    open_costs, spent, chosen = _OpenCosts(costs), 0.0, Chosen()
    while open_costs.remaining and (design := searcher.suggest()) is not None:
        trial: Any = SimpleNamespace(trial_id=design.slug, config={"trial": peers})
        scheduler.on_trial_add(None, trial)
        before = spent
        for rung, share in enumerate(truth.rungs):
            for cost in open_costs.passed(before + share):
                chosen[cost] = best[2] if best else truth.designs[0]
            spent = before + share
            score = truth.report(design, 0, rung)
            best = max(best or (rung, score, design), (rung, score, design))
            report = {BUDGET_KEY: budget(settings, rung), SCORE_KEY: score}
            if rung + 1 < len(truth.rungs) and scheduler.on_trial_result(None, trial, report) == scheduler.STOP:
                break
    for cost in open_costs.passed(float("inf")):
        chosen[cost] = best[2] if best else truth.designs[0]
    return chosen


def adaptive(truth: Truth, costs: Costs, seed: int) -> Chosen:
    """Our own, as a sweep runs it: confidence and margin are the defaults of `search:`."""
    defaults = Search()
    search = METHODS["adaptive"].build(
        [truth.designs],
        seeds=truth.seeds,
        rungs=truth.rungs,
        budget=max(costs),
        seed=seed,
        confidence=defaults.confidence,
        margin=defaults.margin,
    )
    open_costs, spent, chosen = _OpenCosts(costs), 0.0, Chosen()
    while (request := search.suggest()) is not None:
        before = spent
        for rung, share in enumerate(truth.rungs):
            for cost in open_costs.passed(before + share):
                chosen[cost] = search.recommend()
            spent = before + share
            if not search.report(request, rung, truth.report(request.design, request.seed, rung)):
                break
        search.on_trial_end(request, rung)
    for cost in open_costs.passed(float("inf")):
        chosen[cost] = search.recommend()
    return chosen


class _OpenCosts:
    """The costs that have not been reached yet."""

    def __init__(self, costs: Costs) -> None:
        self.remaining = sorted(costs)

    def passed(self, spent: float) -> list[int]:
        """The costs that spending so much would exceed; each is returned once."""
        exceeded = [cost for cost in self.remaining if spent > cost + 1e-9]
        self.remaining = self.remaining[len(exceeded) :]
        return exceeded


CONTESTANTS: dict[str, Contestant] = {
    "one_at_a_time": one_at_a_time,
    "random": best_seen("random"),
    "factorial": factorial,
    "optuna": best_seen("optuna"),
    "asha_random": asha,
    "adaptive": adaptive,
}
WITHOUT_RUNGS = tuple(name for name in CONTESTANTS if name != "asha_random")
