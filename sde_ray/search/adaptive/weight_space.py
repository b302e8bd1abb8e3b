"""The Gaussian process of `posterior.py` in weight space: as exact, for thousands of trials (Rasmussen, Williams 2.1).

    statistics = SufficientStatistics(space, designs, observations, scores)     10,000 trials become 216 cells
    statistics.log_likelihood(hyperparameters)                                  with its gradient
    posterior = WeightSpacePosterior(space, hyperparameters, centre, pool, observations, scores)

Trials of one contest and design that were scored at the same rungs differ by noise and by their seeds alone. So the
likelihood needs, of each cell and each set of rungs, the number of trials, the sums of their scores and, because seeds
are crossed with designs, which seeds they have:

    y = Z (Phi w + g) + seeds + trials + observations        Phi w: contests, options, interactions; g: designs

The weights w, seeds among them, are eliminated last: there are as many as options and pairs. Designs are independent
given w, trials given designs, so both are eliminated block by block (Woodbury's identity, Henderson's equations). Time
and memory grow with designs and weights, not with trials; the dense form of `posterior.py` takes the cube of trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from sde_ray.errors import UserError
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
from sde_ray.search.kernel import Array, Index

MAX_WORK = 10**10  # expected scores x weights squared: about 2 minutes for a fit on one core, and 1 GiB


def num_weights(space: ModelSpace, num_seeds: int) -> int:
    """Number of weights that are solved for together, with so many seeds in each contest."""
    main, pairs = space.kernel.num_main_effects, space.kernel.num_interactions
    lower = space.contests * int(np.count_nonzero(space.rung_deviation)) if space.rungs > 1 else 0
    shared = 1 + (space.contests if space.contests > 1 else 0)
    return space.contests * (1 + num_seeds) + shared * (main + pairs) + lower * (1 + main)


def refuse_too_large(space: ModelSpace, num_designs: int, num_seeds: int) -> None:
    """Raises UserError: where so many scored designs would take too much time and memory."""
    weights, scores = num_weights(space, num_seeds), num_designs * space.contests * space.rungs
    if scores * weights**2 > MAX_WORK:
        raise UserError(
            f"search.method: adaptive would have to tell {scores:,} expected scores apart ({num_designs:,} designs × "
            f"{space.contests} contests × {space.rungs} rungs) by {weights:,} effects of options, pairs and seeds; "
            f"with so many effects it takes {MAX_WORK // weights**2:,} scores at most. Set a lower search.n_trials, "
            "list fewer options or seeds, set search.rungs: [1.0], or set search.method: random or optuna."
        )


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
        value, slopes = statistics.solve(values, JITTER * spread**2).log_likelihood()
        return -value, -np.array([slopes[name] for name in names])

    return posterior_mode(names, prior, loss)


class SufficientStatistics:
    """Sums of scores by cell and set of rungs, and the seeds in each.

    A cell is a contest and design; `designs` are the numbers of the D designs to hold, scored or not. Scores have C
    contests, R rungs, P sets of rungs in which trials were scored, S pairs of contest and seed.
    """

    def __init__(self, space: ModelSpace, designs: Index, observations: ObservationArrays, scores: Array) -> None:
        self.space, self.designs, self.num_scores = space, designs, len(scores)
        position = np.searchsorted(designs, observations.design)
        largest = int(observations.seed.max(initial=0)) + 1
        codes, column = np.unique(observations.contest * largest + observations.seed, return_inverse=True)
        self.seed_contest, self.seed = codes // largest, codes % largest
        trials, trial = np.unique(position * len(codes) + column, return_inverse=True)
        self.position, self.column = trials // len(codes), trials % len(codes)
        self.contest = self.seed_contest[self.column]
        by_rung, scored = np.zeros((len(trials), space.rungs)), np.zeros((len(trials), space.rungs))
        by_rung[trial, observations.rung], scored[trial, observations.rung] = scores, 1.0
        self.masks, self.pattern = np.unique(scored, axis=0, return_inverse=True)
        self.pattern = self.pattern.reshape(-1)
        self.sums = by_rung.sum(1)
        cells = (len(designs), space.contests, len(self.masks))
        self.counts, self.totals = np.zeros(cells), np.zeros((*cells, space.rungs))
        where = (self.position, self.contest, self.pattern)
        np.add.at(self.counts, where, 1.0)
        np.add.at(self.totals, where, by_rung)
        self.squares = float((scores**2).sum())
        self.squares_of_sums = np.bincount(self.pattern, self.sums**2, len(self.masks))
        self.trials_by_pattern = np.bincount(self.pattern, minlength=len(self.masks)).astype(float)
        self.features, self.terms = _features(space, designs)
        self.terms += ["seed"] * len(codes)

    def find_trials(self, observations: ObservationArrays) -> tuple[Index, Index]:
        """Column of the seed and set of rungs of each observation's trial; -1 where there is none so far."""
        largest = int(self.seed.max(initial=0)) + 1
        codes, wanted = self.seed_contest * largest + self.seed, observations.contest * largest + observations.seed
        column = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
        column = np.where(
            (codes[column] == wanted) & (observations.seed < largest) & (observations.seed >= 0), column, -1
        )
        trials = self.position * len(codes) + self.column
        of = np.searchsorted(self.designs, observations.design) * len(codes) + column
        row = np.minimum(np.searchsorted(trials, of), len(trials) - 1)
        return column, np.where((trials[row] == of) & (column >= 0), self.pattern[row], -1)

    def solve(self, hyperparameters: Mapping[str, float], jitter: float = 0.0) -> Solution:
        """Posterior of weights and designs. `jitter`: added to the variance of an observation."""
        return Solution(self, hyperparameters, jitter)


class Solution:
    """Normal posterior of the weights, of each design's deviations given them, and the likelihood of the scores.

    Weights are in units of their prior standard deviations. Cells and rungs of a design are one axis of C x R.
    `map` [design, C x R, weight] and `rest` [design, C x R, C x R]: expected scores are `map` times the weights plus
    what is independent of them and of other designs, of this covariance. `precision` is that of the weights.
    """

    def __init__(self, statistics: SufficientStatistics, hyperparameters: Mapping[str, float], jitter: float) -> None:
        self.statistics, self.hyperparameters = statistics, hyperparameters
        space, features = statistics.space, statistics.features
        self.trial, self.observation = hyperparameters["trial"] ** 2, hyperparameters["observation"] ** 2 + jitter
        self.sd = np.array([hyperparameters[name] for name in statistics.terms])
        num_features = features.shape[2]
        masks, sizes = statistics.masks, statistics.masks.sum(1)
        self.mean_variance = self.observation + sizes * self.trial  # of a trial's scores, in the direction of their sum
        inverse = (
            np.eye(space.rungs) / self.observation - (self.trial / self.observation / self.mean_variance)[:, None, None]
        )
        inverse = inverse * masks[:, :, None] * masks[:, None, :]
        precision = _block_diagonal(np.einsum("dcp,prs->dcrs", statistics.counts, inverse))
        right = np.einsum("prs,dcps->dcr", inverse, statistics.totals).reshape(len(features), -1)
        seeds = self._seeds()
        prior = design_covariance(space, hyperparameters)
        identity = np.eye(len(prior))
        system = identity + prior @ precision
        self.rest = np.linalg.solve(system, np.broadcast_to(prior, system.shape))
        kept = identity - precision @ self.rest  # [design, C x R, C x R]
        self.information = kept @ precision
        self.cross = np.concatenate([self.information @ features, kept @ seeds], axis=2)
        self.map = np.concatenate([kept.transpose(0, 2, 1) @ features, -self.rest @ seeds], axis=2)
        self.cross *= self.sd
        self.map *= self.sd
        self.residual = (kept @ right[..., None])[..., 0]
        weights = len(self.sd)
        flat = features.reshape(-1, num_features)
        matrix = np.zeros((weights, weights))
        matrix[:num_features] = (flat * self.sd[:num_features]).T @ self.cross.reshape(-1, weights)
        matrix[num_features:, :num_features] = matrix[:num_features, num_features:].T
        rank = seeds.reshape(-1, seeds.shape[2]).T @ (self.rest @ seeds).reshape(-1, seeds.shape[2])
        own = np.bincount(statistics.column, (sizes / self.mean_variance)[statistics.pattern], seeds.shape[2])
        seed_sd = self.sd[num_features:]
        matrix[num_features:, num_features:] = (np.diag(own) - rank) * seed_sd * seed_sd[:, None]
        matrix[np.diag_indices(weights)] += 1
        self.precision = (matrix + matrix.T) / 2
        self.lower = linalg.cholesky(self.precision, lower=True, check_finite=False)
        of_seeds = np.bincount(
            statistics.column, statistics.sums / self.mean_variance[statistics.pattern], seeds.shape[2]
        )
        of_seeds = of_seeds - seeds.reshape(-1, seeds.shape[2]).T @ (self.rest @ right[..., None]).ravel()
        target = np.append(flat.T @ self.residual.ravel(), of_seeds) * self.sd
        self.weights = linalg.cho_solve((self.lower, True), target, check_finite=False)
        self.deviation = (self.rest @ right[..., None])[..., 0]
        square = statistics.squares - self.trial * (statistics.squares_of_sums / self.mean_variance).sum()
        self.square = float(square / self.observation - (right * self.deviation).sum() - target @ self.weights)
        self.log_determinant = float(
            (statistics.trials_by_pattern * ((sizes - 1) * np.log(self.observation) + np.log(self.mean_variance))).sum()
            + np.linalg.slogdet(system)[1].sum()
            + 2 * np.log(np.diag(self.lower)).sum()
        )

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


def _features(space: ModelSpace, designs: Index) -> tuple[Array, list[str]]:
    """Columns of the weights but seeds, [design, C x R, weight], and the term of each."""
    main, pairs = space.kernel.model_columns(designs)
    contests, rungs, deviation = space.contests, space.rungs, space.rung_deviation
    shape = (len(designs), contests, rungs)
    columns, terms = [], []

    def add(term: str, values: Array, contest: int | slice, rung: int | slice, factor: float = 1.0) -> None:
        block = np.zeros((*shape, values.shape[1]))
        block[:, contest, rung] = factor * values.reshape(len(designs), *(1,) * (block[:, contest, rung].ndim - 2), -1)
        columns.append(block.reshape(len(designs), contests * rungs, -1))
        terms.extend([term] * values.shape[1])

    ones, every = np.ones((len(designs), 1)), slice(None)
    add("options", main, every, every)
    add("interactions", pairs, every, every)
    for contest in range(contests):
        add("contest", ones, contest, every)
        if contests > 1:
            add("contest options", main, contest, every)
            add("contest interactions", pairs, contest, every)
        for rung in np.flatnonzero(deviation).tolist() if rungs > 1 else ():
            add("offset", ones, contest, rung, deviation[rung])
            add("rung options", main, contest, rung, deviation[rung])
    return np.concatenate(columns, axis=2), terms


def _block_diagonal(blocks: Array) -> Array:
    """Matrices by contest, [design, contest, rung, rung], as one of [design, C x R, C x R]."""
    designs, contests, rungs, _ = blocks.shape
    whole = np.zeros((designs, contests, rungs, contests, rungs))
    for contest in range(contests):
        whole[:, contest, :, contest] = blocks[:, contest]
    return whole.reshape(designs, contests * rungs, contests * rungs)


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
        self._solution = solution = self._statistics.solve(self.hyperparameters)
        flat = solution.map.reshape(-1, len(solution.sd))
        self._half = linalg.solve_triangular(solution.lower, flat.T, lower=True, check_finite=False)
        variance = (self._half**2).sum(0) + np.diagonal(solution.rest, axis1=1, axis2=2).ravel()
        shape = (space.contests, space.rungs, len(self.pool))
        scores = self._flat(tuple(axis.ravel() for axis in np.indices(shape)))
        self.mean = self.centre + solution.expected.ravel()[scores].reshape(shape)
        self.variance = variance[scores].reshape(shape)
