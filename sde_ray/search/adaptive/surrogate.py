"""Surrogate model of the adaptive search: the Gaussian-process posterior given all scores so far, kept up to date.

    surrogate = Surrogate(space, pool)
    surrogate.observe(Observation(contest, design, seed, rung), score)
    surrogate.posterior()                      a `GaussianPosterior`; None before the first score
    surrogate.expect(running)                  the same, with the scores of running trials taken as expected

The hyperparameters are estimated anew whenever the scores have become a quarter more; in between, a score is an update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sde_ray.search.adaptive.posterior import GaussianPosterior, ModelSpace, Observation, fit_scales
from sde_ray.search.kernel import Index

REFIT_GROWTH = 1.25  # scales are estimated again when there are so many times as many observations


class Surrogate:
    """Gaussian process over designs with its observations.

    Args:
        space: designs, contests and rungs.
        pool: numbers of the designs that a posterior is to hold, asked whenever one is made.
    """

    def __init__(self, space: ModelSpace, pool: Callable[[], Index]) -> None:
        self.space, self._pool = space, pool
        self.observations: list[Observation] = []
        self.scores: list[float] = []
        self._scales: Mapping[str, float] | None = None
        self._posterior: GaussianPosterior | None = None
        self._num_fitted = self._num_absorbed = self._num_rebuilt = 0

    def observe(self, observation: Observation, score: float) -> None:
        """Record a score; the posterior takes it in when it is asked for."""
        self.observations.append(observation)
        self.scores.append(score)

    def posterior(self) -> GaussianPosterior | None:
        """Posterior given all observations; None before the first."""
        count = len(self.observations)
        if not count:
            return None
        if self._posterior is None or count >= self._num_fitted * REFIT_GROWTH:
            if self._scales is None:
                self._num_rebuilt = count
            scores = np.array(self.scores)
            self._scales = fit_scales(self.space, self.observations, scores, self._scales)
            self._posterior = GaussianPosterior(self.space, self._scales, float(scores.mean()), self._pool())
            self._num_fitted, self._num_absorbed = count, 0
        if self._num_absorbed < count:
            self._posterior.update(self.observations[self._num_absorbed :], self.scores[self._num_absorbed :])
            self._num_absorbed = count
        return self._posterior

    def expect(self, running: Sequence[Observation]) -> GaussianPosterior | None:
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

    def scales(self) -> Mapping[str, float]:
        """Hyperparameters of the kernel: the standard deviation of every term, as estimated from the scores so far."""
        self.posterior()
        return self._scales or {}

    def rebuild(self) -> bool:
        """Discard the posterior, so that the end is that of a resumed search; False if it was just built."""
        if self._num_rebuilt == len(self.observations):
            return False
        self._posterior, self._scales = None, None
        return True
