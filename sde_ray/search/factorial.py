"""A fraction of the designs from which effects can be estimated best: D-optimal, in as many trials as the user names.

    Factorial(designs, budget=16, seed=0, interactions=(("format", "labels"),))

The fraction maximises the determinant of the information matrix of main effects and chosen pairs, by exchanges (Fedorov
1972) from several random starts, over whatever designs are valid; so pinned axes and missing combinations do no harm.
Pairs that were not chosen enter with a prior (DuMouchel and Jones 1994): among fractions that are equally good for the
model asked, one is taken that confounds it least with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy import linalg

from sde_ray.errors import UserError, unknown
from sde_ray.search.base import Searcher
from sde_ray.search.kernel import Array, DesignKernel, Index
from sde_ray.types import Design

STARTS = 4
UNASKED = 0.25  # prior standard deviation of a pair that was not chosen, with a trial's noise as 1
DIFFUSE = 100.0  # that of effects which are to be estimated

Pairs = Sequence[Sequence[str]]


class Factorial(Searcher):
    """The designs of a D-optimal fraction, in random order."""

    def __init__(
        self,
        designs: Sequence[Design],
        budget: int | None = None,
        seed: int = 0,
        around: Design | None = None,
        interactions: Pairs = (),
    ) -> None:
        order = tuple(sorted(designs))
        least = num_coefficients(order, interactions)
        trials = min(2 * least, len(order)) if budget is None else min(budget, len(order))
        if trials < least:
            raise UserError(_too_few(trials, least, interactions))
        chosen = [order[n] for n in d_optimal_fraction(order, trials, seed, interactions)]
        super().__init__(chosen, trials, seed, around)

    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        return unseen[0]


def _too_few(trials: int, least: int, pairs: Pairs) -> str:
    what = "the effects of all options" + (f" and of {len(pairs)} pair(s) of axes" if pairs else "")
    return (
        f"search.n_trials is {trials}, but to estimate {what} takes at least {least} designs. "
        f"Set search.n_trials: {least} or more (twice as many leave room for the noise), or fix an axis."
    )


def num_coefficients(designs: Sequence[Design], pairs: Pairs = ()) -> int:
    """The free numbers of the model: mean, options and chosen pairs, as far as these designs can show them."""
    asked, _ = model_columns(designs, pairs)
    return int(np.linalg.matrix_rank(asked))


def screening_size(designs: Sequence[Design], total: float, first: float) -> int:
    """How many designs a search of `total` full trials begins with, each up to the share `first` of its training.

    As many as there are effects of options, but for half of its budget at most: from then on each trial is chosen in
    the light of the others.
    """
    affordable = len(designs) if math.isinf(total) else int(total / 2 / first)
    return max(1, min(num_coefficients(designs), affordable))


def d_optimal_fraction(designs: Sequence[Design], trials: int, seed: int = 0, pairs: Pairs = ()) -> list[int]:
    """The numbers of the chosen designs, in random order; the same for the same designs and seed."""
    random = np.random.default_rng(seed)
    if trials >= len(designs):
        return [int(n) for n in random.permutation(len(designs))]
    asked, others = model_columns(designs, pairs)
    rows = np.concatenate([asked * DIFFUSE, others * UNASKED], axis=1)  # scaled: the prior is then the unit matrix
    starts = [_exchange(rows, random.permutation(len(rows))[:trials]) for _ in range(STARTS)]
    _, best = max(starts, key=lambda found: found[0])
    return [int(n) for n in random.permutation(np.sort(best))]


def _exchange(rows: Array, chosen: Index) -> tuple[float, Index]:
    """Exchange one design after another, always the best exchange, until none helps."""
    chosen = chosen.copy()
    while True:
        matrix = np.eye(rows.shape[1]) + rows[chosen].T @ rows[chosen]
        factor = linalg.cho_factor(matrix)
        reach = rows @ linalg.cho_solve(factor, rows[chosen].T)  # [design, chosen]
        own = np.einsum("ij,ij->i", rows, linalg.cho_solve(factor, rows.T).T)
        ratio = (1 + own)[:, None] * (1 - own[chosen])[None, :] + reach**2
        ratio[chosen] = 0.0  # no design twice
        new, old = np.unravel_index(int(ratio.argmax()), ratio.shape)
        if ratio[new, old] <= 1 + 1e-9:
            return 2 * float(np.log(np.diag(factor[0])).sum()), chosen
        chosen[old] = new


def model_columns(designs: Sequence[Design], pairs: Pairs = ()) -> tuple[Array, Array]:
    """The model's columns that are to be estimated (mean first), and those of all other pairs."""
    likeness = DesignKernel(designs)
    wanted = {frozenset(_known(pair, designs[0])) for pair in pairs}
    parts = {
        axis: linalg.helmert(int(size))[:, code].T
        for axis, size, code in zip(likeness.axes, likeness.sizes, likeness.codes.T, strict=True)
    }
    asked, others = [np.ones((len(designs), 1)), *parts.values()], [np.zeros((len(designs), 0))]
    for one, other in combinations(parts, 2):
        product = (parts[one][:, :, None] * parts[other][:, None, :]).reshape(len(designs), -1)
        (asked if frozenset((one, other)) in wanted else others).append(product)
    return np.concatenate(asked, axis=1), np.concatenate(others, axis=1)


def _known(pair: Sequence[str], design: Design) -> Sequence[str]:
    names = [axis for axis, _ in design.options]
    for axis in pair:
        if axis not in names:
            raise UserError(f"search.interactions: {unknown('axis', axis, names)}")
    return pair


def d_efficiency(designs: Sequence[Design], chosen: Sequence[int], pairs: Pairs = ()) -> float:
    """D-efficiency of a fraction: 1 carries as much per trial as all designs do, 0 cannot estimate the model."""
    asked, _ = model_columns(designs, pairs)
    basis = linalg.orth(asked)
    full = np.linalg.slogdet(basis.T @ basis / len(designs))[1]
    sign, own = np.linalg.slogdet(basis[list(chosen)].T @ basis[list(chosen)] / len(chosen))
    return float(np.exp((own - full) / basis.shape[1])) if sign > 0 else 0.0
