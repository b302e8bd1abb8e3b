"""What a further score is worth: by how much it is expected to raise the value of the design chosen in the end.

The knowledge gradient (Frazier, Powell and Dayanik 2009): E[max over designs of the mean after the score] less the
highest mean now. It weighs a contender's chance to overtake against what that would bring, and through the covariance
it counts what a score says of designs that were not tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.polynomial.hermite_e import hermegauss

from sde_ray.search.adaptive.posterior import GaussianPosterior, Observation
from sde_ray.search.kernel import Array, Index

CONTENDERS = 40
DRAWS = 2000
POINTS, _WEIGHTS = hermegauss(7)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def knowledge_gradient(mean: Array, spread: Array, shared: Array, variance: Array) -> Array:
    """Of each candidate score: expected gain of the best mean.

    `mean[value]` and `spread[value]` (standard deviations) are the belief now, `shared[value, candidate]` and
    `variance[candidate]` say how a candidate's score moves it.
    """
    top = np.argsort(-(mean + spread), kind="stable")[:CONTENDERS]
    lead = int(mean.argmax())
    top = np.append(top[top != lead], lead)
    moves = shared[top] / np.sqrt(variance)
    now, gain = (mean[top] - mean[lead])[:, None], np.zeros(len(variance))
    for point, weight in zip(POINTS, WEIGHTS, strict=True):
        gain += weight * (now + moves * point).max(0)
    return gain


@dataclass(frozen=True)
class Candidates:
    """Scores that may be asked for, column by column: which trial, up to which rung, its worth per cost, its cost.

    `seed` is -1 for a trial with a fresh seed.
    """

    contest: Index
    design: Index
    rung: Index
    seed: Index
    rate: Array
    cost: Array

    def best(self, left: float) -> int | None:
        """The place of the one that brings most for its cost, of those that what is left of the budget can pay."""
        affordable = np.flatnonzero(self.cost <= left)
        return int(affordable[self.rate[affordable].argmax()]) if len(affordable) else None


Mask = npt.NDArray[np.bool_]


def score_candidates(
    belief: GaussianPosterior, shares: Sequence[float], valid: Mask, fresh: Mask, again: Sequence[Observation]
) -> Candidates:
    """Weigh every fresh trial (`fresh[contest, place in the pool]`) at every rung, and trials that would run again."""
    contest, rung, place = np.nonzero(np.repeat(fresh[:, None], len(shares), axis=1))
    flat = np.ravel_multi_index((contest, rung, place), belief.mean.shape)
    shared, variance = belief.shared[:, flat], belief.variance[contest, rung, place] + belief.noise
    design, seed = belief.pool[place], np.full(len(place), -1)
    if again:
        more, its = belief.reach(again)
        shared, variance = np.concatenate([shared, more], axis=1), np.append(variance, its)
        columns = np.array([(r.contest, r.design, r.rung, r.seed) for r in again]).T
        contest, design, rung, seed = (
            np.append(a, b) for a, b in zip((contest, design, rung, seed), columns, strict=True)
        )
    cost = np.array(shares)[rung]
    return Candidates(contest, design, rung, seed, total_gain(belief, valid, shared, variance) / cost, cost)


def total_gain(belief: GaussianPosterior, valid: Mask, shared: Array, variance: Array) -> Array:
    """The worth of scores, summed over the decisions of all contests."""
    contests, _, size = belief.mean.shape
    total = np.zeros(len(variance))
    for contest in range(contests):
        rows = np.flatnonzero(valid[contest][belief.pool])
        spread = np.sqrt(np.maximum(belief.variance[contest, -1, rows], 0))
        total += knowledge_gradient(belief.mean[contest, -1, rows], spread, shared[contest * size + rows], variance)
    return total


def prob_best_within(
    belief: GaussianPosterior, valid: Mask, contest: int, margin: float, chance: np.random.Generator
) -> float:
    """The probability that no design is better than the one with the best mean by more than the margin."""
    _, rungs, size = belief.mean.shape
    mean, spread = belief.mean[contest, -1], np.sqrt(np.maximum(belief.variance[contest, -1], 0))
    order = np.argsort(-np.where(valid[contest][belief.pool], mean + 2 * spread, -np.inf), kind="stable")
    top = order[: min(CONTENDERS, int(valid[contest][belief.pool].sum()))]
    matrix = belief.shared[contest * size + top][:, (contest * rungs + rungs - 1) * size + top]
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    draws = chance.standard_normal((DRAWS, len(top))) @ (vectors * np.sqrt(np.maximum(values, 0))).T + mean[top]
    return float(np.mean(draws.max(1) - draws[:, int(mean[top].argmax())] <= margin))
