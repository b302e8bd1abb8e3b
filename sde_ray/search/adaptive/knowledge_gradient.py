"""Acquisition function: the knowledge gradient, the expected gain of the final decision from one further score.

The knowledge gradient (Frazier, Powell and Dayanik 2009) is E[max over designs of the posterior mean after the score]
less the highest mean now. It weighs a contender's chance to overtake against what that would bring, and through the
covariance it counts what a score says of designs that were not tried. Candidates are compared per unit of cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from sde_ray.search.adaptive.posterior import GaussianPosterior, Observation
from sde_ray.search.kernel import Array, Index, Mask

MAX_CONTENDERS = 40
DRAWS = 2000
POINTS, _WEIGHTS = hermegauss(7)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def knowledge_gradient(mean: Array, sd: Array, cov: Array, variance: Array) -> Array:
    """Knowledge gradient of candidate scores: the expected increase of the best mean (Frazier et al. 2009).

    Args:
        mean: posterior means of the values, [value].
        sd: their standard deviations, [value]; the highest mean + sd are the contenders.
        cov: covariance of the values with each candidate's score, [value, candidate].
        variance: predictive variance of each candidate's score, [candidate].

    Returns the gains, [candidate], by Gauss-Hermite quadrature.
    """
    top = np.argsort(-(mean + sd), kind="stable")[:MAX_CONTENDERS]
    leader = int(mean.argmax())
    top = np.append(top[top != leader], leader)
    moves = cov[top] / np.sqrt(variance)
    differences, gain = (mean[top] - mean[leader])[:, None], np.zeros(len(variance))
    for point, weight in zip(POINTS, WEIGHTS, strict=True):
        gain += weight * (differences + moves * point).max(0)
    return gain


@dataclass(frozen=True)
class Candidates:
    """Scores that may be requested, column by column, each [candidate]: the trial, its rung, gain per cost, cost.

    `seed` is -1 for a trial with a fresh seed.
    """

    contest: Index
    design: Index
    rung: Index
    seed: Index
    rate: Array
    cost: Array

    def best(self, budget: float) -> int | None:
        """Index of the candidate with the highest gain per cost among those that the budget can pay."""
        affordable = np.flatnonzero(self.cost <= budget)
        return int(affordable[self.rate[affordable].argmax()]) if len(affordable) else None


def acquisition_values(
    posterior: GaussianPosterior, shares: Sequence[float], valid: Mask, fresh: Mask, repeats: Sequence[Observation]
) -> Candidates:
    """Acquisition values of every candidate: fresh trials at every rung, and begun trials that would run further.

    Args:
        posterior: what the scores so far say.
        shares: the rungs' shares of the full training, [rung].
        valid: the designs of each contest, [contest, design].
        fresh: the designs that may get a trial with a fresh seed, [contest, position in the posterior's pool].
        repeats: begun trials, each with the rung that it would run to.
    """
    contest, rung, position = np.nonzero(np.repeat(fresh[:, None], len(shares), axis=1))
    flat = np.ravel_multi_index((contest, rung, position), posterior.mean.shape)
    cov, variance = posterior.cov[:, flat], posterior.variance[contest, rung, position] + posterior.noise
    design, seed = posterior.pool[position], np.full(len(position), -1)
    if repeats:
        repeats_cov, repeats_variance = posterior.covariance_with(repeats)
        cov, variance = np.concatenate([cov, repeats_cov], axis=1), np.append(variance, repeats_variance)
        columns = np.array([(o.contest, o.design, o.rung, o.seed) for o in repeats]).T
        contest, design, rung, seed = (
            np.append(a, b) for a, b in zip((contest, design, rung, seed), columns, strict=True)
        )
    cost = np.array(shares)[rung]
    return Candidates(contest, design, rung, seed, total_gain(posterior, valid, cov, variance) / cost, cost)


def total_gain(posterior: GaussianPosterior, valid: Mask, cov: Array, variance: Array) -> Array:
    """Knowledge gradient summed over the decisions of all contests, [candidate]."""
    contests, _, size = posterior.mean.shape
    total = np.zeros(len(variance))
    for contest in range(contests):
        rows = np.flatnonzero(valid[contest][posterior.pool])
        sd = np.sqrt(np.maximum(posterior.variance[contest, -1, rows], 0))
        total += knowledge_gradient(posterior.mean[contest, -1, rows], sd, cov[contest * size + rows], variance)
    return total


def prob_best_within(
    posterior: GaussianPosterior, valid: Mask, contest: int, margin: float, rng: np.random.Generator
) -> float:
    """Probability that no design is better than the one with the best mean by more than the margin, by sampling."""
    _, rungs, size = posterior.mean.shape
    mean, sd = posterior.mean[contest, -1], np.sqrt(np.maximum(posterior.variance[contest, -1], 0))
    order = np.argsort(-np.where(valid[contest][posterior.pool], mean + 2 * sd, -np.inf), kind="stable")
    top = order[: min(MAX_CONTENDERS, int(valid[contest][posterior.pool].sum()))]
    matrix = posterior.cov[contest * size + top][:, (contest * rungs + rungs - 1) * size + top]
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    draws = rng.standard_normal((DRAWS, len(top))) @ (vectors * np.sqrt(np.maximum(values, 0))).T + mean[top]
    return float(np.mean(draws.max(1) - draws[:, int(mean[top].argmax())] <= margin))
