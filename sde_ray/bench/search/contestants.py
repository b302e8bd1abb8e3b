"""Contestants: each search method run on a known truth, and the design that it would recommend at each cost.

    contestant("optuna+named")(truth, (10, 22), seed=0)      -> {10: Design(...), 22: Design(...)}

Each drives the class that a sweep runs. Costs are in full trials; a trial that stops at a quarter costs a quarter.
A name may have variants, each a further part:

+named      the baseline and ES-SDE are tried first, as a sweep does and as `adaptive` does here
+shrunken   the final choice is the tried design with the highest posterior mean (a Gaussian process fitted to the
            scores) instead of the best score seen
+full       `adaptive` scores no trial at a rung before the last
+spend      `adaptive` never ends before its budget (`confidence: 1`)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from sde_ray.analysis.response_surface import fit_response_surface
from sde_ray.bench.search.truth import Truth
from sde_ray.config.schema import Asha, Search
from sde_ray.design.designs import make_design, parse_design
from sde_ray.errors import UserError, unknown
from sde_ray.search import METHODS, Searcher
from sde_ray.search.kernel import DesignKernel
from sde_ray.search.scale import candidate_scales
from sde_ray.types import Design

Costs = Sequence[int]
Chosen = dict[int, Design]
Contestant = Callable[[Truth, Costs, int], Chosen]
NAMED_FIRST = tuple(parse_design(name) for name in Search().points_to_evaluate)


def named(truth: Truth) -> list[Design]:
    """The designs that a `+named` contestant tries first, where the space has them."""
    return [design for design in NAMED_FIRST if design in truth.number]


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


def best_seen(
    truth: Truth, costs: Costs, seed: int, method: str, points: Sequence[Design] = (), shrunken: bool = False
) -> Chosen:
    """Designs by a method's proposals, once each; the best score seen, or the best shrunken one."""
    trials = _trials(truth, max(costs), seed, method, tuple(points))
    chosen: Chosen = {}
    for cost in costs:
        scores = dict(trials[:cost])
        means = _shrunken(truth, scores) if shrunken else scores
        chosen[cost] = max(means, key=lambda design: means[design])
    return chosen


@lru_cache(maxsize=4)  # variants of a method choose among the same trials
def _trials(
    truth: Truth, budget: int, seed: int, method: str, points: tuple[Design, ...]
) -> tuple[tuple[Design, float], ...]:
    """Designs that a method tries, each with its score, in order."""
    searcher: Searcher = METHODS[method].build(truth.designs, budget=budget, seed=seed, points_to_evaluate=points)
    trials = []
    while (design := searcher.suggest()) is not None:
        trials.append((design, truth.report(design)))
        searcher.observe(*trials[-1])
    return tuple(trials)


def _shrunken(truth: Truth, scores: Mapping[Design, float]) -> Mapping[Design, float]:
    """Expected scores of the designs tried, by the surrogate model that `adaptive` has."""
    from sde_ray.search.adaptive.knowledge_gradient import expected_scores
    from sde_ray.search.adaptive.posterior import ModelSpace, Observation
    from sde_ray.search.adaptive.surrogate import Surrogate

    pool = np.array([truth.number[design] for design in scores])
    space = ModelSpace(DesignKernel(truth.designs), 1, (1.0,))
    surrogate = Surrogate(space, lambda: pool, candidate_scales(truth.bounds))
    for design, score in scores.items():
        surrogate.observe(Observation(0, truth.number[design], 0, 0), score)
    surrogate.refit()
    posterior = surrogate.posterior()
    assert posterior is not None
    return dict(zip(scores, expected_scores(posterior, surrogate.scale, 0).tolist(), strict=True))


def factorial(truth: Truth, costs: Costs, seed: int, points: Sequence[Design] = ()) -> Chosen:
    """A D-optimal fraction of each size; the best design by the fitted surface (options and shrunken pairs).

    Below the size that the effects of all options take, it is the best score seen of a part of the smallest fraction.
    """
    least = DesignKernel(truth.designs).num_main_effects + 1
    chosen: Chosen = {}
    for cost in costs:
        searcher: Searcher = METHODS["factorial"].build(
            truth.designs, budget=max(cost, least), seed=seed, points_to_evaluate=tuple(points)
        )
        tried = list(iter(searcher.suggest, None))[:cost]
        if cost < least:
            chosen[cost] = max(tried, key=truth.report)
            continue
        surface = fit_response_surface(tried, [truth.report(design) for design in tried])
        covered = [design for design in truth.designs if surface.covers(design)]
        chosen[cost] = covered[int(np.argmax([surface.predict(design) for design in covered]))]
    return chosen


def asha(truth: Truth, costs: Costs, seed: int, points: Sequence[Design] = ()) -> Chosen:
    """Random order, stopped at rungs by successive halving as a sweep does; the best score of those that finished."""
    from sde_ray.sweep.tune_search import BUDGET_KEY, SCORE_KEY, GroupedASHAScheduler, budget

    settings = Asha()
    scheduler = GroupedASHAScheduler(settings)
    searcher: Searcher = METHODS["random"].build(truth.designs, seed=seed, points_to_evaluate=tuple(points))
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


def adaptive(
    truth: Truth, costs: Costs, seed: int, points: Sequence[Design] = (), confidence: float | None = None
) -> Chosen:
    """Our own, as a sweep runs it: confidence and margin are the defaults of `search:`, the baseline has two seeds."""
    defaults = Search()
    again = [point for point in points[:1] if len(truth.seeds) > 1]
    search = METHODS["adaptive"].build(
        [truth.designs],
        seeds=truth.seeds,
        rungs=truth.rungs,
        budget=max(costs),
        seed=seed,
        confidence=defaults.confidence if confidence is None else confidence,
        margin=defaults.margin,
        points_to_evaluate=[*again, *points],
        bounds=truth.bounds,
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


def _full_trials(truth: Truth, costs: Costs, seed: int, points: Sequence[Design] = ()) -> Chosen:
    """`adaptive` without its rungs."""
    return adaptive(replace(truth, departures=truth.departures[-1:], rungs=(1.0,)), costs, seed, points)


class _OpenCosts:
    """The costs that have not been reached yet."""

    def __init__(self, costs: Costs) -> None:
        self.remaining = sorted(costs)

    def passed(self, spent: float) -> list[int]:
        """The costs that spending so much would exceed; each is returned once."""
        exceeded = [cost for cost in self.remaining if spent > cost + 1e-9]
        self.remaining = self.remaining[len(exceeded) :]
        return exceeded


def _botorch(truth: Truth, costs: Costs, seed: int, points: Sequence[Design] = ()) -> Chosen:
    from sde_ray.bench.search.botorch_search import botorch_search  # optional, heavy

    return botorch_search(truth, costs, seed, points)


SEARCHES: dict[str, Callable[..., Chosen]] = {
    "one_at_a_time": one_at_a_time,
    "random": partial(best_seen, method="random"),
    "factorial": factorial,
    "optuna": partial(best_seen, method="optuna"),
    "asha_random": asha,
    "botorch": _botorch,
    "adaptive": adaptive,
    "adaptive+full": _full_trials,
    "adaptive+spend": partial(adaptive, confidence=1.0),
}
_ADAPTIVE = ("adaptive", "adaptive+full", "adaptive+spend")
# `one_at_a_time` begins with the baseline.
_WITH_NAMED = tuple(name for name in SEARCHES if name not in ("one_at_a_time", *_ADAPTIVE))
_WITH_SHRUNKEN = ("random", "optuna")
NAMES = (
    *SEARCHES,
    *(f"{name}+named" for name in _WITH_NAMED),
    *(f"{name}+named+shrunken" for name in _WITH_SHRUNKEN),
)
"""Every contestant. `adaptive` tries the named designs first, as a sweep does."""
OPTIONAL = ("botorch", "botorch+named")
BASIC = tuple(name for name in NAMES if name not in OPTIONAL)
WITH_RUNGS = ("asha_random", "asha_random+named", "adaptive+full")  # where trials have no rungs they tell nothing


def contestant(name: str) -> Contestant:
    """The contestant of a name. Raises UserError where there is none."""
    method, *variants = [name] if name in SEARCHES else name.split("+")
    if name not in NAMES:
        raise UserError(unknown("method", name, NAMES))
    search = SEARCHES[method]
    if method == "one_at_a_time":
        return search
    is_named = "named" in variants or method in _ADAPTIVE
    keywords = {"shrunken": True} if "shrunken" in variants else {}

    def contest(truth: Truth, costs: Costs, seed: int) -> Chosen:
        return search(truth, costs, seed, points=named(truth) if is_named else (), **keywords)

    return contest
