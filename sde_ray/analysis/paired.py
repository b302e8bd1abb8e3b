"""Paired comparisons: one contender against others that were trained with the same seeds and scored on the same items.

    compare(scores, resampled, "assembled") -> {"baseline": Paired(0.12, 0.07, 0.17, p=0.0005, adjusted=0.002), ...}

`scores[name]` are (seeds, sizes); `resampled[name]` are (draws, seeds, sizes): the scores under draws of the items, the
same draw for all contenders. A difference is uncertain for two reasons. *Items*: their bootstrap moves both contenders
together, so only what differs is left. *Seeds*: a handful cannot be resampled, so their part is Student's t with a
variance drawn towards the mean of all comparisons.
What seeds and items share (a seed's own luck on an item) is counted once.

Several comparisons with one contender are a family: `adjusted` is Holm's p-value, which holds for all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DRAWS = 4000
POOLING = 4.0  # how many degrees of freedom of its own outweigh the pooled variance of seeds


@dataclass(frozen=True)
class Paired:
    """A mean difference with its 95% interval; without an interval and p where neither seeds nor items tell the noise.

    `p` is two-sided for this comparison alone, `adjusted` for the whole family.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None


def compare(
    scores: Mapping[str, Array],
    resampled: Mapping[str, Array] | None,
    first: str,
    random: np.random.Generator | None = None,
) -> dict[str, Paired]:
    """`first` minus each other contender, averaged over seeds and sizes."""
    random = random or np.random.default_rng(0)
    others = [name for name in scores if name != first]
    by_seed = {name: (scores[first] - scores[name]).mean(axis=1) for name in others}
    moved = {name: _moved(resampled, first, name) for name in others} if resampled else {}
    spreads = _seed_variances(list(by_seed.values()))
    found = {}
    for name, spread in zip(others, spreads, strict=True):
        error = _errors(by_seed[name], spread, moved.get(name), random)
        found[name] = _paired(float(by_seed[name].mean()), error)
    return _adjust(found)


def _moved(resampled: Mapping[str, Array], first: str, other: str) -> Array:
    """The difference by seed (draws, seeds) under draws of the items."""
    return np.asarray((resampled[first] - resampled[other]).mean(axis=2))


@dataclass(frozen=True)
class _Spread:
    """The variance of one seed's difference, and its degrees of freedom (0: unknown)."""

    variance: float
    freedom: float


def _seed_variances(differences: Sequence[Array]) -> list[_Spread]:
    """Each comparison's variance over seeds, drawn towards the mean of all.

    The comparisons share a contender, which correlates them by about a half: k of them are worth k / (1 + (k - 1) / 4).
    """
    count, seeds = len(differences), len(differences[0]) if differences else 0
    if seeds < 2:
        return [_Spread(0.0, 0.0)] * count
    own = np.array([difference.var(ddof=1) for difference in differences])
    worth = (seeds - 1) * count / (1 + (count - 1) / 4)
    prior = POOLING if count > 1 else 0.0
    mixed = (prior * own.mean() + (seeds - 1) * own) / (prior + seeds - 1)
    freedom = min(worth, prior + seeds - 1) if count > 1 else seeds - 1
    return [_Spread(float(variance), float(freedom)) for variance in mixed]


def _errors(by_seed: Array, spread: _Spread, moved: Array | None, random: np.random.Generator) -> Array | None:
    """Draws of the error of the mean difference; None: nothing tells it."""
    if moved is None and not spread.freedom:
        return None
    of_items = moved.mean(axis=1) - moved.mean() if moved is not None else np.zeros(DRAWS)
    error = of_items[random.integers(0, len(of_items), DRAWS)]
    if spread.freedom:
        variance = spread.variance / len(by_seed)
        left = max(variance - _shared(moved), variance / 4)
        error = error + random.standard_t(spread.freedom, DRAWS) * np.sqrt(left)
    return np.asarray(error)


def _shared(moved: Array | None) -> float:
    """The part of the variance that the items' bootstrap and the spread of seeds both hold."""
    if moved is None or moved.shape[1] < 2:
        return 0.0
    single, together = float(moved.var(axis=0).mean()), float(moved.mean(axis=1).var())
    return max(0.0, (single - together) / (moved.shape[1] - 1))


def _paired(difference: float, error: Array | None) -> Paired:
    if error is None:
        return Paired(difference)
    low, high = np.quantile(error, (0.025, 0.975))
    beyond = int((np.abs(error) >= abs(difference) - 1e-12).sum())
    return Paired(difference, difference - float(high), difference - float(low), (1 + beyond) / (1 + len(error)))


def _adjust(found: Mapping[str, Paired]) -> dict[str, Paired]:
    """Holm's step-down: the smallest p counts times the number of comparisons, the next times one less, and so on."""
    known = sorted((name for name in found if found[name].p is not None), key=lambda name: found[name].p or 0.0)
    adjusted, worst = {}, 0.0
    for place, name in enumerate(known):
        worst = max(worst, min(1.0, (found[name].p or 0.0) * (len(known) - place)))
        adjusted[name] = worst
    return {name: Paired(one.difference, one.low, one.high, one.p, adjusted.get(name)) for name, one in found.items()}
