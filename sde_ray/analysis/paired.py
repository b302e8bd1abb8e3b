"""Paired comparison of contenders: bootstrap over items, Student's t over seeds, Holm's correction over controls.

    table = tabulate(values, items, designs, "assembled", draws=2000)
    table.compare(["assembled", "baseline"])
    -> {"baseline": PairedDifference(0.12, 0.07, 0.17, p_value=0.0005, adjusted_p_value=0.002)}

In: the score of each contender, training seed and variant (a training size, a way of decoding), and its counts by item.
All contenders are compared on the same seeds and the same items. A difference is uncertain for two reasons. *Items*:
their bootstrap moves both contenders together, so only what differs is left. *Seeds*: a handful cannot be resampled, so
their part is Student's t with a variance shrunk towards the mean of all comparisons. What seeds and items share (a
seed's own luck on an item) is counted once.

Several comparisons with one contender are a family: the adjusted p-value (Holm's step-down) holds for all at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.evaluation.per_item import ItemCounts, bootstrap_weights
from sde_ray.types import Design

Array = npt.NDArray[np.float64]
Key = tuple[str, int, Any]  # contender, training seed, variant
DRAWS = 4000
PRIOR_DF = 4.0  # degrees of freedom of the pooled variance of seeds, against a comparison's own
_ROUNDING = 1e-12


@dataclass(frozen=True)
class PairedDifference:
    """Mean paired difference with its 95% confidence interval; no interval and no p-value where no noise is known.

    `p_value` is two-sided for this comparison alone, `adjusted_p_value` (Holm) for the whole family.
    """

    difference: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None

    @property
    def confidence_interval(self) -> tuple[float, float] | None:
        """The 95% bounds, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


# ---- the table of scores -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScoreTable:
    """Complete scores of contenders: `scores[name]` [seeds, variants], all on the same seeds and variants.

    `resampled[name]` [draws, seeds, variants] are the scores under a bootstrap of the items, with the same draws for
    all contenders; None where the items are not known or differ. `first` is the contender that the others are
    compared with. Without a seed that all have, the table is empty.
    """

    first: str
    scores: Mapping[str, Array]
    resampled: Mapping[str, Array] | None
    designs: Mapping[str, Design]
    seeds: tuple[int, ...]
    variants: tuple[Any, ...]

    def column(self, variant: Any) -> ScoreTable:
        """The table of one variant alone; an empty one where no contender has it."""
        if variant not in self.variants:
            return ScoreTable(self.first, {}, None, {}, (), (variant,))
        n = self.variants.index(variant)
        scores = {name: values[:, n : n + 1] for name, values in self.scores.items()}
        resampled = self.resampled and {name: values[:, :, n : n + 1] for name, values in self.resampled.items()}
        return replace(self, scores=scores, resampled=resampled, variants=(variant,))

    def representatives(self) -> dict[Design, str]:
        """One name a design, so that a design with several names is compared once: `first`, else its first name."""
        names = {design: name for name, design in reversed(list(self.designs.items()))}
        names[self.designs[self.first]] = self.first
        return names

    def compare(self, names: Sequence[str]) -> dict[str, PairedDifference]:
        """`first` minus each other one of `names`: one family of comparisons."""
        resampled = self.resampled and {name: self.resampled[name] for name in names}
        return compare({name: self.scores[name] for name in names}, resampled, self.first)


def tabulate(
    values: Mapping[Key, float],
    items: Mapping[Key, ItemCounts],
    designs: Mapping[str, Design],
    first: str,
    draws: int,
    variants: Sequence[Any] | None = None,
) -> ScoreTable:
    """The complete part of the scores: the seeds on which every contender has a score for every variant.

    A contender that shares no complete seed with `first` (all its trials failed) is left out, a score that is no finite
    number counts as missing.

    Args:
        values: scores by contender, training seed and variant.
        items: counts by item, by the same keys; the bootstrap needs all of them, on the same items.
        designs: the contenders in their order.
        first: the contender that the others are compared with.
        draws: number of bootstrap draws of the items.
        variants: the variants that a seed must have; by default all that occur.

    Returns:
        The table; an empty one where `first` has no complete seed, or no seed is left that all have.
    """
    finite = {key: value for key, value in values.items() if math.isfinite(value)}
    columns = tuple(dict.fromkeys(variant for _, _, variant in values)) if variants is None else tuple(variants)
    complete = {name: _complete_seeds(finite, name, columns) for name in designs}
    base = complete.get(first, set())
    names = [name for name in designs if complete[name] & base]
    seeds = tuple(sorted(base.intersection(*(complete[name] for name in names)))) if names else ()
    if not seeds:
        return ScoreTable(first, {}, None, {}, (), columns)
    scores = {name: np.array([[finite[name, seed, v] for v in columns] for seed in seeds]) for name in names}
    resampled = _resample(items, names, seeds, columns, draws)
    return ScoreTable(first, scores, resampled, {name: designs[name] for name in names}, seeds, columns)


def _complete_seeds(values: Mapping[Key, float], name: str, variants: Sequence[Any]) -> set[int]:
    seeds = {seed for contender, seed, _ in values if contender == name}
    return {seed for seed in seeds if all((name, seed, variant) in values for variant in variants)}


def _resample(
    items: Mapping[Key, ItemCounts], names: Sequence[str], seeds: Sequence[int], variants: Sequence[Any], draws: int
) -> dict[str, Array] | None:
    """Bootstrap of the items: scores [draws, seeds, variants] by contender; None where items are not shared."""
    keys = [(name, seed, variant) for name in names for seed in seeds for variant in variants]
    counts = [items[key] for key in keys if key in items]
    if len(counts) < len(keys) or any(one.ids != counts[0].ids for one in counts):
        return None
    weights = bootstrap_weights(counts[0].ids, draws, np.random.default_rng(0))
    scores = {id(one): one.scores(weights) for one in counts}
    return {
        name: np.stack([np.stack([scores[id(items[name, s, v])] for v in variants], -1) for s in seeds], 1)
        for name in names
    }


# ---- paired differences --------------------------------------------------------------------------------------------


def compare(
    scores: Mapping[str, Array],
    resampled: Mapping[str, Array] | None,
    first: str,
    random: np.random.Generator | None = None,
) -> dict[str, PairedDifference]:
    """Paired differences `first` minus each other contender, averaged over seeds and variants.

    Args:
        scores: by contender [seeds, variants], in units of the metric.
        resampled: by contender [draws, seeds, variants], under the same bootstrap draws of the items for all; None
            where items are not known: then the interval holds the noise of seeds alone.
        first: the contender that the others are compared with.
        random: source of the draws; by default one with the seed 0.

    Returns:
        By the name of the other contender, with a 95% interval and p-values; without both where one seed and no items
        leave the noise unknown.
    """
    random = random or np.random.default_rng(0)
    others = [name for name in scores if name != first]
    by_seed = {name: (scores[first] - scores[name]).mean(axis=1) for name in others}
    by_draw = {name: _bootstrap_difference(resampled, first, name) for name in others} if resampled else {}
    variances = _shrink_seed_variances(list(by_seed.values()))
    differences = {}
    for name, variance in zip(others, variances, strict=True):
        errors = _draw_errors(by_seed[name], variance, by_draw.get(name), random)
        differences[name] = _paired_difference(float(by_seed[name].mean()), errors)
    return _holm(differences)


def _bootstrap_difference(resampled: Mapping[str, Array], first: str, other: str) -> Array:
    """The difference under draws of the items [draws, seeds]."""
    return np.asarray((resampled[first] - resampled[other]).mean(axis=2))


@dataclass(frozen=True)
class _SeedVariance:
    """The variance of one seed's difference, and its degrees of freedom (0: unknown)."""

    variance: float
    freedom: float


def _shrink_seed_variances(differences: Sequence[Array]) -> list[_SeedVariance]:
    """Shrinkage of variances: each comparison's variance over seeds, drawn towards the mean of all.

    The comparisons share a contender, which correlates them by about a half: k of them are worth k / (1 + (k - 1) / 4).
    """
    count, seeds = len(differences), len(differences[0]) if differences else 0
    if seeds < 2:
        return [_SeedVariance(0.0, 0.0)] * count
    variances = np.array([difference.var(ddof=1) for difference in differences])
    pooled_freedom = (seeds - 1) * count / (1 + (count - 1) / 4)
    prior = PRIOR_DF if count > 1 else 0.0
    shrunk = (prior * variances.mean() + (seeds - 1) * variances) / (prior + seeds - 1)
    freedom = min(pooled_freedom, prior + seeds - 1) if count > 1 else seeds - 1
    return [_SeedVariance(float(variance), float(freedom)) for variance in shrunk]


def _draw_errors(
    by_seed: Array, seeds: _SeedVariance, by_draw: Array | None, random: np.random.Generator
) -> Array | None:
    """Draws of the error of the mean difference [DRAWS]; None: its noise is unknown."""
    if by_draw is None and not seeds.freedom:
        return None
    item_errors = by_draw.mean(axis=1) - by_draw.mean() if by_draw is not None else np.zeros(DRAWS)
    error = item_errors[random.integers(0, len(item_errors), DRAWS)]
    if seeds.freedom:
        variance = seeds.variance / len(by_seed)
        remaining = max(variance - _shared_variance(by_draw), variance / 4)
        error = error + random.standard_t(seeds.freedom, DRAWS) * np.sqrt(remaining)
    return np.asarray(error)


def _shared_variance(by_draw: Array | None) -> float:
    """The part of the variance that the items' bootstrap and the spread of seeds both hold."""
    if by_draw is None or by_draw.shape[1] < 2:
        return 0.0
    single, together = float(by_draw.var(axis=0).mean()), float(by_draw.mean(axis=1).var())
    return max(0.0, (single - together) / (by_draw.shape[1] - 1))


def _paired_difference(difference: float, errors: Array | None) -> PairedDifference:
    """The basic bootstrap interval, and the two-sided p-value (one draw added, so that it is never 0)."""
    if errors is None:
        return PairedDifference(difference)
    low, high = np.quantile(errors, (0.025, 0.975))
    extreme = int((np.abs(errors) >= abs(difference) - _ROUNDING).sum())
    p_value = (1 + extreme) / (1 + len(errors))
    return PairedDifference(difference, difference - float(high), difference - float(low), p_value)


def _holm(differences: Mapping[str, PairedDifference]) -> dict[str, PairedDifference]:
    """Holm's step-down correction: the smallest p-value times the number of comparisons, the next times one less..."""
    p_values = {name: difference.p_value for name, difference in differences.items() if difference.p_value is not None}
    adjusted, largest = {}, 0.0
    for rank, (name, p_value) in enumerate(sorted(p_values.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, p_value * (len(p_values) - rank)))
        adjusted[name] = largest
    return {name: replace(difference, adjusted_p_value=adjusted.get(name)) for name, difference in differences.items()}
