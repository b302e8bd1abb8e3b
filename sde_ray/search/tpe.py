"""Optuna's TPE sampler over the categorical space, without its repetitions.

TPE suggests points it has seen before (optuna#2021, #5440), the more often the surer it is. Such a point, and one
outside the valid designs, is reported to the study as failed and asked again; when all of `MAX_ASKS` repeat, the unseen
design nearest to the last of them is taken, so that what TPE has learnt is not lost. Results of an earlier run of the
sweep enter the study as finished trials.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sde_ray.search.base import Searcher, distance
from sde_ray.types import Design

MAX_ASKS = 5
STARTUP_TRIALS = 8  # random designs before the model suggests


class Optuna(Searcher):
    """Tree-structured Parzen estimator (Bergstra et al. 2011); learns from whatever was observed, waits for nothing."""

    def __init__(
        self,
        designs: Sequence[Design],
        budget: int | None = None,
        seed: int = 0,
        reference_design: Design | None = None,
        points_to_evaluate: Sequence[Design] = (),
    ) -> None:
        super().__init__(designs, budget, seed, reference_design, points_to_evaluate)
        import optuna  # heavy: only where it is used

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna: Any = optuna
        self._random = random.Random(seed)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP_TRIALS, multivariate=True, constant_liar=True
        )
        self._study: Any = optuna.create_study(direction="maximize", sampler=sampler)
        self._open_trials: dict[Design, Any] = {}
        options: dict[str, dict[str, None]] = {}
        for design in sorted(self.designs):
            for axis, option in design.options:
                options.setdefault(axis, {})[option] = None
        self._choices = {
            axis: optuna.distributions.CategoricalDistribution(sorted(names)) for axis, names in options.items()
        }

    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        remaining = set(unseen)
        for _ in range(MAX_ASKS):
            trial = self._study.ask(self._choices)
            design = Design(tuple((axis, trial.params[axis]) for axis in self._choices))
            if design in remaining:
                self._open_trials[design] = trial
                return design
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        fewest = min(distance(other, design) for other in unseen)
        return self._random.choice(sorted(other for other in unseen if distance(other, design) == fewest))

    def observe(self, design: Design, score: float | None) -> None:
        super().observe(design, score)
        open_trial = self._open_trials.pop(design, None)
        failed = self._optuna.trial.TrialState.FAIL
        if open_trial is not None:
            self._study.tell(open_trial, score, state=None if score is not None else failed)
        elif score is not None and set(self._choices) == {axis for axis, _ in design.options}:
            trial = self._optuna.trial.create_trial(
                params=dict(design.options), distributions=self._choices, value=score
            )
            self._study.add_trial(trial)
