"""Optuna's TPE over the categorical space, without its repetitions.

TPE asks for points it has seen before (optuna#2021, #5440), the more the surer it is. Such an ask, and one outside
the valid designs, is told to the study as failed and asked again; when all of `ASKS` repeat, the unseen design nearest
to the last of them is taken, so that what TPE has learnt is not lost. Results of an earlier run of the sweep enter
the study as finished trials.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from sde_ray.search.base import Searcher, distance
from sde_ray.types import Design

ASKS = 5
STARTUP = 8  # random designs before the model proposes


class Optuna(Searcher):
    """Tree-structured Parzen estimator; learns from whatever was observed, waits for nothing."""

    def __init__(
        self, designs: Sequence[Design], budget: int | None = None, seed: int = 0, around: Design | None = None
    ) -> None:
        super().__init__(designs, budget, seed, around)
        import optuna  # heavy: only where it is used

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna: Any = optuna
        self._random = random.Random(seed)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True)
        self._study: Any = optuna.create_study(direction="maximize", sampler=sampler)
        self._asked: dict[Design, Any] = {}
        options: dict[str, dict[str, None]] = {}
        for design in sorted(self.designs):
            for axis, option in design.options:
                options.setdefault(axis, {})[option] = None
        self._choices = {
            axis: optuna.distributions.CategoricalDistribution(sorted(names)) for axis, names in options.items()
        }

    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        left = set(unseen)
        for _ in range(ASKS):
            trial = self._study.ask(self._choices)
            design = Design(tuple((axis, trial.params[axis]) for axis in self._choices))
            if design in left:
                self._asked[design] = trial
                return design
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        fewest = min(distance(other, design) for other in unseen)
        return self._random.choice(sorted(other for other in unseen if distance(other, design) == fewest))

    def observe(self, design: Design, score: float | None) -> None:
        super().observe(design, score)
        asked = self._asked.pop(design, None)
        failed = self._optuna.trial.TrialState.FAIL
        if asked is not None:
            self._study.tell(asked, score, state=None if score is not None else failed)
        elif score is not None and set(self._choices) == {axis for axis, _ in design.options}:
            trial = self._optuna.trial.create_trial(
                params=dict(design.options), distributions=self._choices, value=score
            )
            self._study.add_trial(trial)
