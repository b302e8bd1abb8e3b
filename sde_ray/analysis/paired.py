"""Paired comparison of contenders: bootstrap over items, a model of the noise over seeds, Holm's correction.

    table = tabulate(values, items, designs, "assembled", draws=2000)
    table.compare(["assembled", "baseline"])
    -> {"baseline": PairedDifference(0.12, 0.07, 0.17, p_value=0.0005, adjusted_p_value=0.002)}

In: the score of each contender, training seed and variant (a training size, a way of decoding), and its counts by item.
Each contender is compared with the first one on the seeds and items that these two share, so a trial that failed costs
its own contender a seed and nobody else. A difference is uncertain for two reasons. *Items*: their bootstrap moves both
contenders together, so only what differs is left. *Seeds*: a handful cannot be resampled, so their part is a normal
error whose standard deviation is drawn from a model of all contenders (`seed_noise.py`), which gives it heavy tails.
What seeds and items share (a seed's own luck on an item) is counted once.

Several comparisons with one contender are a family: the adjusted p-value (Holm's step-down) holds for all at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.seed_noise import Replicates, draw_seed_sd
from sde_ray.evaluation.per_item import ItemCounts, bootstrap_weights
from sde_ray.search.scale import IDENTITY, LogitScale, Scale
from sde_ray.types import Design

Array = npt.NDArray[np.float64]
Name = TypeVar("Name")
Key = tuple[str, int, Any]  # contender, training seed, variant
DRAWS = 8000
MIN_FREEDOM = 4.0  # degrees of freedom of a sweep's replicates that give a comparison with one seed its training noise
NO_NOISE, ITEMS, SEEDS, SEEDS_AND_ITEMS = "nothing", "items", "seeds", "seeds and items"
_ROUNDING = 1e-12


@dataclass(frozen=True)
class PairedDifference:
    """Mean paired difference with its 95% confidence interval; no interval and no p-value where no noise is known.

    `p_value` is two-sided for this comparison alone, `adjusted_p_value` (Holm) for the whole family. `noise` says what
    the interval holds: "seeds and items", "seeds", "items" or "nothing". `seeds`: number of training seeds that both
    contenders share.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    noise: str = NO_NOISE
    seeds: int = 0

    @property
    def confidence_interval(self) -> tuple[float, float] | None:
        """The 95% bounds, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


# ---- the table of scores -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreTable:
    """Scores of contenders: `scores[name]` [seeds, variants], on the seeds that `first` has; NaN where one is missing.

    `resampled[name]` [draws, seeds, variants] are the scores under a bootstrap of the items, with the same draws for
    all contenders; without those whose items are not known or differ, None where those of `first` are not known.
    `first` is the contender that the others are compared with; without a seed of its own the table is empty. `scale`
    and `replicates`: see `seed_noise.draw_seed_sd`.
    """

    first: str
    scores: Mapping[str, Array]
    resampled: Mapping[str, Array] | None
    designs: Mapping[str, Design]
    seeds: tuple[int, ...]
    variants: tuple[Any, ...]
    scale: Scale = IDENTITY
    replicates: Replicates | None = None

    def column(self, variant: Any) -> ScoreTable:
        """The table of one variant alone; an empty one where no contender has it."""
        if variant not in self.variants:
            return ScoreTable(self.first, {}, None, {}, (), (variant,))
        n = self.variants.index(variant)
        scores = {name: values[:, n : n + 1] for name, values in self.scores.items()}
        resampled = self.resampled and {name: values[:, :, n : n + 1] for name, values in self.resampled.items()}
        return replace(self, scores=scores, resampled=resampled, variants=(variant,))

    def shared_seeds(self, name: str) -> tuple[int, ...]:
        """The training seeds on which a contender is compared with `first`."""
        present = np.asarray(np.isfinite(self.scores[name]).all(axis=1))
        return tuple(seed for seed, is_present in zip(self.seeds, present.tolist(), strict=True) if is_present)

    def means(self, name: str) -> tuple[float, float]:
        """The mean score of `first` and of a contender, on the seeds that they share."""
        present = np.isfinite(self.scores[name]).all(axis=1)
        return float(self.scores[self.first][present].mean()), float(self.scores[name][present].mean())

    def representatives(self) -> dict[Design, str]:
        """One name a design, so that a design with several names is compared once: `first`, else its first name."""
        names = {design: name for name, design in reversed(list(self.designs.items()))}
        names[self.designs[self.first]] = self.first
        return names

    def compare(self, names: Sequence[str]) -> dict[str, PairedDifference]:
        """`first` minus each other one of `names`: one family of comparisons."""
        scores = {name: self.scores[name] for name in names}
        differences = compare(scores, self.resampled, self.first, None, self.scale, self.replicates)
        low, high = self._bounds
        return {name: _within(one, low - high, high - low) for name, one in differences.items()}

    def levels(self, names: Sequence[str]) -> dict[str, PairedDifference]:
        """The mean score of each of `names` with its interval, not paired with any other."""
        scores = {name: self.scores[name] for name in names}
        levels = level_intervals(scores, self.resampled, self.scale, self.replicates)
        return {name: _within(one, *self._bounds) for name, one in levels.items()}

    @property
    def _bounds(self) -> tuple[float, float]:
        """The lowest and the highest score that the metric has."""
        return (self.scale.low, self.scale.high) if isinstance(self.scale, LogitScale) else (-math.inf, math.inf)


def _within(paired: PairedDifference, low: float, high: float) -> PairedDifference:
    """The same with its interval kept within what the bounds of the metric allow."""
    bounds = [None if bound is None else min(max(bound, low), high) for bound in (paired.low, paired.high)]
    return replace(paired, low=bounds[0], high=bounds[1])


def tabulate(
    values: Mapping[Key, float],
    items: Mapping[Key, ItemCounts],
    designs: Mapping[str, Design],
    first: str,
    draws: int,
    variants: Sequence[Any] | None = None,
    scale: Scale = IDENTITY,
    replicates: Replicates | None = None,
) -> ScoreTable:
    """The scores on the seeds for which `first` has all variants; each other contender has those that it shares.

    A contender that shares no complete seed with `first` (all its trials failed) is left out, a score that is no finite
    number counts as missing.

    Args:
        values: scores by contender, training seed and variant.
        items: counts by item, by the same keys; the bootstrap needs them on the same items as those of `first`.
        designs: the contenders in their order.
        first: the contender that the others are compared with.
        draws: number of bootstrap draws of the items.
        variants: the variants that a seed must have; by default all that occur.
        scale: on which the noise of contenders is alike.
        replicates: what the sweep tells of the noise over seeds.

    Returns:
        The table; an empty one where `first` has no complete seed.
    """
    finite = {key: value for key, value in values.items() if math.isfinite(value)}
    columns = tuple(dict.fromkeys(variant for _, _, variant in values)) if variants is None else tuple(variants)
    complete = {name: _complete_seeds(finite, name, columns) for name in designs}
    seeds = tuple(sorted(complete.get(first, set())))
    if not seeds or not columns:
        return ScoreTable(first, {}, None, {}, (), columns)
    shared = {name: complete[name] & set(seeds) for name in designs if complete[name] & set(seeds)}
    scores = {
        name: np.array([[finite[name, s, v] if s in common else math.nan for v in columns] for s in seeds])
        for name, common in shared.items()
    }
    resampled = _resample(items, shared, first, seeds, columns, draws)
    return ScoreTable(
        first, scores, resampled, {name: designs[name] for name in shared}, seeds, columns, scale, replicates
    )


def _complete_seeds(values: Mapping[Key, float], name: str, variants: Sequence[Any]) -> set[int]:
    seeds = {seed for contender, seed, _ in values if contender == name}
    return {seed for seed in seeds if all((name, seed, variant) in values for variant in variants)}


def _resample(
    items: Mapping[Key, ItemCounts],
    shared: Mapping[str, set[int]],
    first: str,
    seeds: Sequence[int],
    variants: Sequence[Any],
    draws: int,
) -> dict[str, Array] | None:
    """Bootstrap of the items: scores [draws, seeds, variants] by contender, of those with the same items as `first`."""
    reference = items.get((first, seeds[0], variants[0]))
    if reference is None:
        return None

    def known(name: str) -> bool:
        counts = [items.get((name, seed, variant)) for seed in shared[name] for variant in variants]
        return all(one is not None and one.ids == reference.ids for one in counts)

    if not known(first):
        return None
    weights = bootstrap_weights(reference.ids, draws, np.random.default_rng(0))
    resampled: dict[str, Array] = {}
    computed: dict[int, Array] = {}  # a design under two names has the same counts, counted once
    for name in filter(known, shared):
        resampled[name] = np.full((draws, len(seeds), len(variants)), math.nan)
        for row, seed in enumerate(seeds):
            for column, variant in enumerate(variants if seed in shared[name] else ()):
                counts = items[name, seed, variant]
                if id(counts) not in computed:
                    computed[id(counts)] = counts.scores(weights)
                resampled[name][:, row, column] = computed[id(counts)]
    return resampled


# ---- paired differences --------------------------------------------------------------------------------------------


def compare(
    scores: Mapping[str, Array],
    resampled: Mapping[str, Array] | None,
    first: str,
    random: np.random.Generator | None = None,
    scale: Scale = IDENTITY,
    replicates: Replicates | None = None,
) -> dict[str, PairedDifference]:
    """Paired differences `first` minus each other contender, averaged over the seeds they share and the variants.

    Args:
        scores: by contender [seeds, variants], in units of the metric; NaN where a trial is missing.
        resampled: by contender [draws, seeds, variants], under the same bootstrap draws of the items for all; without
            those whose items are not known: their intervals hold the noise of seeds alone.
        first: the contender that the others are compared with; it has all seeds.
        random: source of the draws; by default one with the seed 0.
        scale: on which the noise of contenders is alike.
        replicates: what the sweep tells of the noise over seeds, for the mean over variants.

    Returns:
        By the name of the other contender, with a 95% interval and p-values; without both where the noise is unknown
        (one seed and no items) or nothing varies at all.
    """
    random = random or np.random.default_rng(0)
    names = list(scores)
    means = np.stack([scores[name].mean(axis=1) for name in names])
    sd = draw_seed_sd(means, scale, replicates)
    base = names.index(first)
    differences = {}
    for n, name in enumerate(names):
        if name == first:
            continue
        present = np.isfinite(means[n])
        variance = None if sd is None else sd[:, base] ** 2 + sd[:, n] ** 2
        if present.sum() == 1 and not _enough(means, replicates):
            variance = None
        draws = None
        if resampled is not None and first in resampled and name in resampled:
            draws = np.asarray((resampled[first] - resampled[name]).mean(axis=2)[:, present])
        difference = float((means[base] - means[n])[present].mean())
        differences[name] = _with_interval(difference, int(present.sum()), variance, draws, random)
    return holm(differences)


def _enough(means: Array, replicates: Replicates | None) -> bool:
    """Do other contenders' seeds or the sweep's replicates say enough of the noise of one that has a single seed?"""
    freedom = float(np.maximum(np.isfinite(means).sum(axis=1) - 1, 0).sum())
    return freedom + (replicates.total_freedom if replicates else 0.0) >= MIN_FREEDOM


def level_intervals(
    scores: Mapping[str, Array],
    resampled: Mapping[str, Array] | None,
    scale: Scale = IDENTITY,
    replicates: Replicates | None = None,
) -> dict[str, PairedDifference]:
    """Mean scores with intervals, of each contender alone: the luck that seeds share is part of the noise.

    Args and units as in `compare`. `difference` is the score, its difference to zero.
    """
    random = np.random.default_rng(0)
    means = np.stack([values.mean(axis=1) for values in scores.values()])
    sd = draw_seed_sd(means, scale, replicates, shared_luck=False)
    levels = {}
    for n, name in enumerate(scores):
        present = np.isfinite(means[n])
        variance = None if sd is None or (present.sum() == 1 and not _enough(means, replicates)) else sd[:, n] ** 2
        draws = resampled[name].mean(axis=2)[:, present] if resampled is not None and name in resampled else None
        levels[name] = _with_interval(float(means[n][present].mean()), int(present.sum()), variance, draws, random)
    return levels


def _with_interval(
    value: float, seeds: int, variance: Array | None, by_draw: Array | None, random: np.random.Generator
) -> PairedDifference:
    """A mean over seeds with the basic bootstrap interval, and the two-sided p-value (one draw added: never 0).

    Args:
        value: the mean.
        seeds: number of seeds behind it.
        variance: draws of the variance of one seed's value [draws]; None where it is not known.
        by_draw: the values under draws of the items [draws, seeds]; None where items are not known.
        random: source of the draws.
    """
    if variance is None and by_draw is None:
        return PairedDifference(value, seeds=seeds)
    errors = np.zeros(DRAWS)
    if by_draw is not None:
        item_errors = by_draw.mean(axis=1) - by_draw.mean()
        errors = errors + item_errors[random.integers(0, len(item_errors), DRAWS)]
    if variance is not None:
        drawn = variance[np.arange(DRAWS) % len(variance)] / seeds
        remaining = np.maximum(drawn - _shared_variance(by_draw), drawn / 4)
        errors = errors + random.standard_normal(DRAWS) * np.sqrt(remaining)
    low, high = np.quantile(errors, (0.025, 0.975))
    if high - low <= _ROUNDING:
        return PairedDifference(value, seeds=seeds)  # nothing varies, which no noise explains
    p_value = (1 + int((np.abs(errors) >= abs(value) - _ROUNDING).sum())) / (1 + len(errors))
    noise = {(True, True): SEEDS_AND_ITEMS, (True, False): SEEDS, (False, True): ITEMS}
    holds = noise[variance is not None, by_draw is not None]
    return PairedDifference(value, value - float(high), value - float(low), p_value, None, holds, seeds)


def _shared_variance(by_draw: Array | None) -> float:
    """The part of the variance that the items' bootstrap and the spread of seeds both hold."""
    if by_draw is None or by_draw.shape[1] < 2:
        return 0.0
    single, together = float(by_draw.var(axis=0).mean()), float(by_draw.mean(axis=1).var())
    return max(0.0, (single - together) / (by_draw.shape[1] - 1))


def holm(differences: Mapping[Name, PairedDifference]) -> dict[Name, PairedDifference]:
    """Holm's step-down correction: the smallest p-value times the number of comparisons, the next times one less..."""
    p_values = {name: difference.p_value for name, difference in differences.items() if difference.p_value is not None}
    adjusted, largest = {}, 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, p_value * (len(p_values) - rank)))
        adjusted[name] = largest
    return {name: replace(difference, adjusted_p_value=adjusted.get(name)) for name, difference in differences.items()}
