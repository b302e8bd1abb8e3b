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

import numpy as np
from scipy import linalg

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

    Weights are in units of their prior standard deviations. Cells and rungs of a design are one axis of C x R.
    `map` [design, C x R, weight] and `rest` [design, C x R, C x R]: expected scores are `map` times the weights plus
    what is independent of them and of other designs, of this covariance. `lower` is the Cholesky factor of the weights'
    precision.
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
        seeds = self._seeds()
        log_determinant = self._solve_designs(seeds)
        self._solve_weights(seeds)
        log_determinants = (self.sizes - 1) * np.log(self.observation) + np.log(self.mean_variance)
        self.log_determinant = float(
            (statistics.trials_by_pattern * log_determinants).sum()
            + log_determinant
            + 2 * np.log(np.diag(self.lower)).sum()
        )

    def _solve_designs(self, seeds: Array) -> float:
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
        kept = identity - precision @ self.rest  # [design, C x R, C x R]
        self.information = kept @ precision
        self.cross = np.concatenate([self.information @ statistics.features, kept @ seeds], axis=2)
        self.map = np.concatenate([kept.transpose(0, 2, 1) @ statistics.features, -self.rest @ seeds], axis=2)
        self.cross *= self.sd
        self.map *= self.sd
        self.residual = (kept @ self.right[..., None])[..., 0]
        self.deviation = (self.rest @ self.right[..., None])[..., 0]
        return float(np.linalg.slogdet(system)[1].sum())

    def _solve_weights(self, seeds: Array) -> None:
        """Posterior of the weights, with the designs' deviations eliminated."""
        statistics, weights = self.statistics, len(self.sd)
        features = statistics.features.reshape(-1, statistics.features.shape[2])
        start, of_seeds = features.shape[1], seeds.reshape(-1, seeds.shape[2])
        matrix = np.zeros((weights, weights))
        matrix[:start] = (features * self.sd[:start]).T @ self.cross.reshape(-1, weights)
        matrix[start:, :start] = matrix[:start, start:].T
        precision = (self.sizes / self.mean_variance)[statistics.pattern]
        own = np.diag(np.bincount(statistics.column, precision, seeds.shape[2]))
        own -= of_seeds.T @ (self.rest @ seeds).reshape(of_seeds.shape)
        matrix[start:, start:] = own * self.sd[start:] * self.sd[start:, None]
        matrix[np.diag_indices(weights)] += 1
        self.lower = linalg.cholesky((matrix + matrix.T) / 2, lower=True, check_finite=False)
        sums = statistics.sums / self.mean_variance[statistics.pattern]
        right = np.bincount(statistics.column, sums, seeds.shape[2]) - of_seeds.T @ self.deviation.ravel()
        target = np.append(features.T @ self.residual.ravel(), right) * self.sd
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

    @property
    def expected(self) -> Array:
        """Posterior mean of the expected scores, [design, C x R]."""
        return self.map @ self.weights + self.deviation

    def log_likelihood(self) -> tuple[float, dict[str, float]]:
        """Log likelihood of the scores, but for a constant, and its slope along the log of each hyperparameter.

        Slopes of weights by Fisher's identity, of designs and trials by the trace of the inverse covariance.
        """
        inverse = linalg.cho_solve((self.lower, True), np.eye(len(self.lower)), check_finite=False)
        moments = self.weights**2 + np.diag(inverse) - 1
        slopes: dict[str, float] = {}
        for name, moment in zip(self.statistics.terms, moments.tolist(), strict=True):
            slopes[name] = slopes.get(name, 0.0) + moment
        slopes |= self._design_slopes(inverse)
        slopes["trial"] = self._trial_slope(inverse)
        # All standard deviations times a factor: what is left of the slope of the whole is the observations'.
        rest = self.square - self.statistics.num_scores - sum(slopes.values())
        slopes["observation"] = rest * self.hyperparameters["observation"] ** 2 / self.observation
        return -0.5 * (self.square + self.log_determinant), slopes

    def _design_slopes(self, inverse: Array) -> dict[str, float]:
        space = self.statistics.space
        shape = (len(self.cross), space.contests, space.rungs)
        weighted = (self.residual - self.cross @ self.weights).reshape(shape)
        cross = self.cross.reshape(*shape, -1)
        information = self.information.reshape(*shape, space.contests, space.rungs)
        sums = {"design": (weighted.sum((1, 2)), cross.sum((1, 2)), float(self.information.sum()))}
        if space.contests > 1:
            trace = float(np.einsum("dcrcs->", information))
            sums["contest design"] = weighted.sum(2), cross.sum(2), trace
        if space.rungs > 1:
            deviation = space.rung_deviation
            trace = float(np.einsum("dcrcr,r->", information, deviation**2))
            lower = np.flatnonzero(deviation)
            scaled = cross[:, :, lower] * deviation[lower, None]
            sums["rung design"] = weighted * deviation, scaled, trace
        slopes = {}
        for name, (score, rows, trace) in sums.items():
            rows = rows.reshape(-1, rows.shape[-1])
            explained = float(np.einsum("rw,rw->", rows @ inverse, rows))
            slopes[name] = self.hyperparameters[name] ** 2 * (float((score**2).sum()) - trace + explained)
        return slopes

    def _trial_slope(self, inverse: Array) -> float:
        statistics, space = self.statistics, self.statistics.space
        cells = np.argwhere(statistics.counts > 0)
        design, contest, pattern = cells.T
        masks = statistics.masks[pattern]
        shape = (len(self.map), space.contests, space.rungs)
        rows = np.einsum("gr,grw->gw", masks, self.map.reshape(*shape, -1)[design, contest])
        projected = rows @ inverse
        blocks = self.rest.reshape(*shape, space.contests, space.rungs)[design, contest, :, contest]
        variance = np.einsum("gw,gw->g", projected, rows) + np.einsum("gr,grs,gs->g", masks, blocks, masks)
        mean = (masks * self.expected.reshape(shape)[design, contest]).sum(1)
        number = np.zeros(statistics.counts.shape, dtype=np.intp)
        number[tuple(cells.T)] = np.arange(len(cells))
        group = number[statistics.position, statistics.contest, statistics.pattern]
        seed = len(self.sd) - len(statistics.seed) + statistics.column
        size = statistics.masks.sum(1)[statistics.pattern]
        sd = self.sd[seed]
        of_sum = self.mean_variance[statistics.pattern]
        residual = (statistics.sums - mean[group] - size * sd * self.weights[seed]) / of_sum
        spread = variance[group] + 2 * size * sd * projected[group, seed] + (size * sd) ** 2 * inverse[seed, seed]
        return self.trial * float((residual**2 - size / of_sum + spread / of_sum**2).sum())


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
        rows, columns = self._flat_values(values), self._flat(np.unravel_index(scores, self.mean.shape))
        cells = self.space.contests * self.space.rungs
        cov = self._half[:, rows].T @ self._half[:, columns]
        i, j = np.nonzero(np.equal.outer(rows // cells, columns // cells))
        cov[i, j] += self._solution.rest[rows[i] // cells, rows[i] % cells, columns[j] % cells]
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
            flat, cells = self._flat_values(values), self.space.contests * self.space.rungs
            matrix = self._half[:, flat].T @ half
            i, j = np.nonzero(np.equal.outer(flat // cells, position))
            matrix[i, j] += own[j, flat[i] % cells]
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
            weights += by_rung[:, rung, None] * solution.map[position, rows.contest * rungs + rung]
        known = np.flatnonzero(column >= 0)
        seed = len(solution.sd) - len(statistics.seed) + column[known]
        weights[known, seed] += (1 - luck * sizes)[known] * solution.sd[seed]
        variance = solution.trial * (1 - luck * sizes) + solution.observation
        variance += np.where(column < 0, self.hyperparameters["seed"] ** 2, 0.0)
        return _Combination(weights, cells.reshape(count, -1), variance)

    def _flat_values(self, values: Index) -> Index:
        """Numbers of values among the scores of the statistics."""
        contest, position = np.divmod(values, len(self.pool))
        return self._flat((contest, np.full_like(contest, self.space.rungs - 1), position))

    def _flat(self, index: tuple[Index, ...]) -> Index:
        """Numbers of scores, by contest, rung and position in the pool, among those of the statistics."""
        contest, rung, position = index
        design = np.searchsorted(self._statistics.designs, self.pool)[position]
        return np.asarray((design * self.space.contests + contest) * self.space.rungs + rung)

    def _solve(self) -> None:
        space = self.space
        designs = np.union1d(self.pool, self._observations.design)
        self._statistics = SufficientStatistics(space, designs, self._observations, self._deviations)
        self._solution = solution = Solution(self._statistics, self.hyperparameters)
        flat = solution.map.reshape(-1, len(solution.sd))
        self._half = linalg.solve_triangular(solution.lower, flat.T, lower=True, check_finite=False)
        variance = (self._half**2).sum(0) + np.diagonal(solution.rest, axis1=1, axis2=2).ravel()
        shape = (space.contests, space.rungs, len(self.pool))
        scores = self._flat(tuple(axis.ravel() for axis in np.indices(shape)))
        self.mean = self.centre + solution.expected.ravel()[scores].reshape(shape)
        self.variance = variance[scores].reshape(shape)
