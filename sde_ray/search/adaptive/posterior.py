"""Gaussian-process posterior over designs, given the scores so far; updated observation by observation.

    score = contest + options + interactions + design                     the design's value: what is searched for
            + rung offset + rung x options + rung x design                how a lower rung departs from the last
            + seed + trial + observation                                  noise; one trial's observations share its part

Every term is normal with a standard deviation of its own, a hyperparameter. `fit_hyperparameters` estimates them from
the observations: the mode of the marginal likelihood with wide log-normal priors (type II maximum likelihood, Rasmussen
and Williams 2006, chapter 5). Scores are on whatever scale the caller models them (`surrogate.py`).
Several contests (tasks, models, training sizes) share the effects and have deviations of their own.
`GaussianPosterior` holds the posterior of the value and of the expected score at each rung; a further observation is a
rank-1 update (Rasmussen and Williams 2006, section 2.2 and appendix A.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from sde_ray.search.kernel import Array, DesignKernel, Index

CovarianceRows = Callable[[Index], Array]  # numbers of values -> covariance with observations, [value, observation]
CONTEST_SD = 10.0  # prior standard deviation of a contest's mean, in units of the scores' spread
OFFSET_SD = 3.0  # the same for the mean departure of a rung
JITTER = 1e-9  # of an observation's variance, in units of the scores' variance
LOG_SD = 1.0  # standard deviation of the priors on log hyperparameters: a factor of e either way

# Prior medians of the hyperparameters, in units of the scores' spread. Those of a design's own deviation, of pairs and
# of noise were fixed on simulated surfaces: with smaller deviations a search takes those of designs for noise, with
# larger ones (0.2, as some recorded tables have) it takes noise for designs, which costs more where trials are noisy.
MEDIANS = {
    "options": 0.3,
    "interactions": 0.12,
    "design": 0.1,
    "contest options": 0.1,
    "contest interactions": 0.05,
    "contest design": 0.03,
    "rung options": 0.05,
    "rung design": 0.1,
    "seed": 0.05,
    "trial": 0.2,
    "observation": 0.1,
}


@dataclass(frozen=True)
class Observation:
    """One score: number of the contest and of the design, seed, and rung as its number from the first."""

    contest: int
    design: int
    seed: int
    rung: int


@dataclass(frozen=True)
class ModelSpace:
    """Index set of the Gaussian process: the designs, the number of contests, and the rungs as training shares."""

    kernel: DesignKernel
    contests: int
    shares: tuple[float, ...]

    @property
    def rungs(self) -> int:
        """Number of rungs."""
        return len(self.shares)

    @property
    def rung_deviation(self) -> Array:
        """How far each rung may depart from the full training, [rung]: like the error of a mean over its samples."""
        return np.sqrt(1 / np.array(self.shares) - 1)

    def terms(self) -> list[str]:
        """Names of the hyperparameters that are estimated in this space."""
        names = ["options", "interactions", "design"]
        names += ["contest options", "contest interactions", "contest design"] if self.contests > 1 else []
        if self.rungs > 1:
            names += ["rung options", "rung design"]
        return [*names, "seed", "trial", "observation"]


class ObservationArrays:
    """Observations as columns of numbers, each [observation]."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        rows = np.array([(o.contest, o.design, o.seed, o.rung) for o in observations], dtype=np.intp).reshape(-1, 4)
        self.contest, self.design, self.seed, self.rung = rows.T

    @classmethod
    def from_columns(cls, *columns: Index) -> ObservationArrays:
        """Observations from the columns contest, design, seed and rung."""
        arrays = cls([])
        arrays.contest, arrays.design, arrays.seed, arrays.rung = columns
        return arrays

    @property
    def columns(self) -> tuple[Index, Index, Index, Index]:
        """The columns contest, design, seed and rung."""
        return self.contest, self.design, self.seed, self.rung

    def take(self, rows: Index) -> ObservationArrays:
        """Observations of these row numbers."""
        return ObservationArrays.from_columns(*(column[rows] for column in self.columns))

    def append(self, others: ObservationArrays) -> ObservationArrays:
        """These observations, then the others."""
        pairs = zip(self.columns, others.columns, strict=True)
        return ObservationArrays.from_columns(*(np.append(column, more) for column, more in pairs))


def components(
    space: ModelSpace, rows: ObservationArrays, columns: ObservationArrays, noise: bool = True
) -> dict[str, Array]:
    """Covariance term by term, each [row, column], for hyperparameters of 1. Without `noise`: of expected scores."""
    options, interactions = space.kernel.main_and_interaction(rows.design, columns.design)
    design = _same(rows.design, columns.design)
    terms = {"contest": np.ones_like(options), "options": options, "interactions": interactions, "design": design}
    contest: Array | float = 1.0
    if space.contests > 1:
        contest = _same(rows.contest, columns.contest)
        terms |= {"contest": contest, "contest options": options * contest}
        terms |= {"contest interactions": interactions * contest, "contest design": design * contest}
    rung: Array | float = 1.0
    if space.rungs > 1:
        rung = _same(rows.rung, columns.rung)
        lower = rung * contest * space.rung_deviation[rows.rung][:, None] ** 2
        terms |= {"offset": lower, "rung options": lower * options, "rung design": lower * design}
    if noise:
        trial = _same(rows.seed, columns.seed) * contest
        terms["seed"], trial = trial, trial * design
        terms |= {"trial": trial, "observation": trial * rung}
    return terms


def _same(rows: Index, columns: Index) -> Array:
    return np.asarray(rows[:, None] == columns[None, :], dtype=float)


def covariance(
    space: ModelSpace,
    hyperparameters: Mapping[str, float],
    rows: ObservationArrays,
    columns: ObservationArrays,
    noise: bool = True,
) -> Array:
    """Covariance of observations under these hyperparameters, [row, column]. Without `noise`: of expected scores."""
    terms = components(space, rows, columns, noise)
    return np.asarray(sum(hyperparameters[name] ** 2 * term for name, term in terms.items()))


def design_covariance(space: ModelSpace, hyperparameters: Mapping[str, float]) -> Array:
    """Covariance of a design's own deviations between contests and rungs, [contest x rung, contest x rung]."""
    contest, rung = np.divmod(np.arange(space.contests * space.rungs), space.rungs)
    same = _same(contest, contest)
    total = np.full(same.shape, hyperparameters["design"] ** 2)
    if space.contests > 1:
        total += hyperparameters["contest design"] ** 2 * same
    if space.rungs > 1:
        lower = hyperparameters["rung design"] ** 2 * space.rung_deviation[rung] ** 2
        total += lower * same * _same(rung, rung)
    return total


def prior_medians(space: ModelSpace, spread: float) -> dict[str, float]:
    """Prior medians of the hyperparameters, for scores of this standard deviation."""
    medians = {name: MEDIANS[name] * spread for name in space.terms()}
    return {"contest": CONTEST_SD * spread, "offset": OFFSET_SD * spread, **medians}


def fit_hyperparameters(
    space: ModelSpace, observations: Sequence[Observation], scores: Array
) -> tuple[dict[str, float], float]:
    """Hyperparameters of the kernel at their posterior mode (type II maximum likelihood with priors).

    Args:
        space: designs, contests and rungs.
        observations: what was scored.
        scores: the scores, [observation].

    Returns the standard deviation of every term, by name, and the log posterior density at the mode.
    """
    spread = max(float(scores.std()), 1e-6)
    prior = prior_medians(space, spread)
    names = space.terms()
    arrays = ObservationArrays(observations)
    terms = components(space, arrays, arrays)
    fixed = np.asarray(sum(prior[name] ** 2 * terms[name] for name in terms if name not in names))
    stack = np.stack([terms[name] for name in names])
    y = scores - scores.mean()

    def loss(log_values: Array) -> tuple[float, Array]:
        """Negative log likelihood and its gradient (Rasmussen and Williams 2006, equation 5.9)."""
        variances = np.exp(2 * log_values)
        matrix = fixed + np.tensordot(variances, stack, 1)
        lower = linalg.cholesky(matrix + JITTER * spread**2 * np.eye(len(y)), lower=True, check_finite=False)
        inverse = linalg.cho_solve((lower, True), np.eye(len(y)), check_finite=False)
        weights = inverse @ y
        value = 0.5 * y @ weights + np.log(np.diag(lower)).sum()
        return float(value), variances * np.tensordot(stack, inverse - np.outer(weights, weights), 2)

    return posterior_mode(names, prior, loss)


def posterior_mode(
    names: Sequence[str], prior: Mapping[str, float], loss: Callable[[Array], tuple[float, Array]]
) -> tuple[dict[str, float], float]:
    """Mode of the hyperparameters' posterior by L-BFGS, and the log posterior density there.

    Args:
        names: those that are estimated.
        prior: medians of all, by name.
        loss: negative log likelihood of the logs of these names, and its gradient.
    """
    centre = np.log([prior[name] for name in names])

    def with_prior(log_values: Array) -> tuple[float, Array]:
        value, slope = loss(log_values)
        deviation = (log_values - centre) / LOG_SD
        return float(value + 0.5 * deviation @ deviation), slope + deviation / LOG_SD

    bounds = [(c - 5 * LOG_SD, c + 5 * LOG_SD) for c in centre]
    optimum = optimize.minimize(
        with_prior, centre, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40, "ftol": 1e-5}
    )
    return {**prior, **dict(zip(names, np.exp(optimum.x).tolist(), strict=True))}, -float(optimum.fun)


class GaussianPosterior:
    """Gaussian-process posterior over the designs of a pool, in every contest and at every rung.

    `mean` and `variance`, [contest, rung, design], are of the expected scores; those at the last rung are the values.
    `cov`, [value, score], is the covariance of the values (contest x design) with the expected scores (contest x rung
    x design), both flattened. `update` takes observations.
    """

    def __init__(self, space: ModelSpace, hyperparameters: Mapping[str, float], centre: float, pool: Index) -> None:
        self.space, self.hyperparameters, self.centre, self.pool = space, hyperparameters, centre, pool
        shape = (space.contests, space.rungs, len(pool))
        contest, rung, position = (axis.ravel() for axis in np.indices(shape))
        self._scores = ObservationArrays.from_columns(contest, pool[position], np.full(len(position), -1), rung)
        self._values = np.flatnonzero(rung == space.rungs - 1)
        self.mean = np.full(shape, centre, dtype=float)
        self.cov = covariance(space, hyperparameters, self._scores.take(self._values), self._scores, noise=False)
        self.variance = _prior_variances(space, hyperparameters)[None, :, None] * np.ones(shape)
        # With L the Cholesky factor of the observations' covariance: L, L^-1 (scores - centre), L^-1 cov(obs, scores).
        self._observed = ObservationArrays([])
        self._cholesky, self._whitened = np.zeros((0, 0)), np.zeros(0)
        self._whitened_cov = np.zeros((0, len(position)))

    @property
    def noise(self) -> float:
        """Variance of a fresh trial's observation around its expected score."""
        return sum(self.hyperparameters[name] ** 2 for name in ("seed", "trial", "observation"))

    def copy(self) -> GaussianPosterior:
        """Copy whose updates leave this posterior as it is."""
        twin = object.__new__(GaussianPosterior)
        twin.__dict__.update(self.__dict__)
        twin.mean, twin.cov, twin.variance = self.mean.copy(), self.cov.copy(), self.variance.copy()
        return twin

    def update(self, observations: Sequence[Observation], scores: Sequence[float] | Array) -> None:
        """Condition on observed scores."""
        self._condition(observations, np.array(scores, dtype=float) - self.centre)

    def expect(self, observations: Sequence[Observation]) -> None:
        """Condition on scores that are still to come, taken as expected: variances shrink, no mean moves."""
        self._condition(observations, None)

    def covariance(self, values: Index, scores: Index) -> Array:
        """Covariance of values with expected scores, [value, score], both by their flat numbers."""
        return np.asarray(self.cov[values][:, scores])

    def covariance_with(self, observations: Sequence[Observation]) -> tuple[CovarianceRows, Array]:
        """Covariance of values with further observations, by the values' numbers, and the variance of these."""
        _, cov, variance = self._project(ObservationArrays(observations))
        return lambda values: cov[:, self._values[values]].T, variance

    def _condition(self, observations: Sequence[Observation], deviations: Array | None) -> None:
        rows = ObservationArrays(observations)
        projection, cov, _ = self._project(rows)
        residual = covariance(self.space, self.hyperparameters, rows, rows) - projection @ projection.T
        jitter = 1e-10 * np.trace(residual) / len(residual) * np.eye(len(residual))
        lower = linalg.cholesky(residual + jitter, lower=True)
        gain = linalg.solve_triangular(lower, cov, lower=True, check_finite=False)
        surprise = np.zeros(len(observations))
        if deviations is not None:
            surprise = linalg.solve_triangular(
                lower, deviations - projection @ self._whitened, lower=True, check_finite=False
            )
        self.mean += (surprise @ gain).reshape(self.mean.shape)
        self.variance -= (gain**2).sum(0).reshape(self.variance.shape)
        self.cov -= gain[:, self._values].T @ gain
        zeros = np.zeros((len(self._whitened), len(observations)))
        self._cholesky = np.block([[self._cholesky, zeros], [projection, lower]])
        self._whitened = np.append(self._whitened, surprise)
        self._whitened_cov = np.vstack([self._whitened_cov, gain])
        self._observed = self._observed.append(rows)

    def _project(self, rows: ObservationArrays) -> tuple[Array, Array, Array]:
        """Further observations given those so far: projection on these (whitened), covariance with scores, variance."""
        prior_cov = covariance(self.space, self.hyperparameters, rows, self._observed)
        projection = linalg.solve_triangular(self._cholesky, prior_cov.T, lower=True, check_finite=False).T
        cov = (
            covariance(self.space, self.hyperparameters, rows, self._scores, noise=False)
            - projection @ self._whitened_cov
        )
        prior = _prior_variances(self.space, self.hyperparameters)[rows.rung] + self.noise
        return projection, cov, np.maximum(prior - (projection**2).sum(1), 1e-12)


def _prior_variances(space: ModelSpace, hyperparameters: Mapping[str, float]) -> Array:
    """Prior variance of an expected score at each rung, [rung]; the same for every design."""
    square = {name: sd**2 for name, sd in hyperparameters.items()}
    each = 1 - 1 / space.kernel.sizes
    options, interactions = each.sum(), (each.sum() ** 2 - (each**2).sum()) / 2
    value = square["contest"] + square["options"] * options + square["interactions"] * interactions + square["design"]
    if space.contests > 1:
        value += (
            square["contest options"] * options
            + square["contest interactions"] * interactions
            + square["contest design"]
        )
    departure = square["offset"] + square["rung options"] * options + square["rung design"] if space.rungs > 1 else 0.0
    return np.asarray(value + space.rung_deviation**2 * departure)
