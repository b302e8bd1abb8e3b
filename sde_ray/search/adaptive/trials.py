"""Trials of the adaptive search: which were begun, how far they are, what they cost, and which may be requested."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from sde_ray.search.adaptive.posterior import Observation
from sde_ray.search.kernel import Mask
from sde_ray.types import Design

MAX_FAILURES = 2  # a design whose trials failed so often is not requested again
MAX_IDENTICAL_FAILURES = 3  # nor one with an option in which so many trials failed and none brought a score

TrialId = tuple[int, int, int]  # contest, number of the design, seed


@dataclass
class Trial:
    """State of a begun trial: the rung it is meant to reach, and its scores by rung."""

    rung: int
    running: bool = True
    scores: dict[int, float] = field(default_factory=dict)


class Trials:
    """All begun trials by contest, number of the design, and seed.

    Args:
        designs: of all contests.
        valid: which of them each contest has, [contest, design].
        seeds: that a design's trials may have.
        rungs: shares of the training.
    """

    def __init__(self, designs: Sequence[Design], valid: Mask, seeds: Sequence[int], rungs: Sequence[float]) -> None:
        self._valid, self._seeds, self._rungs = valid, seeds, rungs
        self._by_option = [
            np.array([design[axis] == option for design in designs])
            for axis, option in sorted({choice for design in designs for choice in design.options})
        ]
        self._trials: dict[TrialId, Trial] = {}
        self._finished_cost = [0.0] * len(valid)
        self.used = np.zeros(valid.shape, dtype=np.intp)  # seeds begun, [contest, design]
        self.failures = np.zeros(valid.shape, dtype=np.intp)
        self.scored = np.zeros(valid.shape, dtype=bool)

    def __contains__(self, trial_id: TrialId) -> bool:
        return trial_id in self._trials

    def __getitem__(self, trial_id: TrialId) -> Trial:
        return self._trials[trial_id]

    def get(self, trial_id: TrialId) -> Trial | None:
        """The state of a trial; None if it was not begun."""
        return self._trials.get(trial_id)

    def start(self, trial_id: TrialId, rung: int) -> Trial:
        """Begin a trial, or continue it, on its way to a rung."""
        if trial_id not in self._trials:
            self._trials[trial_id] = Trial(rung)
            self.used[trial_id[:2]] += 1
        trial = self._trials[trial_id]
        trial.rung, trial.running = rung, True
        return trial

    def end(self, trial_id: TrialId, rung: int | None) -> None:
        """End a trial after a rung; None: it failed."""
        trial = self._trials[trial_id]
        trial.running = False
        self._finished_cost[trial_id[0]] += self._rungs[trial.rung if rung is None else rung]
        if rung is None:
            self.failures[trial_id[:2]] += 1
        else:
            trial.rung = rung

    def running(self) -> Iterator[tuple[TrialId, Trial]]:
        """The trials that are running."""
        return ((trial_id, trial) for trial_id, trial in self._trials.items() if trial.running)

    def cost(self, contest: int) -> float:
        """Cost of a contest's trials, in full ones; running trials count with what they are meant to use."""
        running = [self._rungs[trial.rung] for (number, _, _), trial in self.running() if number == contest]
        return self._finished_cost[contest] + sum(running)

    def eligible(self) -> Mask:
        """Designs that may be requested, [contest, design]: valid, and their trials do not only fail."""
        eligible = self._valid & (self.failures < MAX_FAILURES)
        if self.failures.any():
            for members in self._by_option:
                failures = self.failures[:, members].sum(1)
                failing = (failures >= MAX_IDENTICAL_FAILURES) & ~self.scored[:, members].any(1)
                eligible[np.ix_(failing, members)] = False
        return np.asarray(eligible)

    def repeats(self, contest: int, number: int) -> list[Observation]:
        """Repeats of a design that has no seed left: its stopped trials, once more and further."""
        repeats = []
        for seed in self._seeds:
            trial = self._trials.get((contest, number, seed), Trial(0))  # its seeds may be others, by a point
            further = range(max(trial.scores, default=-1) + 1, len(self._rungs))
            repeats += [] if trial.running else [Observation(contest, number, seed, rung) for rung in further]
        return repeats
