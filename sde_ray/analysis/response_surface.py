"""Response surface behind effects and strategy: score = mean + options + pairs of options + deviation of the design.

In: rows of (design, score), with the seed of each trial, and where predictions were kept the jackknife influence of
each item on each score. Out: a `SurfaceFit` that predicts designs and gives 95% confidence intervals for contrasts
between them, all in units of the metric.

    fitted = fit_response_surface(designs, scores, seeds=seeds, bounds=(-1.0, 1.0))
    fitted.predict(design), fitted.difference(design, other), fitted.average("format", "lines")

Options enter as orthonormal centred indicators (main effects) with flat priors, pairs as their products with a common
variance, and what a design has beyond both as a deviation of its own (random effects). So a fraction of the designs
still gives unbiased main effects, a design that was tried is predicted from its own trials and from its like (BLUP),
and an interval of one that was not holds a deviation that nobody has seen.

A bounded metric may be fitted on a logit scale (`search/scale.py`): the scale with the higher marginal likelihood is
taken. Every number is then the mean over posterior draws of what the draw says in units of the metric: the expected
score of a design over the noise of training, and means of those over all designs of the coding (`average`). Where all
designs were tried, such a mean has no deviation left that is not known (finite-population correction).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from scipy import linalg

from sde_ray.analysis.design_coding import DesignCoding, cells, contexts, make_coding
from sde_ray.analysis.estimate import Estimate, within
from sde_ray.analysis.mixed_model import MixedModel, MixedModelFit
from sde_ray.analysis.trials import Trials
from sde_ray.search.scale import IDENTITY, Scale, candidate_scales
from sde_ray.search.threads import single_threaded
from sde_ray.types import Design

Array = npt.NDArray[np.float64]
BATCH = 256  # designs that are predicted at once
_quadrature = lru_cache(np.polynomial.hermite_e.hermegauss)  # nodes and weights for a standard normal variable


@dataclass(frozen=True)
class Contrast:
    """A quantity in units of the metric, as posterior draws [draws]; `known`: may it have an interval?

    `range`: the lowest and the highest value that it can have, by the bounds of the metric.
    """

    draws: Array
    known: bool
    range: tuple[float, float] = (-math.inf, math.inf)

    def __sub__(self, other: Contrast) -> Contrast:
        low, high = self.range[0] - other.range[1], self.range[1] - other.range[0]
        return Contrast(self.draws - other.draws, self.known and other.known, (low, high))

    @property
    def value(self) -> float:
        """The posterior mean."""
        return float(self.draws.mean())

    @property
    def estimate(self) -> Estimate:
        """The posterior mean with its pointwise 95% interval; without one where it is not estimable."""
        if not self.known:
            return within(Estimate(self.value), *self.range)
        low, high = np.quantile(self.draws, (0.025, 0.975))
        return within(Estimate(self.value, float(low), float(high)), *self.range)


@dataclass(frozen=True)
class SurfaceFit:
    """A fitted response surface.

    `tried`: the designs of the trials. `scale`: what the surface is additive on; `scale_reason` says why. `noise` says
    in words what the confidence intervals cover. `pairs`: interactions were fitted. `null_space`: the combinations of
    main effects that the designs leave confounded.
    """

    coding: DesignCoding
    tried: tuple[Design, ...]
    scale: Scale
    scale_reason: str
    bounds: tuple[float, float] | None
    model: MixedModel
    posterior: MixedModelFit
    noise: str
    pairs: bool
    null_space: Array
    _predicted: dict[Design, Array] = field(default_factory=dict, compare=False, repr=False)
    _normal: dict[Design, Array] = field(default_factory=dict, compare=False, repr=False)
    _means: dict[str, dict[str, Array]] = field(default_factory=dict, compare=False, repr=False)

    @property
    def coefficients(self) -> Array:
        """Posterior mean of the coefficients on the scale of the surface [columns]."""
        return np.asarray(self.posterior.coefficients.mean(axis=0))

    @property
    def draws(self) -> Array | None:
        """Posterior draws of the coefficients [draws, columns]; None where the noise of training is not known."""
        return self.posterior.coefficients if self.posterior.noise != "nothing" else None

    def covers(self, design: Design) -> bool:
        """Were all options of this design tried?"""
        return self.coding.covers(design)

    def separable(self, row: Array) -> bool:
        """Is this contrast estimable, or are its options confounded (aliased) with others?"""
        return bool(np.all(np.abs(self.null_space @ row[: self.coding.num_free]) < 1e-6))

    # ---- designs ---------------------------------------------------------------------------------------------------

    def predict(self, design: Design) -> float:
        """The expected score of a design whose options were all tried, within the bounds of the metric."""
        value = float(self.predicted_draws([design])[0].mean())
        return value if self.bounds is None else min(max(value, self.bounds[0]), self.bounds[1])

    def prediction(self, design: Design) -> Estimate:
        """The expected score of a design with its 95% interval."""
        return self._level(self.predicted_draws([design])[0], self.coding.row(design)).estimate

    def difference(self, better: Design, worse: Design) -> Estimate:
        """The expected difference between two designs with its 95% confidence interval."""
        return self.contrast(better, worse).estimate

    def observed_difference(self, better: Design, worse: Design) -> Estimate:
        """The difference that one new trial of each design will show, with its 95% prediction interval.

        It holds the noise of these two trials, which no further seed of others makes smaller.
        """
        random = np.random.default_rng(zlib.crc32(f"{better.slug}|{worse.slug}".encode()))
        level = self.posterior.coefficients @ self.coding.rows([better, worse]).T
        level += self._deviations(self.posterior, [better, worse])
        scores = self.scale.inverse(level + self.posterior.noise_sd[:, None] * random.normal(size=level.shape))
        row = self.coding.row(better) - self.coding.row(worse)
        return self._contrast(scores[:, 0] - scores[:, 1], row).estimate

    def contrast(self, better: Design, worse: Design) -> Contrast:
        """The difference between two designs."""
        first, second = self.predicted_draws([better, worse])
        return self._contrast(first - second, self.coding.row(better) - self.coding.row(worse))

    @property
    def width(self) -> float:
        """The largest difference of two scores that the bounds of the metric allow."""
        return math.inf if self.bounds is None else self.bounds[1] - self.bounds[0]

    def _contrast(self, draws: Array, row: Array) -> Contrast:
        """A difference of two scores."""
        return Contrast(draws, self.draws is not None and self.separable(row), (-self.width, self.width))

    def _level(self, draws: Array, row: Array) -> Contrast:
        """A score."""
        bounds = self.bounds or (-math.inf, math.inf)
        return Contrast(draws, self.draws is not None and self.separable(row), bounds)

    def predicted_draws(self, designs: Sequence[Design]) -> list[Array]:
        """Posterior draws of the expected scores of designs, each [draws]; kept, as the same are asked for again."""
        missing = [design for design in dict.fromkeys(designs) if design not in self._predicted]
        for start in range(0, len(missing), BATCH):
            some = missing[start : start + BATCH]
            self._predicted.update(zip(some, self._scores(self.posterior, some, 5).T.copy(), strict=True))
        return [self._predicted[design] for design in designs]

    def _scores(self, posterior: MixedModelFit, designs: Sequence[Design], nodes: int) -> Array:
        """Expected scores over the noise of training, in units of the metric [draws, designs], by quadrature."""
        for design in designs:
            assert self.covers(design), f"{design.slug} has an option that no trial used"
        level = posterior.coefficients @ self.coding.rows(designs).T + self._deviations(posterior, designs)
        return self._expected(level, posterior.noise_sd[:, None], nodes)

    def _expected(self, level: Array, noise: Array, nodes: int) -> Array:
        """Means, in units of the metric, of what is normal on the scale of the surface."""
        if self.scale is IDENTITY:
            return np.asarray(level)
        at, weights = _quadrature(nodes)
        scores = sum(w * self.scale.inverse(level + x * noise) for x, w in zip(at, weights, strict=True))
        return np.asarray(scores / weights.sum())

    def _deviations(self, posterior: MixedModelFit, designs: Sequence[Design]) -> Array:
        """The deviations of designs [draws, designs]: as estimated of those tried, as drawn anew of the others."""
        indices = [self._index.get(design.slug) for design in designs]
        columns = [
            posterior.deviation_sd * self._fresh(design) if index is None else posterior.deviations[:, index]
            for design, index in zip(designs, indices, strict=True)
        ]
        return np.stack(columns, axis=1)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {design.slug: n for n, design in enumerate(self.tried)}

    def _fresh(self, design: Design) -> Array:
        """Standard normal draws that are a design's own: the same wherever it occurs."""
        if design not in self._normal:
            random = np.random.default_rng(zlib.crc32(design.slug.encode()))
            normal = random.normal(size=len(self.posterior.deviation_sd))
            self._normal[design] = (normal - normal.mean()) / (normal.std() or 1.0)
        return self._normal[design]

    # ---- means over designs ----------------------------------------------------------------------------------------

    @cached_property
    def _contexts(self) -> list[Design]:
        return contexts(self.coding)

    def average(self, axis: str, option: str) -> Contrast:
        """The mean expected score of the designs with an option, over the options of the other axes."""
        return self._level(self._averages(axis)[option], self.coding.option_row(axis, option))

    def effect(self, axis: str, option: str, reference: str) -> Contrast:
        """The main effect of an option against another, averaged over the designs of the other axes."""
        row = self.coding.option_row(axis, option) - self.coding.option_row(axis, reference)
        return self._contrast(self._averages(axis)[option] - self._averages(axis)[reference], row)

    def _averages(self, axis: str) -> dict[str, Array]:
        """Mean expected scores by the options of an axis, each [draws]."""
        if axis not in self._means:
            members = cells(self.coding, self._contexts, [axis])
            self._means[axis] = {
                option: np.mean(self.predicted_draws(some), axis=0) for (option,), some in members.items()
            }
        return self._means[axis]

    @single_threaded
    def interactions(self, first: str, second: str) -> dict[tuple[str, ...], Array]:
        """Mean expected scores by the options of two axes, each [draws], from a fit that does not shrink their pairs.

        The pairs of these two axes are fixed effects here: what is reported of them is what the trials say, not what
        is left of it after shrinkage towards 0. Predictions keep the shrunken fit, and so do pairs that the designs
        cannot tell from options.
        """
        posterior = self.posterior
        if self.draws is not None and self.pairs_estimable(first, second):
            posterior = self.model.unshrunk(self.coding.pair_columns(first, second), self.noise)
        means = {}
        for options, designs in cells(self.coding, self._contexts, [first, second]).items():
            parts = [self._scores(posterior, designs[n : n + BATCH], 3) for n in range(0, len(designs), BATCH)]
            means[options] = np.concatenate(parts, axis=1).mean(axis=1)
        return means

    @single_threaded
    def optimism(self, designs: Sequence[Design]) -> float:
        """How much the highest prediction of these designs is too high because it was selected (parametric bootstrap).

        Scores are drawn from each posterior draw of the truth and fitted again, and the best predicted design of that
        fit is compared with its truth. 0 where the noise of training is not known.
        """
        if self.draws is None or not self.pairs:
            return 0.0
        coefficients, deviations = self.model.refit(self.posterior)
        highest, of_highest = np.full(len(coefficients), -np.inf), np.zeros(len(coefficients))
        for start in range(0, len(designs), BATCH):
            some = designs[start : start + BATCH]
            predicted = self._refitted(coefficients, deviations, some)
            best = predicted.argmax(axis=1)
            draws = np.arange(len(best))
            better = predicted[draws, best] > highest
            truth = np.stack(self.predicted_draws(some), axis=1)[draws, best]
            highest, of_highest = np.where(better, predicted[draws, best], highest), np.where(better, truth, of_highest)
        return float((highest - of_highest).mean())

    def _refitted(self, coefficients: Array, deviations: Array, designs: Sequence[Design]) -> Array:
        """What fits of drawn scores predict [draws, designs], given their coefficients and deviations."""
        rows, indices = self.coding.rows(designs), [self._index.get(design.slug) for design in designs]
        level = coefficients @ rows.T
        for column, index in enumerate(indices):
            level[:, column] += 0.0 if index is None else deviations[:, index]
        spread = (self.posterior.coefficients @ rows.T + self._deviations(self.posterior, designs)).std(axis=0)
        return self._expected(level, np.hypot(self.posterior.noise_sd[:, None], spread), 3)

    def pairs_estimable(self, first: str, second: str) -> bool:
        """Do the designs tell all pairs of options of two axes from the options alone?"""
        start = self.coding.num_free
        columns = [start + n for n in self.coding.pair_columns(first, second)]
        rows = self.coding.rows(self.tried)
        free = int(np.linalg.matrix_rank(rows[:, :start]))
        return int(np.linalg.matrix_rank(rows[:, [*range(start), *columns]])) == free + len(columns)


def simultaneous_intervals(contrasts: Sequence[Contrast]) -> list[Estimate]:
    """Simultaneous 95% confidence intervals (max-t): they hold for all contrasts, so the largest may be picked.

    Each is as many of its own standard errors wide as the largest of all errors is, 95 times in 100.

    Args:
        contrasts: the family, of one fit.

    Returns:
        The estimates in the order of the contrasts; those that are not estimable have no interval.
    """
    estimates = [within(Estimate(contrast.value), *contrast.range) for contrast in contrasts]
    estimable = [n for n, contrast in enumerate(contrasts) if contrast.known]
    if not estimable:
        return estimates
    values = np.stack([contrasts[n].draws for n in estimable], axis=1)
    error = values - values.mean(axis=0)
    deviation = error.std(axis=0)
    uncertain = deviation > 1e-12
    largest = np.abs(error[:, uncertain] / deviation[uncertain]).max(axis=1) if uncertain.any() else np.zeros(1)
    critical = float(np.quantile(largest, 0.95))
    for column, n in enumerate(estimable):
        value, half_width = contrasts[n].value, critical * float(deviation[column])
        estimates[n] = within(Estimate(value, value - half_width, value + half_width), *contrasts[n].range)
    return estimates


@single_threaded
def fit_response_surface(
    designs: Sequence[Design],
    scores: Sequence[float],
    orders: Mapping[str, Sequence[str]] | None = None,
    jackknife_influence: Array | None = None,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    bounds: tuple[float, float] | None = None,
) -> SurfaceFit:
    """Fit the response surface of trials.

    Args:
        designs: the design of each trial.
        scores: the score of each trial, in units of the metric.
        orders: the options of each axis in their order; others follow alphabetically.
        jackknife_influence: change of a trial's score per unit of weight of an item [trials, items]; None where trials
            were not scored on the same items: then intervals hold the noise of training alone.
        seed: of the posterior draws.
        seeds: the seed of each trial: trials of one seed may have luck in common, also luck of an option. None: each
            trial has its own.
        bounds: the lowest and highest value of the metric, None where it has none.
    """
    coding = make_coding(designs, orders or {})
    unique = tuple(dict.fromkeys(designs))
    index = {design: n for n, design in enumerate(unique)}
    rows = coding.rows(unique)
    free = rows[:, : coding.num_free]
    rank = int(np.linalg.matrix_rank(free))
    pairs = rows.shape[1] > coding.num_free and len(unique) > rank
    groups = np.array([index[design] for design in designs])
    values = np.asarray(scores, dtype=float)
    crossed = _crossed(seeds)

    def model_on(scale: Scale) -> MixedModel:
        influence = None if jackknife_influence is None else jackknife_influence * scale.slope(values)[:, None]
        columns = rows[:, coding.num_free :] if pairs else rows[:, :0]
        return MixedModel(Trials(groups, free, columns, crossed, influence), scale.forward(values))

    scale, model, reason = _choose_scale(values, bounds, model_on, len(unique) > rank)
    posterior = model.fit(seed)
    no_pairs = np.zeros((len(posterior.coefficients), rows.shape[1] - posterior.coefficients.shape[1]))
    if not pairs:
        posterior = _with_columns(posterior, no_pairs)
    null_space = linalg.null_space(free) if rank < coding.num_free else np.zeros((coding.num_free, 0))
    return SurfaceFit(
        coding, unique, scale, reason, bounds, model, posterior, posterior.noise, pairs, np.asarray(null_space.T)
    )


def _with_columns(posterior: MixedModelFit, columns: Array) -> MixedModelFit:
    coefficients = np.hstack([posterior.coefficients, columns])
    return MixedModelFit(
        coefficients, posterior.deviations, posterior.deviation_sd, posterior.noise_sd, posterior.noise
    )


def _crossed(seeds: Sequence[int] | None) -> npt.NDArray[np.intp] | None:
    """Seeds as indices; None where there is one, or each trial has its own: then what a seed does cannot be told."""
    if seeds is None or not 1 < len(set(seeds)) < len(seeds):
        return None
    order = {one: n for n, one in enumerate(dict.fromkeys(seeds))}
    return np.array([order[one] for one in seeds])


def _choose_scale(
    scores: Array, bounds: tuple[float, float] | None, model_on: Callable[[Scale], MixedModel], spare: bool
) -> tuple[Scale, MixedModel, str]:
    """The scale with the higher marginal likelihood, the model on it, and why in words.

    Without a design to spare only differences between the designs tried are known, which no scale changes.
    """
    candidates = candidate_scales(bounds)
    if bounds is not None and not (spare and bounds[0] <= scores.min() and scores.max() <= bounds[1]):
        candidates = (IDENTITY,)
    if len(candidates) == 1 or np.ptp(scores) == 0:
        return IDENTITY, model_on(IDENTITY), ""
    models = {scale: model_on(scale) for scale in candidates}
    evidence = {scale: model.log_evidence + scale.log_jacobian(scores) for scale, model in models.items()}
    scale = max(candidates, key=lambda one: evidence[one])
    other = min(candidates, key=lambda one: evidence[one])
    low, high = bounds or (0.0, 1.0)
    names = {"identity": "the scores as they are", "logit": f"a logit scale between {low:g} and {high:g}"}
    reason = (
        f"Fitted on {names[scale.name]} (log likelihood {evidence[scale] - evidence[other]:.1f} higher than on "
        f"{names[other.name]}); all numbers are in units of the metric."
    )
    return scale, models[scale], reason
