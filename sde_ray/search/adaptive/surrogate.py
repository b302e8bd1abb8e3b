"""Surrogate model of the adaptive search: the Gaussian-process posterior given all scores so far, kept up to date.

    surrogate = Surrogate(space, pool)
    surrogate.observe(Observation(contest, design, seed, rung), score)
    surrogate.posterior()                      a `GaussianPosterior`; None before the first score
    surrogate.expect(running)                  the same, with the scores of running trials taken as expected

Scores are modelled on one of several scales (`sde_ray/search/scale.py`), the one with the highest marginal likelihood.
It is chosen, and the hyperparameters are estimated, anew whenever the scores have become a quarter more; in between, a
score is an update. So the posterior depends on the scores in their order alone: a resumed search has the same.
Beyond `MAX_DENSE` scores the posterior is computed in weight space (`weight_space.py`), which gives the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sde_ray.search.adaptive import posterior as dense
from sde_ray.search.adaptive import weight_space
from sde_ray.search.adaptive.posterior import GaussianPosterior, ModelSpace, Observation
from sde_ray.search.adaptive.sufficient_statistics import refuse_cells
from sde_ray.search.adaptive.weight_space import WeightSpacePosterior
from sde_ray.search.kernel import Index, Mask
from sde_ray.search.scale import IDENTITY, Scale
from sde_ray.search.threads import single_threaded

REFIT_GROWTH = 1.25  # hyperparameters are estimated again when there are so many times as many observations
MAX_DENSE = 256  # scores up to which the covariance of all of them is the faster form; the time grows with its cube

Posterior = GaussianPosterior | WeightSpacePosterior


def refuse_too_large(space: ModelSpace, valid: Mask, budgets: Sequence[float], num_seeds: int) -> None:
    """Raises UserError: where the scores that the budgets may bring would take too much time and memory.

    Args:
        space: designs, contests and rungs.
        valid: the designs of each contest, [contest, design].
        budgets: full trials of each contest.
        num_seeds: seeds that a design may have.
    """
    most = (valid.sum(1) * num_seeds).tolist()
    trials = sum(min(budget / space.shares[0], size) for budget, size in zip(budgets, most, strict=True))
    if trials * space.rungs > MAX_DENSE:
        refuse_cells(space, min(valid.shape[1], math.ceil(trials)), num_seeds)


class Surrogate:
    """Gaussian process over designs with its observations.

    Args:
        space: designs, contests and rungs.
        pool: numbers of the designs that a posterior is to hold, asked whenever one is made.
        candidates: the scales that scores may be modelled on; the first of equals is taken.
    """

    def __init__(self, space: ModelSpace, pool: Callable[[], Index], candidates: Sequence[Scale] = (IDENTITY,)) -> None:
        self.space, self._pool, self._candidates = space, pool, tuple(candidates)
        self.scale = self._candidates[0]
        self.observations: list[Observation] = []
        self.scores: list[float] = []
        self._hyperparameters: Mapping[str, float] = {}
        self._posterior: Posterior | None = None
        self._num_fitted = self._num_absorbed = self._num_final = 0

    def observe(self, observation: Observation, score: float) -> None:
        """Record a score; the posterior takes it in when it is asked for."""
        self.observations.append(observation)
        self.scores.append(score)

    @single_threaded
    def posterior(self) -> Posterior | None:
        """Posterior given all observations, on the chosen scale; None before the first."""
        count = len(self.observations)
        if not count:
            return None
        num_fitted = count if count == self._num_final else last_refit(count)
        if self._posterior is None or num_fitted != self._num_fitted:
            self._posterior = self._fit(num_fitted)
            self._num_fitted = self._num_absorbed = num_fitted
        if self._num_absorbed < count:
            scores = self.scale.forward(self.scores[self._num_absorbed :])
            self._posterior.update(self.observations[self._num_absorbed :], scores)
            self._num_absorbed = count
        return self._posterior

    def _fit(self, count: int) -> Posterior:
        """Posterior given the first observations, with the scale and the hyperparameters that fit them best."""
        observations, scores = self.observations[:count], np.array(self.scores[:count])
        fit_hyperparameters = (dense if count <= MAX_DENSE else weight_space).fit_hyperparameters
        best = -math.inf
        for scale in self._candidates:
            hyperparameters, log_evidence = fit_hyperparameters(self.space, observations, scale.forward(scores))
            log_evidence += scale.log_jacobian(scores)
            if log_evidence > best:
                best, self.scale, self._hyperparameters = log_evidence, scale, hyperparameters
        values = self.scale.forward(scores)
        model = self.space, self._hyperparameters, float(values.mean()), self._pool()
        if count > MAX_DENSE:
            return WeightSpacePosterior(*model, observations, values)
        posterior = GaussianPosterior(*model)
        posterior.update(observations, values)
        return posterior

    @single_threaded
    def expect(self, running: Sequence[Observation]) -> Posterior | None:
        """Posterior in which scores that are still to come are taken as expected."""
        posterior = self.posterior()
        if posterior is None or not running:
            return posterior
        posterior = posterior.copy()
        posterior.expect(running)
        return posterior

    @property
    def is_fitted(self) -> bool:
        """Whether a posterior has been made."""
        return self._posterior is not None

    def hyperparameters(self) -> Mapping[str, float]:
        """Standard deviation of every term of the kernel, on the chosen scale, as estimated from the scores so far."""
        self.posterior()
        return self._hyperparameters

    def refit(self) -> bool:
        """Let the next posterior be fitted to all observations, for the end of the search; False if it is already."""
        count = len(self.observations)
        if count in (self._num_final, self._num_fitted):
            return False
        self._num_final = count
        return True


def last_refit(count: int) -> int:
    """Number of observations at the last refit when there are `count`."""
    number = 1
    while (following := math.ceil(number * REFIT_GROWTH)) <= count:
        number = following
    return number
