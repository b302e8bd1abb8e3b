"""What the scores so far say of every design: a Gaussian belief, updated report by report.

    score of a report = contest + options + pairs + design      the design's value: what is searched for
                      + rung offset + rung x options + rung x design      how a lower rung departs from the last
                      + seed + trial + report                   noise; the reports of one trial share its part

Every term is normal with a scale of its own. `fit_scales` estimates the scales from the reports: the mode of the
marginal likelihood with wide log-normal priors (type II maximum likelihood, Rasmussen and Williams 2006, chapter 5).
Several contests (tasks, models, training sizes) share the effects and have deviations of their own.
`GaussianPosterior` holds the posterior of the value and of the expected score at each rung; a further report is a
rank-1 update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from sde_ray.search.kernel import Array, DesignKernel, Index

WIDE = 10.0  # of the scores' spread: prior scale of a contest's mean
OFFSET = 3.0  # the same for the mean departure of a rung
SURE = 1.0  # standard deviation of the priors on log scales: a factor of e either way

# Prior medians of the scales, in units of the scores' spread.
MEDIANS = {
    "options": 0.3,
    "pairs": 0.1,
    "design": 0.05,
    "own options": 0.1,
    "own pairs": 0.05,
    "own design": 0.03,
    "rung options": 0.05,
    "rung design": 0.1,
    "seed": 0.05,
    "trial": 0.2,
    "report": 0.1,
}


@dataclass(frozen=True)
class Observation:
    """A score seen: number of contest and design, seed, and rung as its number from the first."""

    contest: int
    design: int
    seed: int
    rung: int


@dataclass(frozen=True)
class ModelSpace:
    """What reports are about: the designs, the number of contests, and the rungs as shares of the full training."""

    likeness: DesignKernel
    contests: int
    shares: tuple[float, ...]

    @property
    def rungs(self) -> int:
        return len(self.shares)

    @property
    def depart(self) -> Array:
        """How far each rung may depart from the full training, as the error of a mean over a share of samples would."""
        return np.sqrt(1 / np.array(self.shares) - 1)

    def terms(self) -> list[str]:
        """The names of the scales, those apart that this search cannot have."""
        names = ["options", "pairs", "design"]
        names += ["own options", "own pairs", "own design"] if self.contests > 1 else []
        if self.rungs > 1:
            names += ["rung options", "rung design"]
        return [*names, "seed", "trial", "report"]


class ObservationArrays:
    """Reports as columns of numbers."""

    def __init__(self, reports: Sequence[Observation]) -> None:
        rows = np.array([(r.contest, r.design, r.seed, r.rung) for r in reports], dtype=np.intp).reshape(-1, 4)
        self.contest, self.design, self.seed, self.rung = rows.T

    @classmethod
    def of(cls, *columns: Index) -> ObservationArrays:
        made = cls([])
        made.contest, made.design, made.seed, made.rung = columns
        return made

    def take(self, places: Index) -> ObservationArrays:
        return ObservationArrays.of(*(column[places] for column in (self.contest, self.design, self.seed, self.rung)))

    def plus(self, others: ObservationArrays) -> ObservationArrays:
        return ObservationArrays.of(
            *(
                np.append(own, other)
                for own, other in (
                    (self.contest, others.contest),
                    (self.design, others.design),
                    (self.seed, others.seed),
                    (self.rung, others.rung),
                )
            )
        )


def components(
    frame: ModelSpace, one: ObservationArrays, other: ObservationArrays, noise: bool = True
) -> dict[str, Array]:
    """The covariance of reports, term by term, for scales of 1. Without `noise`: of expected scores."""
    options, pairs = frame.likeness.both(one.design, other.design)
    design = _same(one.design, other.design)
    found = {"contest": np.ones_like(options), "options": options, "pairs": pairs, "design": design}
    contest: Array | float = 1.0
    if frame.contests > 1:
        contest = _same(one.contest, other.contest)
        found |= {"contest": contest, "own options": options * contest, "own pairs": pairs * contest}
        found["own design"] = design * contest
    rung: Array | float = 1.0
    if frame.rungs > 1:
        rung = _same(one.rung, other.rung)
        lower = rung * contest * frame.depart[one.rung][:, None] ** 2
        found |= {"offset": lower, "rung options": lower * options, "rung design": lower * design}
    if noise:
        trial = _same(one.seed, other.seed) * contest
        found["seed"], trial = trial, trial * design
        found |= {"trial": trial, "report": trial * rung}
    return found


def _same(one: Index, other: Index) -> Array:
    return np.asarray(one[:, None] == other[None, :], dtype=float)


def covariance(
    frame: ModelSpace, scales: Mapping[str, float], one: ObservationArrays, other: ObservationArrays, noise: bool = True
) -> Array:
    """The covariance of reports under these scales."""
    terms = components(frame, one, other, noise)
    return np.asarray(sum(scales[name] ** 2 * term for name, term in terms.items()))


def first_scales(frame: ModelSpace, spread: float) -> dict[str, float]:
    """The prior medians, for scores of this spread."""
    own = {name: MEDIANS[name] * spread for name in frame.terms()}
    return {"contest": WIDE * spread, "offset": OFFSET * spread, **own}


def fit_scales(
    frame: ModelSpace, reports: Sequence[Observation], scores: Array, start: Mapping[str, float] | None = None
) -> dict[str, float]:
    """The scales at their posterior mode; `start` is an earlier answer, for speed."""
    spread = max(float(scores.std()), 1e-6)
    prior = first_scales(frame, spread)
    names = frame.terms()
    cells = ObservationArrays(reports)
    terms = components(frame, cells, cells)
    fixed = np.asarray(sum(prior[name] ** 2 * terms[name] for name in terms if name not in names))
    stack = np.stack([terms[name] for name in names])
    centre = np.log([prior[name] for name in names])
    y = scores - scores.mean()

    def loss(log_scales: Array) -> tuple[float, Array]:
        variances = np.exp(2 * log_scales)
        matrix = fixed + np.tensordot(variances, stack, 1)
        lower = linalg.cholesky(matrix + 1e-9 * spread**2 * np.eye(len(y)), lower=True, check_finite=False)
        inverse = linalg.cho_solve((lower, True), np.eye(len(y)), check_finite=False)
        weights = inverse @ y
        away = (log_scales - centre) / SURE
        value = 0.5 * y @ weights + np.log(np.diag(lower)).sum() + 0.5 * away @ away
        slope = variances * np.tensordot(stack, inverse - np.outer(weights, weights), 2)
        return float(value), slope + away / SURE

    at = centre if start is None else np.log([start[name] for name in names])
    bounds = [(c - 5 * SURE, c + 5 * SURE) for c in centre]
    found = optimize.minimize(
        loss, at, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40, "ftol": 1e-5}
    )
    return {**prior, **dict(zip(names, np.exp(found.x).tolist(), strict=True))}


class GaussianPosterior:
    """The posterior over the designs of a pool, in every contest and at every rung; `add` takes a report.

    `mean[contest, rung, design]` are expected scores; those at the last rung are the values. `shared[v, e]` is the
    covariance of value `v` (contest x design) with expected score `e` (contest x rung x design), both flattened.
    """

    def __init__(self, frame: ModelSpace, scales: Mapping[str, float], centre: float, pool: Index) -> None:
        self.frame, self.scales, self.centre, self.pool = frame, scales, centre, pool
        shape = (frame.contests, frame.rungs, len(pool))
        contest, rung, place = (axis.ravel() for axis in np.indices(shape))
        self._cells = ObservationArrays.of(contest, pool[place], np.full(len(place), -1), rung)
        self._values = np.flatnonzero(rung == frame.rungs - 1)
        self.mean = np.full(shape, centre, dtype=float)
        self.shared = covariance(frame, scales, self._cells.take(self._values), self._cells, noise=False)
        self.variance = _prior_variances(frame, scales)[None, :, None] * np.ones(shape)
        self._seen = ObservationArrays([])
        self._lower, self._solved = np.zeros((0, 0)), np.zeros(0)
        self._across = np.zeros((0, len(place)))

    @property
    def noise(self) -> float:
        """Variance of a fresh trial's report around its expected score."""
        return sum(self.scales[name] ** 2 for name in ("seed", "trial", "report"))

    def copy(self) -> GaussianPosterior:
        """A belief that can be told more without this one learning of it."""
        twin = object.__new__(GaussianPosterior)
        twin.__dict__.update(self.__dict__)
        twin.mean, twin.shared, twin.variance = self.mean.copy(), self.shared.copy(), self.variance.copy()
        return twin

    def add(self, reports: Sequence[Observation], scores: Sequence[float]) -> None:
        """Learn scores."""
        self._take(reports, np.array(scores, dtype=float) - self.centre)

    def expect(self, reports: Sequence[Observation]) -> None:
        """Scores that are still to come, taken to be as expected: they add certainty and move no mean."""
        self._take(reports, None)

    def _take(self, reports: Sequence[Observation], away: Array | None) -> None:
        new = ObservationArrays(reports)
        seen, across, _ = self._against(new)
        own = covariance(self.frame, self.scales, new, new) - seen @ seen.T
        lower = linalg.cholesky(own + 1e-10 * np.trace(own) / len(own) * np.eye(len(own)), lower=True)
        gain = linalg.solve_triangular(lower, across, lower=True, check_finite=False)
        surprise = np.zeros(len(reports))
        if away is not None:
            surprise = linalg.solve_triangular(lower, away - seen @ self._solved, lower=True, check_finite=False)
        self.mean += (surprise @ gain).reshape(self.mean.shape)
        self.variance -= (gain**2).sum(0).reshape(self.variance.shape)
        self.shared -= gain[:, self._values].T @ gain
        self._lower = np.block([[self._lower, np.zeros((len(self._solved), len(reports)))], [seen, lower]])
        self._solved = np.append(self._solved, surprise)
        self._across = np.vstack([self._across, gain])
        self._seen = self._seen.plus(new)

    def reach(self, reports: Sequence[Observation]) -> tuple[Array, Array]:
        """For reports of begun trials: their covariance with all values, and the variance of each."""
        _, across, rest = self._against(ObservationArrays(reports))
        return across[:, self._values].T, rest

    def _against(self, new: ObservationArrays) -> tuple[Array, Array, Array]:
        """New reports against those seen (whitened), their covariance with all cells, and their variance."""
        known = covariance(self.frame, self.scales, new, self._seen)
        seen = linalg.solve_triangular(self._lower, known.T, lower=True, check_finite=False).T
        across = covariance(self.frame, self.scales, new, self._cells, noise=False) - seen @ self._across
        prior = _prior_variances(self.frame, self.scales)[new.rung] + self.noise
        return seen, across, np.maximum(prior - (seen**2).sum(1), 1e-12)


def _prior_variances(frame: ModelSpace, scales: Mapping[str, float]) -> Array:
    """Of an expected score at each rung; the same for every design."""
    square = {name: scale**2 for name, scale in scales.items()}
    each = 1 - 1 / frame.likeness.sizes
    options, pairs = each.sum(), (each.sum() ** 2 - (each**2).sum()) / 2
    value = square["contest"] + square["options"] * options + square["pairs"] * pairs + square["design"]
    if frame.contests > 1:
        value += square["own options"] * options + square["own pairs"] * pairs + square["own design"]
    departure = square["offset"] + square["rung options"] * options + square["rung design"] if frame.rungs > 1 else 0.0
    return np.asarray(value + frame.depart**2 * departure)
