"""Linear mixed model (REML) under the response surface: posterior draws of coefficients and of designs' deviations.

    score of a trial = options (fixed effects) + pairs of options + deviation of the design      the design's truth
                       + seed + seed x options + training + items                                noise

All but the options are random effects, each with a variance of its own. Seeds are crossed with designs: trials of one
seed share the order of examples and the initial weights, and so a seed may be kind to an option. The variances are not
plugged in but averaged over their posterior (`variance_components.py`): restricted likelihood (REML, Patterson and
Thompson 1971), half-Cauchy priors on the ratios to the noise of a trial, a prior for that noise that is even on the log
scale. There is no mass at "no pairs at all": a few designs cannot tell weak pairs from none.

Items are known better: each trial shows how its score moves with each of them. What they add to the variance of trials
and of designs is a known part of both; their error is a bootstrap over items, one draw for all trials, because all are
measured on the same items. It is not counted again in the variances of training or of designs.

A posterior draw is the solution minus a simulated error: truth and noise are drawn, the model is solved for them, and
what it misses of the drawn truth is its error (conditioning by kriging). Henderson's mixed model equations need only
sums within designs and between them, so that a solution costs the same for 24 trials as for 2,400.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.trials import COMPONENTS, Trials, effect_columns, item_variance
from sde_ray.analysis.variance_components import forward_solve, posterior_mode, sample_components

Array = npt.NDArray[np.float64]
POINTS, DRAWS_PER_POINT = 128, 16
DRAWS = POINTS * DRAWS_PER_POINT
PRIOR_SCALES = {"design": 1.0, "pairs": 1.0, "seed": 0.3, "seed x option": 0.6}  # standard deviation / a trial's noise
PRIOR_FREEDOM = {"design": 1.0, "pairs": 1.0, "seed": 4.0, "seed x option": 4.0}  # of half-t priors; 1: half-Cauchy
# Of log standard deviations, in units of the scores'; of `design` the log of its ratio to the noise of a trial.
BOUNDS = {"noise": (-11.5, 2.0), "design": (-6.0, 6.0), "pairs": (-9.0, 2.0), "seed": (-9.0, 2.0)}
JITTER = 1e-11  # on the diagonal of scaled equations: effects that the trials hardly tell apart
DRAWN = 10_000_000  # simulated scores, draws x trials, that are held at once
ROWS = 64  # draws whose noise is drawn at once
BATCH = 1_000_000  # numbers in a stack of systems that are solved at once


@dataclass(frozen=True)
class MixedModelFit:
    """Posterior draws of the true coefficients and of the tried designs' deviations; one row where noise is unknown.

    `coefficients` [draws, num_free + pairs]; `deviations` [draws, designs]; `deviation_sd` [draws]: of a design that
    was not tried; `noise_sd` [draws]: of one trial about its design's truth. `noise`: what intervals hold, in words.
    """

    coefficients: Array
    deviations: Array
    deviation_sd: Array
    noise_sd: Array
    noise: str


class MixedModel:
    """Mixed model of scores: `log_evidence` compares scales, `fit` gives draws, `unshrunk` those of some pairs."""

    def __init__(self, trials: Trials, scores: Array) -> None:
        self.trials = trials
        self.centre = float(scores.mean())
        self.unit = float(scores.std()) or 1e-9 * (abs(self.centre) or 1.0)
        self.items = item_variance(trials)
        columns, self._component = effect_columns(trials)
        self._names = [name for name in COMPONENTS if self._used(name)]
        self._y = (scores - self.centre) / self.unit
        self._sums = trials.by_design(columns)
        self._statistics = self._cross_products(self._within(columns))

    def _used(self, name: str) -> bool:
        if name in ("noise", "design"):
            return name == "noise" or self.trials.spare > 0
        return bool((self._component == COMPONENTS.index(name)).any())

    def _within(self, columns: Array) -> Array:
        """Columns less their means within designs. Neither is kept: with seeds they are larger than all the rest."""
        return np.asarray(columns - (self._sums / self.trials.counts[:, None])[self.trials.groups])

    def _cross_products(self, within: Array) -> tuple[Array, Array, Array, Array]:
        """Cross products of columns and scores within designs, and of sums by design for each number of trials."""
        sums = np.column_stack([self._sums, self.trials.by_design(self._y)])
        residual = self._y - (sums[:, -1] / self.trials.counts)[self.trials.groups]
        within = np.column_stack([within, residual])
        sizes = np.unique(self.trials.counts)
        between = np.stack([sums[self.trials.counts == n].T @ sums[self.trials.counts == n] / n for n in sizes])
        return within.T @ within, between, sizes, np.array([(self.trials.counts == n).sum() for n in sizes], float)

    # ---- the likelihood --------------------------------------------------------------------------------------------

    def _variances(self, points: Array) -> dict[str, Array]:
        """Variances by component [points], in units of the scores' variance; 0: not in the model.

        The first two of a point are the total of noise and design, and their ratio: the total is known also where one
        trial a design leaves the ratio to the prior, so the posterior has no ridge that bends.
        """
        values = {name: np.zeros(len(points)) for name in COMPONENTS}
        values |= {name: np.exp(2 * points[:, n]) for n, name in enumerate(self._names)}
        if "design" in self._names:
            ratio = values["design"]
            values["noise"], values["design"] = values["noise"] / (1 + ratio), values["noise"] * ratio / (1 + ratio)
        values["total noise"] = values["noise"] + self.items.trial / self.unit**2
        values["total design"] = values["design"] + (self.items.design / self.unit**2 if self.trials.spare else 0.0)
        return values

    def _systems(self, points: Array) -> tuple[Array, Array, Array, dict[str, Array]]:
        """Henderson's equations [points, columns, columns], right sides [points, columns], squares of scores."""
        within, between, sizes, _ = self._statistics
        variances = self._variances(points)
        noise, design = variances["total noise"], variances["total design"]
        mean_weight = 1 / (noise[:, None] + sizes * design[:, None])
        cross = within / noise[:, None, None] + np.einsum("ps,sij->pij", mean_weight, between)
        system = cross[:, :-1, :-1].copy()
        for n, name in enumerate(COMPONENTS):
            columns = np.flatnonzero(self._component == n)
            if len(columns):
                system[:, columns, columns] += (1 / variances[name])[:, None]
        return system, cross[:, :-1, -1], cross[:, -1, -1], variances

    def _log_likelihood(self, points: Array, restricted: bool = True) -> Array:
        """Log likelihood of the scores in their own unit, restricted (REML) or not; [points]."""
        parts = [self._log_likelihoods(points[some], restricted) for some in self._point_slices(len(points))]
        return np.concatenate(parts)

    def _point_slices(self, count: int) -> list[slice]:
        """Points, so many at a time that the stack of their systems is not too large."""
        size = max(1, BATCH // max(1, len(self._component) ** 2))
        return [slice(start, start + size) for start in range(0, count, size)]

    def _log_likelihoods(self, points: Array, restricted: bool) -> Array:
        _, _, sizes, designs = self._statistics
        system, right, squares, variances = self._systems(points)
        size = np.sqrt(np.diagonal(system, axis1=1, axis2=2))
        system = system / size[:, :, None] / size[:, None, :] + JITTER * np.eye(system.shape[1])
        factor = np.linalg.cholesky(system)
        half = forward_solve(factor, right / size)
        logs = 2 * (np.log(np.diagonal(factor, axis1=1, axis2=2)) + np.log(size))
        num_random = int((self._component >= 0).sum())
        determinant = (logs if restricted else logs[:, :num_random]).sum(axis=1)
        noise, design = variances["total noise"], variances["total design"]
        determinant += self.trials.freedom * np.log(noise)
        determinant += np.log(noise[:, None] + sizes * design[:, None]) @ designs
        for n, name in enumerate(COMPONENTS):
            if (self._component == n).any():
                determinant += (self._component == n).sum() * np.log(variances[name])
        return np.asarray(-0.5 * (determinant + np.maximum(squares - (half**2).sum(axis=1), 0.0)))

    def _log_posterior(self, points: Array) -> Array:
        variances = self._variances(points)
        logs = self._log_likelihood(points)
        # Even on the log scale where training is most of the noise, even near 0 where items are most of it.
        logs += 0.5 * np.log(variances["noise"] / variances["total noise"])
        seeds = float((1 / self.trials.counts).mean())
        # Pairs are measured against the noise of a design's mean, its deviation included.
        noise = {"pairs": variances["total noise"] * seeds + variances["total design"]}
        for name in self._names[1:]:
            scale, freedom = PRIOR_SCALES[name], PRIOR_FREEDOM[name]
            ratio = np.sqrt(variances[name] / noise.get(name, variances["total noise"])) / scale
            logs += np.log(ratio) - (freedom + 1) / 2 * np.log1p(ratio**2 / freedom)
        return logs

    @cached_property
    def _bounds(self) -> Array:
        return np.array([BOUNDS.get(name, BOUNDS["seed"]) for name in self._names])

    @cached_property
    def _mode(self) -> Array:
        start = np.log(np.array([{"noise": 0.5, "design": 0.8}.get(name, 0.15) for name in self._names]))
        return posterior_mode(self._log_posterior, self._bounds, start)

    @cached_property
    def log_evidence(self) -> float:
        """Log likelihood of the scores (not restricted, so that scales compare) at the posterior mode of variances."""
        value = float(self._log_likelihood(self._mode[None], restricted=False)[0])
        return value - len(self._y) * float(np.log(self.unit))

    # ---- solutions and draws ---------------------------------------------------------------------------------------

    @cached_property
    def _points(self) -> Array:
        return sample_components(self._log_posterior, self._bounds, self._mode, POINTS)

    def fit(self, seed: int = 0) -> MixedModelFit:
        """Posterior draws, averaged over the variance components.

        Args:
            seed: of the simulated errors.
        """
        noisy = self.trials.estimable and bool(self._noise_seen)
        items = self.trials.estimable and self.trials.jackknife_influence is not None
        noise = " and ".join(name for name, seen in (("seeds", noisy), ("items", items)) if seen)
        if not noise:
            return self._without_noise()
        self._simulate(np.random.default_rng(seed))
        return self.unshrunk((), noise)

    @property
    def _noise_seen(self) -> bool:
        """Do trials of a design differ, or are there designs to spare?"""
        return self.trials.spare > 0 or float(self._statistics[0][-1, -1]) > 1e-20

    def _without_noise(self) -> MixedModelFit:
        """The smallest coefficients that fit the designs' means, where their noise cannot be estimated."""
        means = self.trials.by_design(self._y) / self.trials.counts
        rank, num_pairs = self.trials.basis.shape[1], self.trials.pairs.shape[1]
        reduced = np.linalg.lstsq(self.trials.free @ self.trials.basis, means, rcond=None)[0]
        solution = np.concatenate([np.zeros(len(self._component) - rank), reduced])
        zero = np.zeros(1)
        coefficients = self._expand(solution[None], num_pairs)
        return MixedModelFit(coefficients, np.zeros((1, len(means))), zero, zero, "nothing")

    def _expand(self, solutions: Array, num_pairs: int) -> Array:
        """Coefficients in the order and unit of users [..., num_free + pairs]."""
        rank = self.trials.basis.shape[1]
        free = self.unit * solutions[..., -rank:] @ self.trials.basis.T
        free[..., 0] += self.centre
        return np.concatenate([free, self.unit * solutions[..., :num_pairs]], axis=-1)

    def _simulate(self, random: np.random.Generator) -> None:
        """Draw truth and noise for every point: kept as drawn effects, and as what scores are beyond them."""
        variances = {name: np.repeat(v, DRAWS_PER_POINT) for name, v in self._variances(self._points).items()}
        effects = np.zeros((DRAWS, len(self._component)))
        for n, name in enumerate(COMPONENTS):
            columns = np.flatnonzero(self._component == n)
            effects[:, columns] = np.sqrt(variances[name])[:, None] * random.normal(size=(DRAWS, len(columns)))
        deviations = np.sqrt(variances["design"])[:, None] * random.normal(size=(DRAWS, len(self.trials.free)))
        self._effects, self._deviations, self._drawn = effects, deviations, variances
        all_columns, _ = effect_columns(self.trials)
        within = self._within(all_columns)
        parts = [self._rest(random, draws, all_columns, within) for draws in self._draw_slices()]
        self._sums_of_rest, self._right = (np.concatenate(both) for both in zip(*parts, strict=True))

    def _draw_slices(self) -> list[slice]:
        """The draws, so many at a time that their scores of all trials are not too large."""
        size = max(1, DRAWN // len(self.trials.groups))
        return [slice(start, start + size) for start in range(0, DRAWS, size)]

    def _rest(self, random: np.random.Generator, draws: slice, columns: Array, within: Array) -> tuple[Array, Array]:
        """What scores are beyond those drawn: sums by design [draws, designs], right sides [draws, columns]."""
        drawn = self._effects[draws] @ columns.T
        for some in _row_slices(drawn):
            drawn[some] += self._deviations[draws][some][:, self.trials.groups]
        _add_noise(random, drawn, self._drawn["noise"][draws])
        if self.trials.jackknife_influence is not None:
            items = self.trials.jackknife_influence.shape[1]
            weights = random.multinomial(items, np.full(items, 1 / items), len(drawn)) - 1.0
            drawn += weights @ (self.trials.jackknife_influence.T / self.unit)
        return self._sums_and_right(np.subtract(self._y, drawn, out=drawn), draws, within)

    def _sums_and_right(self, scores: Array, draws: slice, within: Array) -> tuple[Array, Array]:
        """Sums by design [draws, designs] and right sides of Henderson's equations [draws, columns] of drawn scores."""
        noise, design = self._drawn["total noise"][draws], self._drawn["total design"][draws]
        sums = self.trials.by_design(scores.T).T
        weighted = sums / (self.trials.counts * (noise[:, None] + self.trials.counts * design[:, None]))
        return sums, (scores @ within) / noise[:, None] + weighted @ self._sums

    def _solve(self, right: Array, exact: bool, pairs: Sequence[int] = ()) -> Array:
        """Solutions of the equations of every point [points, draws of a point, columns], some points at a time.

        Args:
            right: right sides of the draws [draws, columns].
            exact: solve for the scores themselves, too; that solution comes after those of a point's draws.
            pairs: indices of pair columns that are fixed effects here.
        """
        grouped, columns = right.reshape(POINTS, DRAWS_PER_POINT, -1), np.asarray(pairs, dtype=int)
        parts = []
        for some in self._point_slices(POINTS):
            system, own, _, variances = self._systems(self._points[some])
            if len(columns):
                system[:, columns, columns] -= 1 / variances["pairs"][:, None]
            sides = np.concatenate([grouped[some], own[:, None]], axis=1) if exact else grouped[some]
            parts.append(np.linalg.solve(system, sides.transpose(0, 2, 1)).transpose(0, 2, 1))
        return np.concatenate(parts)

    def unshrunk(self, pairs: Sequence[int], noise: str = "") -> MixedModelFit:
        """The draws with some pairs as fixed effects: not drawn towards 0, but as the trials have them.

        Args:
            pairs: indices of pair columns; none: the fit itself.
            noise: what the draws hold, in words.
        """
        solved = self._solve(self._right, exact=True, pairs=pairs)
        missed = solved[:, :-1].reshape(DRAWS, -1)
        variances = self._drawn
        shrinkage = variances["design"][:, None] / (
            variances["total noise"][:, None] + self.trials.counts * variances["total design"][:, None]
        )
        deviations = self._deviations + shrinkage * (self._sums_of_rest - missed @ self._sums.T)
        effects = self._effects + missed
        # The mean of the draws is set to that of the solutions, which is known without simulation.
        rest = self.trials.by_design(self._y) - solved[:, -1] @ self._sums.T
        effects += solved[:, -1].mean(axis=0) - effects.mean(axis=0)
        deviations += (shrinkage[::DRAWS_PER_POINT] * rest).mean(axis=0) - deviations.mean(axis=0)
        options = (self.trials.free[:, 1:] ** 2).sum(axis=1).mean()
        noise_variance = variances["total noise"] + variances["seed"] + options * variances["seed x option"]
        return MixedModelFit(
            self._expand(effects, self.trials.pairs.shape[1]),
            self.unit * deviations,
            self.unit * np.sqrt(variances["design"]),
            self.unit * np.sqrt(noise_variance),
            noise,
        )

    def refit(self, posterior: MixedModelFit, seed: int = 0) -> tuple[Array, Array]:
        """Parametric bootstrap: what scores of each draw's truth, with noise drawn anew, would be fitted to.

        Returns:
            Coefficients [draws, num_free + pairs] and deviations [draws, designs], one posterior mean a draw.
        """
        random, variances, trials = np.random.default_rng([seed, 1]), self._drawn, self.trials
        truth = posterior.coefficients @ np.concatenate([trials.free, trials.pairs], axis=1).T - self.centre
        values = (truth + posterior.deviations) / self.unit
        columns, _ = effect_columns(trials)
        within = self._within(columns)
        parts = [self._refitted(random, values, draws, columns, within) for draws in self._draw_slices()]
        sums, right = (np.concatenate(both) for both in zip(*parts, strict=True))
        noise, design = variances["total noise"], variances["total design"]
        solved = self._solve(right, exact=False).reshape(DRAWS, -1)
        shrinkage = variances["design"][:, None] / (noise[:, None] + trials.counts * design[:, None])
        deviations = self.unit * shrinkage * (sums - solved @ self._sums.T)
        return self._expand(solved, trials.pairs.shape[1]), deviations

    def _refitted(
        self, random: np.random.Generator, values: Array, draws: slice, columns: Array, within: Array
    ) -> tuple[Array, Array]:
        """New scores of designs that have these values [draws, designs]: their sums and right sides."""
        variances, scores = self._drawn, values[draws][:, self.trials.groups]
        for name in ("seed", "seed x option"):
            own = np.flatnonzero(self._component == COMPONENTS.index(name))
            luck = np.sqrt(variances[name][draws])[:, None] * random.normal(size=(len(scores), len(own)))
            scores += luck @ columns[:, own].T
        _add_noise(random, scores, variances["total noise"][draws])
        return self._sums_and_right(scores, draws, within)


def _row_slices(scores: Array) -> list[slice]:
    """A few draws at a time: several arrays of all draws and trials would be too large."""
    return [slice(start, start + ROWS) for start in range(0, len(scores), ROWS)]


def _add_noise(random: np.random.Generator, scores: Array, variance: Array) -> None:
    """Add normal noise of this variance [draws] to scores [draws, trials]."""
    sd = np.sqrt(variance)[:, None]
    for some in _row_slices(scores):
        scores[some] += sd[some] * random.normal(size=scores[some].shape)
