"""Sufficient statistics of scores for the Gaussian process in weight space: 10,000 trials are 216 cells.

    statistics = SufficientStatistics(space, designs, observations, scores)
    statistics.counts, statistics.totals        trials and sums of scores by design, contest and set of rungs
    statistics.features, statistics.terms       columns of contests, options and pairs; the term of each weight

Trials of one contest and design that were scored at the same rungs differ by noise and by their seeds alone. So the
likelihood needs, of each cell and each set of rungs, the number of trials, the sums of their scores and, because seeds
are crossed with designs, which seeds they have.
"""

from __future__ import annotations

import numpy as np

from sde_ray.errors import UserError
from sde_ray.search.adaptive.features import Features
from sde_ray.search.adaptive.posterior import ModelSpace, ObservationArrays
from sde_ray.search.kernel import Array, Index

MAX_WORK = 10**10  # expected scores x weights squared: at most 2 minutes for a fit on one core, and 1 GiB


def num_weights(space: ModelSpace, num_seeds: int) -> int:
    """Number of weights that are solved for together, with so many seeds in each contest."""
    main, pairs = space.kernel.num_main_effects, space.kernel.num_interactions
    lower = space.contests * int(np.count_nonzero(space.rung_deviation)) if space.rungs > 1 else 0
    shared = 1 + (space.contests if space.contests > 1 else 0)
    return space.contests * (1 + num_seeds) + shared * (main + pairs) + lower * (1 + main)


def refuse_cells(space: ModelSpace, num_designs: int, num_seeds: int) -> None:
    """Raises UserError: where so many scored designs would take too much time and memory."""
    weights, scores = num_weights(space, num_seeds), num_designs * space.contests * space.rungs
    if scores * weights**2 > MAX_WORK:
        raise UserError(
            f"search.method: adaptive would have to tell {scores:,} expected scores apart ({num_designs:,} designs × "
            f"{space.contests} contests × {space.rungs} rungs) by {weights:,} effects of options, pairs and seeds; "
            f"with so many effects it takes {MAX_WORK // weights**2:,} scores at most. Set a lower search.n_trials, "
            "list fewer options or seeds, set search.rungs: [1.0], or set search.method: random or optuna."
        )


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
        self.features = Features(space, designs)
        self.terms = [*self.features.terms, *["seed"] * len(codes)]

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


def block_diagonal(blocks: Array) -> Array:
    """Matrices by contest, [design, contest, rung, rung], as one of [design, C x R, C x R]."""
    designs, contests, rungs, _ = blocks.shape
    whole = np.zeros((designs, contests, rungs, contests, rungs))
    for contest in range(contests):
        whole[:, contest, :, contest] = blocks[:, contest]
    return whole.reshape(designs, contests * rungs, contests * rungs)
