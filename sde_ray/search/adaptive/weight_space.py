"""The Gaussian process of `posterior.py` in weight space: as exact, for thousands of trials (Rasmussen, Williams 2.1).

    Solution(statistics, hyperparameters).log_likelihood()                      with its slopes
    posterior = WeightSpacePosterior(space, hyperparameters, centre, pool, observations, scores)

    y = Z (Phi w + g) + seeds + trials + observations        Phi w: contests, options, interactions; g: designs

The weights w, seeds among them, are eliminated last: there are as many as options and pairs. Designs are independent
given w, trials given designs, so both are eliminated block by block (Woodbury's identity, Henderson's equations), from
sums over trials (`sufficient_statistics.py`). Time and memory grow with designs and weights, not with trials; the dense
form of `posterior.py` takes the cube of trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg

from sde_ray.search.adaptive.features import Features
from sde_ray.search.adaptive.posterior import (
    JITTER,
    CovarianceRows,
    ModelSpace,
    Observation,
    ObservationArrays,
    design_covariance,
    posterior_mode,
    prior_medians,
)
from sde_ray.search.adaptive.sufficient_statistics import SufficientStatistics, block_diagonal
from sde_ray.search.kernel import Array, Index


def fit_hyperparameters(
    space: ModelSpace, observations: Sequence[Observation], scores: Array
) -> tuple[dict[str, float], float]:
    """As `posterior.fit_hyperparameters`: standard deviation of every term, and the log posterior density."""
    spread = max(float(scores.std()), 1e-6)
    names, arrays = space.terms(), ObservationArrays(observations)
    statistics = SufficientStatistics(space, np.unique(arrays.design), arrays, scores - scores.mean())
    prior = prior_medians(space, spread)

    def loss(log_values: Array) -> tuple[float, Array]:
        values = {**prior, **dict(zip(names, np.exp(log_values).tolist(), strict=True))}
        value, slopes = Solution(statistics, values, JITTER * spread**2).log_likelihood()
        return -value, -np.array([slopes[name] for name in names])

    return posterior_mode(names, prior, loss)


class Solution:
    """Normal posterior of the weights, of each design's deviations given them, and the likelihood of the scores.

    Cells (contest and rung) of a design are one axis of C x R. Given the weights w and the seeds v, a design's expected
    scores are `kept`' Phi w - `rest` `seeds` v + `deviation` and what is independent of them and of other designs, of
    covariance `rest`. Weights and seeds are solved for in units of their prior standard deviations, `sd`; `lower` is
    the Cholesky factor of their precision.
    """

    def __init__(
        self, statistics: SufficientStatistics, hyperparameters: Mapping[str, float], jitter: float = 0.0
    ) -> None:
        """`jitter`: added to the variance of an observation."""
        self.statistics, self.hyperparameters = statistics, hyperparameters
        self.trial, self.observation = hyperparameters["trial"] ** 2, hyperparameters["observation"] ** 2 + jitter
        self.sizes = statistics.masks.sum(1)
        self.mean_variance = self.observation + self.sizes * self.trial  # of a trial's scores, along their sum
        self.sd = np.array([hyperparameters[name] for name in statistics.terms])
        self.start = len(statistics.features)  # seeds follow the other weights
        self.seeds = self._seeds()
        log_determinant = self._solve_designs()
        self._solve_weights()
        log_determinants = (self.sizes - 1) * np.log(self.observation) + np.log(self.mean_variance)
        self.log_determinant = float(
            (statistics.trials_by_pattern * log_determinants).sum()
            + log_determinant
            + 2 * np.log(np.diag(self.lower)).sum()
        )

    def _solve_designs(self) -> float:
        """Eliminate trials, then each design's deviations; returns the log determinant of the latter."""
        statistics, masks = self.statistics, self.statistics.masks
        shrinkage = self.trial / self.observation / self.mean_variance
        inverse = np.eye(masks.shape[1]) / self.observation - shrinkage[:, None, None]
        inverse = inverse * masks[:, :, None] * masks[:, None, :]
        precision = block_diagonal(np.einsum("dcp,prs->dcrs", statistics.counts, inverse))
        self.right = np.einsum("prs,dcps->dcr", inverse, statistics.totals).reshape(len(precision), -1)
        prior = design_covariance(statistics.space, self.hyperparameters)
        identity = np.eye(len(prior))
        system = identity + prior @ precision
        self.rest = np.linalg.solve(system, np.broadcast_to(prior, system.shape))
        self.kept = identity - precision @ self.rest
        self.information = self.kept @ precision
        self.information = (self.information + self.information.transpose(0, 2, 1)) / 2
        self.residual = (self.kept @ self.right[..., None])[..., 0]
        self.deviation = (self.rest @ self.right[..., None])[..., 0]
        return float(np.linalg.slogdet(system)[1].sum())

    def _solve_weights(self) -> None:
        """Posterior of the weights, with the designs' deviations eliminated."""
        statistics, features, start = self.statistics, self.statistics.features, self.start
        of_seeds, self.rest_seeds = self.seeds.reshape(-1, self.seeds.shape[2]), self.rest @ self.seeds
        self.kept_seeds = self.kept @ self.seeds
        precision = (self.sizes / self.mean_variance)[statistics.pattern]
        matrix = np.zeros((len(self.sd), len(self.sd)))
        matrix[:start, :start] = features.products(self.information)
        matrix[start:, :start] = features.sums(self.kept_seeds).T
        matrix[start:, start:] = np.diag(np.bincount(statistics.column, precision, self.seeds.shape[2]))
        matrix[start:, start:] -= of_seeds.T @ self.rest_seeds.reshape(of_seeds.shape)
        matrix *= self.sd
        matrix *= self.sd[:, None]
        matrix[np.diag_indices(len(matrix))] += 1
        self.lower = linalg.cholesky(matrix, lower=True, check_finite=False)  # which reads the lower triangle
        sums = statistics.sums / self.mean_variance[statistics.pattern]
        right = np.bincount(statistics.column, sums, self.seeds.shape[2]) - of_seeds.T @ self.deviation.ravel()
        target = np.append(features.sums(self.residual[..., None])[:, 0], right) * self.sd
        self.weights = linalg.cho_solve((self.lower, True), target, check_finite=False)
        square = statistics.squares - self.trial * (statistics.squares_of_sums / self.mean_variance).sum()
        square = square / self.observation - (self.right * self.deviation).sum() - target @ self.weights
        self.square = float(square)

    def _seeds(self) -> Array:
        """Precision that trials give the sum of a cell's score and a seed's, [design, C x R, seed]."""
        statistics, space = self.statistics, self.statistics.space
        seeds = np.zeros((len(statistics.designs), space.contests, space.rungs, len(statistics.seed)))
        values = statistics.masks / self.mean_variance[:, None]
        for rung in range(space.rungs):
            seeds[statistics.position, statistics.contest, rung, statistics.column] = values[statistics.pattern, rung]
        return seeds.reshape(len(seeds), -1, len(statistics.seed))

    def map(self, design: Index, cell: Index) -> Array:
        """Expected scores as combinations of weights, in units of their standard deviations: [score, weight]."""
        of_features = self.statistics.features.rows(design, self.kept[design, :, cell])
        return np.concatenate([of_features, -self.rest_seeds[design, cell]], axis=1) * self.sd

    @cached_property
    def _fitted(self) -> tuple[Array, Array]:
        """Posterior means of Phi w, and of what seeds add to the right side, both [design, C x R]."""
        weights = (self.weights * self.sd)[:, None]
        of_features = self.statistics.features.times(weights[: self.start])[..., 0]
        return of_features, (self.seeds @ weights[self.start :])[..., 0]

    @cached_property
    def expected(self) -> Array:
        """Posterior mean of the expected scores, [design, C x R]."""
        features, seeds = self._fitted
        mean = self.kept.transpose(0, 2, 1) @ features[..., None] - self.rest @ seeds[..., None]
        return np.asarray(mean[..., 0] + self.deviation)

    def log_likelihood(self) -> tuple[float, dict[str, float]]:
        """Log likelihood of the scores, but for a constant, and its slope along the log of each hyperparameter.

        Slopes of weights by Fisher's identity, of designs and trials by the trace of the inverse covariance.
        """
        inverse, _ = linalg.lapack.dpotri(self.lower, lower=True)  # the lower triangle
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        moments = self.weights**2 + np.diag(inverse) - 1
        slopes: dict[str, float] = {}
        for name, moment in zip(self.statistics.terms, moments.tolist(), strict=True):
            slopes[name] = slopes.get(name, 0.0) + moment
        inverse *= self.sd
        inverse *= self.sd[:, None]
        self._covariance = _WeightCovariance(self.statistics.features, self.seeds, inverse)
        slopes |= self._design_slopes()
        slopes["trial"] = self._trial_slope()
        # All standard deviations times a factor: what is left of the slope of the whole is the observations'.
        rest = self.square - self.statistics.num_scores - sum(slopes.values())
        slopes["observation"] = rest * self.hyperparameters["observation"] ** 2 / self.observation
        return -0.5 * (self.square + self.log_determinant), slopes

    def _design_slopes(self) -> dict[str, float]:
        space = self.statistics.space
        shape = (len(self.rest), space.contests, space.rungs)
        features, seeds = self._fitted
        weighted = self.information @ features[..., None] + self.kept @ seeds[..., None]
        score = self.residual - weighted[..., 0]
        # The designs' information less what is explained by the weights: what of a deviation's variance is left.
        left = self.information - self._covariance.through(self.information, self.kept)
        slopes = {"design": float((score.sum(1) ** 2).sum() - left.sum())}
        if space.contests > 1:
            trace = np.einsum("dcrcs->", left.reshape(*shape, *shape[1:]))
            slopes["contest design"] = float((score.reshape(shape).sum(2) ** 2).sum() - trace)
        if space.rungs > 1:
            variance = np.tile(space.rung_deviation**2, space.contests)
            slopes["rung design"] = float((score**2 @ variance).sum() - np.einsum("dcc,c->", left, variance))
        return {name: self.hyperparameters[name] ** 2 * slope for name, slope in slopes.items()}

    def _trial_slope(self) -> float:
        statistics, space = self.statistics, self.statistics.space
        design, contest, seed = statistics.position, statistics.contest, statistics.column
        masks = statistics.masks[statistics.pattern]
        shape = (len(self.rest), space.contests, space.rungs)
        whole = self.rest + self._covariance.through(self.kept.transpose(0, 2, 1), -np.asarray(self.rest, dtype=float))
        blocks = np.einsum("dcrcs->dcrs", whole.reshape(*shape, *shape[1:]))
        of_pattern = np.einsum("pr,dcrs,ps->dcp", statistics.masks, blocks, statistics.masks)
        with_seeds = self.kept.transpose(0, 2, 1) @ self._covariance.of_features
        with_seeds -= self.rest_seeds @ self._covariance.between_seeds
        with_seeds = with_seeds.reshape(*shape, -1)[design, contest, :, seed]
        variance_of_seed = np.diag(self._covariance.between_seeds)[seed]
        size = masks.sum(1)
        mean = (masks * self.expected.reshape(shape)[design, contest]).sum(1)
        of_sum = self.mean_variance[statistics.pattern]
        column = self.start + seed
        residual = (statistics.sums - mean - size * self.sd[column] * self.weights[column]) / of_sum
        spread = of_pattern[design, contest, statistics.pattern] + size**2 * variance_of_seed
        spread += 2 * size * (masks * with_seeds).sum(1)
        return self.trial * float((residual**2 - size / of_sum + spread / of_sum**2).sum())


class _WeightCovariance:
    """Posterior covariance of Phi w and of the seeds v, design by design.

    `of_features` [design, C x R, seed]: of Phi w with the seeds; `between_seeds` [seed, seed].
    """

    def __init__(self, features: Features, seeds: Array, covariance: Array) -> None:
        start = len(features)
        self.of_features = features.times(covariance[:start, start:])
        self.between_seeds = covariance[start:, start:]
        self._features = features.quadratic(covariance[:start, :start])
        self._cross = self.of_features @ seeds.transpose(0, 2, 1)
        self._seeds = (seeds @ self.between_seeds) @ seeds.transpose(0, 2, 1)

    def through(self, first: Array, second: Array) -> Array:
        """Covariance of first Phi w + second seeds v, of matrices [design, C x R, C x R]; the same shape."""
        cross = first @ self._cross @ second.transpose(0, 2, 1)
        own = first @ self._features @ first.transpose(0, 2, 1) + second @ self._seeds @ second.transpose(0, 2, 1)
        return np.asarray(own + cross + cross.transpose(0, 2, 1))


@dataclass(frozen=True)
class _Combination:
    """What of weights and of a design's own expected scores an observation holds: [weight], [C x R] and the rest."""

    weights: Array
    cells: Array
    variance: Array


class WeightSpacePosterior:
    """Gaussian-process posterior over a pool of designs, as `GaussianPosterior`, from sufficient statistics."""

    mean: Array
    variance: Array

    def __init__(
        self,
        space: ModelSpace,
        hyperparameters: Mapping[str, float],
        centre: float,
        pool: Index,
        observations: Sequence[Observation],
        scores: Sequence[float] | Array,
    ) -> None:
        self.space, self.hyperparameters, self.centre, self.pool = space, hyperparameters, centre, pool
        self._observations, self._deviations = ObservationArrays(observations), np.asarray(scores, dtype=float) - centre
        self._solve()

    @property
    def noise(self) -> float:
        """Variance of a fresh trial's observation around its expected score."""
        return sum(self.hyperparameters[name] ** 2 for name in ("seed", "trial", "observation"))

    def update(self, observations: Sequence[Observation], scores: Sequence[float] | Array) -> None:
        """Condition on further observed scores."""
        self._observations = self._observations.append(ObservationArrays(observations))
        self._deviations = np.append(self._deviations, np.asarray(scores, dtype=float) - self.centre)
        self._solve()

    def copy(self) -> WeightSpacePosterior:
        """Copy whose updates leave this posterior as it is."""
        twin = object.__new__(WeightSpacePosterior)
        twin.__dict__.update(self.__dict__)
        return twin

    def expect(self, observations: Sequence[Observation]) -> None:
        """Condition on scores that are still to come, taken as expected: variances shrink, no mean moves."""
        mean = self.mean
        self.update(observations, np.full(len(observations), self.centre))
        self.mean = mean

    def covariance(self, values: Index, scores: Index) -> Array:
        """Covariance of values with expected scores, [value, score], both by their flat numbers."""
        rows = self._score_of(values)
        cov = (self._half[rows] @ self._half.T)[:, scores]  # of all: rows of weights are too large to be copied
        i, j = np.nonzero(np.equal.outer(self._design[rows], self._design[scores]))
        cov[i, j] += self._solution.rest[self._design[rows[i]], self._cell[rows[i]], self._cell[scores[j]]]
        return np.asarray(cov)

    def covariance_with(self, observations: Sequence[Observation]) -> tuple[CovarianceRows, Array]:
        """Covariance of values with further observations, by the values' numbers, and the variance of these."""
        rows = ObservationArrays(observations)
        position = np.searchsorted(self._statistics.designs, rows.design)
        combination = self._combination(rows, position)
        half = linalg.solve_triangular(self._solution.lower, combination.weights.T, lower=True, check_finite=False)
        own = self._own_covariance(position, combination.cells)
        variance = (half**2).sum(0) + (own * combination.cells).sum(1) + combination.variance

        def cov(values: Index) -> Array:
            scores = self._score_of(values)
            matrix = self._half[scores] @ half
            i, j = np.nonzero(np.equal.outer(self._design[scores], position))
            matrix[i, j] += own[j, self._cell[scores[i]]]
            return np.asarray(matrix)

        return cov, np.maximum(variance, 1e-12)

    def _own_covariance(self, position: Index, cells: Array) -> Array:
        """Covariance of combinations of a design's cells with each of its cells, [observation, C x R]."""
        own = np.zeros_like(cells)
        for column in range(cells.shape[1]):
            own += cells[:, column, None] * self._solution.rest[position, column]
        return own

    def _combination(self, rows: ObservationArrays, position: Index) -> _Combination:
        """Observations as combinations of weights and cells: less what their trial's own scores say of its luck."""
        solution, statistics = self._solution, self._statistics
        column, pattern = statistics.find_trials(rows)
        masks = np.where(pattern[:, None] >= 0, statistics.masks[pattern], 0.0)
        sizes = masks.sum(1)
        luck = solution.trial / (solution.observation + sizes * solution.trial)
        count, rungs = len(position), self.space.rungs
        by_rung = -luck[:, None] * masks
        by_rung[np.arange(count), rows.rung] += 1
        cells = np.zeros((count, self.space.contests, rungs))
        cells[np.arange(count), rows.contest] = by_rung
        weights = np.zeros((count, len(solution.sd)))
        for rung in range(rungs):  # one after another: rows of weights are the largest arrays here
            weights += by_rung[:, rung, None] * solution.map(position, rows.contest * rungs + rung)
        known = np.flatnonzero(column >= 0)
        seed = len(solution.sd) - len(statistics.seed) + column[known]
        weights[known, seed] += (1 - luck * sizes)[known] * solution.sd[seed]
        variance = solution.trial * (1 - luck * sizes) + solution.observation
        variance += np.where(column < 0, self.hyperparameters["seed"] ** 2, 0.0)
        return _Combination(weights, cells.reshape(count, -1), variance)

    def _score_of(self, values: Index) -> Index:
        """Flat numbers of values among the expected scores: those at the last rung."""
        contest, position = np.divmod(values, len(self.pool))
        return np.asarray(((contest + 1) * self.space.rungs - 1) * len(self.pool) + position)

    def _solve(self) -> None:
        space, shape = self.space, (self.space.contests, self.space.rungs, len(self.pool))
        designs = np.union1d(self.pool, self._observations.design)
        self._statistics = SufficientStatistics(space, designs, self._observations, self._deviations)
        self._solution = solution = Solution(self._statistics, self.hyperparameters)
        contest, rung, position = (axis.ravel() for axis in np.indices(shape))
        self._design, self._cell = np.searchsorted(designs, self.pool)[position], contest * space.rungs + rung
        weights = solution.map(self._design, self._cell).T
        half = linalg.solve_triangular(solution.lower, weights, lower=True, check_finite=False, overwrite_b=True)
        self._half = np.ascontiguousarray(half.T)  # [score, weight]
        variance = np.einsum("sw,sw->s", self._half, self._half) + solution.rest[self._design, self._cell, self._cell]
        self.mean = self.centre + solution.expected[self._design, self._cell].reshape(shape)
        self.variance = variance.reshape(shape)
