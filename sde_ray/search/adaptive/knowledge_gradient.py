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
from scipy.special import ndtr

from sde_ray.search.adaptive.posterior import CovarianceRows, Observation
from sde_ray.search.adaptive.surrogate import Posterior
from sde_ray.search.kernel import Array, Index, Mask
from sde_ray.search.scale import IDENTITY, Scale
from sde_ray.search.threads import single_threaded

MAX_CONTENDERS = 40
DRAWS = 2000
POINTS, _WEIGHTS = hermegauss(7)
WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
TAIL = 1e-6


def knowledge_gradient(mean: Array, sd: Array, cov: Array, variance: Array, scale: Scale = IDENTITY) -> Array:
    """Knowledge gradient of candidate scores: the expected increase of the best mean (Frazier et al. 2009).

    Args:
        mean: posterior means of the values, [value].
        sd: their standard deviations, [value]; the highest mean + sd are the contenders.
        cov: covariance of the values with each candidate's score, [value, candidate].
        variance: predictive variance of each candidate's score, [candidate].
        scale: what all of these are on; the gain is in units of the metric.

    Returns the gains, [candidate], by Gauss-Hermite quadrature.
    """
    top = _contenders(mean, sd, scale)
    return _gain(mean[top], sd[top], cov[top], variance, scale)


def _contenders(mean: Array, sd: Array, scale: Scale) -> Index:
    """Numbers of the values that a score may make the best; the leader, which is the best now, comes last."""
    top = np.argsort(-(mean + sd), kind="stable")[:MAX_CONTENDERS]
    leader = int(scale.expected(mean, sd**2).argmax())
    return np.append(top[top != leader], leader)


def _gain(mean: Array, sd: Array, cov: Array, variance: Array, scale: Scale) -> Array:
    """Knowledge gradient with these contenders, [contender] and [contender, candidate]."""
    moves = cov / np.sqrt(variance)
    rest = np.maximum((sd**2)[:, None] - moves**2, 0)  # variance that is left after the score
    gain = np.zeros(len(variance))
    for point, weight in zip(POINTS, WEIGHTS, strict=True):
        expected = scale.expected(mean[:, None] + moves * point, rest)
        gain += weight * (expected.max(0) - expected[-1])  # over the leader's, which is the last
    return gain + _tail(mean[-1] - mean[:-1], moves[:-1] - moves[-1])


def _tail(gaps: Array, moves: Array) -> Array:
    """Gain of the likeliest to overtake, in closed form, made small: it decides where no point of the quadrature does.

    Args:
        gaps: how far the leader is ahead, [contender].
        moves: standard deviations of what a score changes of that, [contender, candidate].
    """
    sd = np.abs(moves) + 1e-12
    z = gaps[:, None] / sd
    return np.asarray(TAIL * (sd * (np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) - z * ndtr(-z))).max(0, initial=0.0))


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


@single_threaded
def acquisition_values(
    posterior: Posterior,
    scale: Scale,
    shares: Sequence[float],
    valid: Mask,
    fresh: Mask,
    repeats: Sequence[Observation],
) -> Candidates:
    """Acquisition values of every candidate: fresh trials at every rung, and begun trials that would run further.

    Args:
        posterior: what the scores so far say.
        scale: what it is on.
        shares: the rungs' shares of the full training, [rung].
        valid: the designs of each contest, [contest, design].
        fresh: the designs that may get a trial with a fresh seed, [contest, position in the posterior's pool].
        repeats: begun trials, each with the rung that it would run to.
    """
    contest, rung, position = np.nonzero(np.repeat(fresh[:, None], len(shares), axis=1))
    flat = np.ravel_multi_index((contest, rung, position), posterior.mean.shape)
    variance = posterior.variance[contest, rung, position] + posterior.noise
    design, seed = posterior.pool[position], np.full(len(position), -1)

    cov: CovarianceRows = lambda values: posterior.covariance(values, flat)  # noqa: E731
    if repeats:
        repeats_cov, repeats_variance = posterior.covariance_with(repeats)
        fresh_cov, variance = cov, np.append(variance, repeats_variance)
        cov = lambda values: np.concatenate([fresh_cov(values), repeats_cov(values)], axis=1)  # noqa: E731
        columns = np.array([(o.contest, o.design, o.rung, o.seed) for o in repeats]).T
        contest, design, rung, seed = (
            np.append(a, b) for a, b in zip((contest, design, rung, seed), columns, strict=True)
        )
    cost = np.array(shares)[rung]
    return Candidates(contest, design, rung, seed, total_gain(posterior, scale, valid, cov, variance) / cost, cost)


def expected_scores(posterior: Posterior, scale: Scale, contest: int) -> Array:
    """Expected scores after the whole training, in units of the metric, [position in the posterior's pool]."""
    return scale.expected(posterior.mean[contest, -1], np.maximum(posterior.variance[contest, -1], 0))


def near_ties(posterior: Posterior, scale: Scale, contest: int, leader: int, among: Mask, tolerance: float) -> Index:
    """Positions in the posterior's pool of the designs about as good as the leader, and of it, best first.

    Args:
        posterior: what the scores so far say.
        scale: what it is on.
        contest: its number.
        leader: position of the design that is expected to be the best.
        among: positions that may be taken, [position].
        tolerance: the most that they may be expected to lose, in units of the metric; also the standard deviation of
            the difference bounds it.
    """
    _, rungs, size = posterior.mean.shape
    mean, variance = posterior.mean[contest, -1], np.maximum(posterior.variance[contest, -1], 0)
    scores = (contest * rungs + rungs - 1) * size + np.arange(size)
    row = posterior.covariance(np.array([contest * size + leader]), scores)[0]
    behind = (mean[leader] - mean) ** 2 <= variance + variance[leader] - 2 * row
    expected = scale.expected(mean, variance)
    near = among & behind & (expected >= expected[leader] - tolerance)
    near[leader] = True
    order = np.argsort(-expected, kind="stable")
    return np.asarray(order[near[order]])


@single_threaded
def total_gain(posterior: Posterior, scale: Scale, valid: Mask, cov: CovarianceRows, variance: Array) -> Array:
    """Knowledge gradient summed over the decisions of all contests, [candidate]."""
    contests, _, size = posterior.mean.shape
    total = np.zeros(len(variance))
    for contest in range(contests):
        rows = np.flatnonzero(valid[contest][posterior.pool])
        sd = np.sqrt(np.maximum(posterior.variance[contest, -1, rows], 0))
        mean = posterior.mean[contest, -1, rows]
        top = _contenders(mean, sd, scale)
        total += _gain(mean[top], sd[top], cov(contest * size + rows[top]), variance, scale)
    return total


def prob_best_within(
    posterior: Posterior, scale: Scale, valid: Mask, contest: int, margin: float, rng: np.random.Generator
) -> float:
    """Probability that no design is better than the one expected best by more than the margin, by sampling.

    The margin is in units of the metric.
    """
    _, rungs, size = posterior.mean.shape
    mean, sd = posterior.mean[contest, -1], np.sqrt(np.maximum(posterior.variance[contest, -1], 0))
    order = np.argsort(-np.where(valid[contest][posterior.pool], mean + 2 * sd, -np.inf), kind="stable")
    top = order[: min(MAX_CONTENDERS, int(valid[contest][posterior.pool].sum()))]
    matrix = posterior.covariance(contest * size + top, (contest * rungs + rungs - 1) * size + top)
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    draws = rng.standard_normal((DRAWS, len(top))) @ (vectors * np.sqrt(np.maximum(values, 0))).T + mean[top]
    scores, leader = scale.inverse(draws), int(scale.expected(mean[top], sd[top] ** 2).argmax())
    return float(np.mean(scores.max(1) - scores[:, leader] <= margin))
