"""D-optimal fractional factorial design: the fraction of all designs from which effects can be estimated best.

    Factorial(designs, budget=16, seed=0, interactions=(("format", "labels"),))

The fraction maximises the determinant of the information matrix of main effects and chosen interactions, by exchanges
(Fedorov 1972) from several random starts, over whatever designs are valid; so pinned axes and missing combinations do
no harm. Interactions that were not chosen enter with a prior (DuMouchel and Jones 1994): among fractions that are
equally good for the chosen model, one is taken that confounds it least with them.
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

RANDOM_STARTS = 4
POTENTIAL_SD = 0.25  # prior standard deviation of an interaction that was not chosen, with a trial's noise as 1
PRIMARY_SD = 100.0  # that of the terms to be estimated

Interactions = Sequence[Sequence[str]]


class Factorial(Searcher):
    """Search method: the designs of a D-optimal fraction, in random order; `points_to_evaluate` are part of it.

    Raises UserError: when the budget is too small for the model.
    """

    def __init__(
        self,
        designs: Sequence[Design],
        budget: int | None = None,
        seed: int = 0,
        reference_design: Design | None = None,
        points_to_evaluate: Sequence[Design] = (),
        interactions: Interactions = (),
    ) -> None:
        order = tuple(sorted(designs))
        minimum = num_coefficients(order, interactions)
        trials = min(2 * minimum, len(order)) if budget is None else min(budget, len(order))
        if trials < minimum:
            raise UserError(_too_few(trials, minimum, interactions))
        points = [point for point in dict.fromkeys(points_to_evaluate) if point in order][:trials]
        included = [order.index(point) for point in points]
        chosen = [order[n] for n in d_optimal_fraction(order, trials, seed, interactions, included)]
        super().__init__(chosen, trials, seed, reference_design, points)

    def _choose(self, unseen: tuple[Design, ...]) -> Design:
        return unseen[0]


def _too_few(trials: int, minimum: int, interactions: Interactions) -> str:
    what = "the effects of all options" + (f" and of {len(interactions)} pair(s) of axes" if interactions else "")
    return (
        f"search.n_trials is {trials}, but to estimate {what} takes at least {minimum} designs. "
        f"Set search.n_trials: {minimum} or more (twice as many leave room for the noise), or fix an axis."
    )


def num_coefficients(designs: Sequence[Design], interactions: Interactions = ()) -> int:
    """Rank of the model: the coefficients (mean, options, chosen interactions) that these designs can estimate."""
    primary, _ = model_columns(designs, interactions)
    return int(np.linalg.matrix_rank(primary))


def screening_size(designs: Sequence[Design], budget: float, first_rung: float) -> int:
    """Size of the screening design: how many designs a search of `budget` full trials begins with.

    Args:
        designs: the valid designs.
        budget: in full trials; at most half of it is spent on screening.
        first_rung: the share of the training that each of them runs.

    Returns a little more than half the number of effects of options, or what half of the budget can pay. After it, each
    trial is chosen in the light of the others: the prior makes up for effects that the screening cannot tell apart, and
    trials that are chosen say more of them than a larger screening does.
    """
    affordable = len(designs) if math.isinf(budget) else int(budget / 2 / first_rung)
    return max(1, min(num_coefficients(designs) // 2 + 1, affordable))


def d_optimal_fraction(
    designs: Sequence[Design],
    trials: int,
    seed: int = 0,
    interactions: Interactions = (),
    included: Sequence[int] = (),
) -> list[int]:
    """D-optimal fraction: numbers of the chosen designs, [trial], in random order.

    `included` are numbers of designs that belong to the fraction whatever they bring: it is completed around them
    (design augmentation). The same arguments give the same fraction (Fedorov 1972; DuMouchel and Jones 1994).
    """
    assert len(included) <= trials, (included, trials)
    rng = np.random.default_rng(seed)
    if trials >= len(designs):
        return [int(n) for n in rng.permutation(len(designs))]
    primary, potential = model_columns(designs, interactions)
    rows = np.concatenate(
        [primary * PRIMARY_SD, potential * POTENTIAL_SD], axis=1
    )  # scaled: the prior is then the unit matrix
    others = np.setdiff1d(np.arange(len(rows)), included)
    fixed = np.array(included, dtype=np.intp)
    starts = [
        _exchange(rows, np.append(fixed, rng.permutation(others)[: trials - len(fixed)]), len(fixed))
        for _ in range(RANDOM_STARTS)
    ]
    _, best = max(starts, key=lambda start: start[0])
    return [int(n) for n in rng.permutation(np.sort(best))]


def _exchange(rows: Array, chosen: Index, num_fixed: int = 0) -> tuple[float, Index]:
    """Fedorov's exchange algorithm: always the best exchange of one design, until none raises the determinant.

    The first `num_fixed` of the chosen designs stay.

    Returns the log determinant of the information matrix, and the numbers of the designs, [trial].
    """
    chosen = chosen.copy()
    while True:
        matrix = np.eye(rows.shape[1]) + rows[chosen].T @ rows[chosen]
        factor = linalg.cho_factor(matrix)
        cross = rows @ linalg.cho_solve(factor, rows[chosen].T)  # [design, chosen]
        leverage = np.einsum("ij,ij->i", rows, linalg.cho_solve(factor, rows.T).T)
        ratio = (1 + leverage)[:, None] * (1 - leverage[chosen])[None, :] + cross**2
        ratio[chosen] = 0.0  # no design twice
        ratio[:, :num_fixed] = 0.0
        entering, leaving = np.unravel_index(int(ratio.argmax()), ratio.shape)
        if ratio[entering, leaving] <= 1 + 1e-9:
            return 2 * float(np.log(np.diag(factor[0])).sum()), chosen
        chosen[leaving] = entering


def model_columns(designs: Sequence[Design], interactions: Interactions = ()) -> tuple[Array, Array]:
    """Model matrices, [design, column]: primary terms (mean, main effects, chosen interactions), other interactions."""
    kernel = DesignKernel(designs)
    chosen = {frozenset(_checked(pair, designs[0])) for pair in interactions}
    main_effects = {
        axis: linalg.helmert(int(size))[:, code].T
        for axis, size, code in zip(kernel.axes, kernel.sizes, kernel.codes.T, strict=True)
    }
    primary, potential = [np.ones((len(designs), 1)), *main_effects.values()], [np.zeros((len(designs), 0))]
    for one, other in combinations(main_effects, 2):
        product = (main_effects[one][:, :, None] * main_effects[other][:, None, :]).reshape(len(designs), -1)
        (primary if frozenset((one, other)) in chosen else potential).append(product)
    return np.concatenate(primary, axis=1), np.concatenate(potential, axis=1)


def _checked(pair: Sequence[str], design: Design) -> Sequence[str]:
    names = [axis for axis, _ in design.options]
    for axis in pair:
        if axis not in names:
            raise UserError(f"search.interactions: {unknown('axis', axis, names)}")
    return pair


def d_efficiency(designs: Sequence[Design], chosen: Sequence[int], interactions: Interactions = ()) -> float:
    """D-efficiency of a fraction: 1 carries as much per trial as all designs do, 0 cannot estimate the model."""
    primary, _ = model_columns(designs, interactions)
    basis = linalg.orth(primary)
    full = np.linalg.slogdet(basis.T @ basis / len(designs))[1]
    sign, log_determinant = np.linalg.slogdet(basis[list(chosen)].T @ basis[list(chosen)] / len(chosen))
    return float(np.exp((log_determinant - full) / basis.shape[1])) if sign > 0 else 0.0
