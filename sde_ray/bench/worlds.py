"""Simulated sweeps with a known truth: seeds that differ, and one set of items that all trials have in common.

    world = draw_world(random, interactions=True)
    world.truth(design)                                      the score of a design on all items there could be
    observe(world, designs, seeds, random).results, .items   what a sweep of such a world would have in its ledger

An item is answered right where a latent sum is above 0: the design's level, a shift of the seed, how easy the item is
(the same for all), how the item takes to the design, and chance. The variances of all but the level add up to 1, so the
truth is exactly the normal distribution function of the level. A score is the mean over items, a proportion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
from scipy import stats

from sde_ray.config.trial import TrialConfig
from sde_ray.design.axes import AXES
from sde_ray.evaluation.per_item import ItemCounts, TaskItems
from sde_ray.types import Design, TrialResult

Array = npt.NDArray[np.float64]
METRIC = "accuracy"
SPACE = tuple(
    Design(tuple(zip(AXES, options, strict=True)))
    for options in product(*(tuple(name for name, option in axis.options.items() if option.swept)
                             for axis in AXES.values()))
)  # fmt: skip
BASE = Design(tuple((axis.name, axis.default) for axis in AXES.values()))
MIN_SCORE, MAX_SCORE = 0.03, 0.97


@lru_cache(maxsize=64)
def _having(axis: str, option: str) -> npt.NDArray[np.bool_]:
    """Which designs of the space have an option."""
    return np.array([design[axis] == option for design in SPACE])


@dataclass(frozen=True)
class Noise:
    """Shares of the latent variance; the rest is chance of a single answer. `seed` 0.0064: about 0.03 in scores."""

    seed: float = 0.0064
    item: float = 0.45
    item_design: float = 0.2

    @property
    def chance(self) -> float:
        return 1.0 - self.seed - self.item - self.item_design


@dataclass(frozen=True)
class World:
    """A truth for every design, and how noisily trials show it."""

    scores: Mapping[Design, float]
    noise: Noise = Noise()

    def truth(self, design: Design) -> float:
        return self.scores[design]

    @cached_property
    def everything(self) -> Array:
        """The truths in the order of `SPACE`."""
        return np.array([self.scores[design] for design in SPACE])

    def mean(self, *options: tuple[str, str]) -> float:
        """The mean truth of the designs with these (axis, option)."""
        return float(self.everything[np.logical_and.reduce([_having(*option) for option in options])].mean())


def draw_world(
    random: np.random.Generator,
    interactions: bool,
    spread: float = 0.04,
    pairs: float = 0.05,
    share: float = 0.2,
    noise: Noise = Noise(),
) -> World:
    """A random surface: each option of each axis, and with `interactions` a share of the pairs of options, counts.

    `spread` and `pairs` are standard deviations of centred columns; 0 for both is a world of equal designs.
    """
    parts = [_centred(axis) for axis in AXES]
    score = np.full(len(SPACE), 0.68)
    for part in parts:
        score += part @ random.normal(0.0, spread, part.shape[1])
    for first, second in combinations(parts, 2):
        columns = np.einsum("ni,nj->nij", first, second).reshape(len(SPACE), -1)
        present = random.random(columns.shape[1]) < share
        drawn = random.normal(0.0, pairs, columns.shape[1]) * present
        score += columns @ drawn if interactions else 0.0
    return World(dict(zip(SPACE, np.clip(score, MIN_SCORE, MAX_SCORE).tolist(), strict=True)), noise)


@lru_cache(maxsize=16)
def _centred(axis: str) -> Array:
    """Indicators of all options but the default, centred over the space."""
    others = [name for name, option in AXES[axis].options.items() if option.swept and name != AXES[axis].default]
    indicators = np.array([_having(axis, option) for option in others], dtype=float).T
    return np.asarray(indicators - indicators.mean(axis=0))


def outcomes(
    world: World, designs: Sequence[Design], seeds: int, random: np.random.Generator, count: int = 200
) -> Array:
    """Right (1) or wrong (0) by trial and item, seed after seed within a design; the items are drawn anew."""
    noise, shape = world.noise, (len(designs), seeds, count)
    level = stats.norm.ppf([world.truth(design) for design in designs])[:, None, None]
    latent = level + math.sqrt(noise.item) * random.normal(size=count)
    latent = latent + math.sqrt(noise.item_design) * random.normal(size=(len(designs), 1, count))
    latent = latent + math.sqrt(noise.seed) * random.normal(size=(len(designs), seeds, 1))
    latent = latent + math.sqrt(noise.chance) * random.normal(size=shape)
    return np.asarray((latent > 0).astype(float).reshape(-1, count))


@dataclass(frozen=True)
class Observed:
    """What a sweep's ledger and its kept completions would hold, and the trials, in the order of `outcomes`."""

    trials: list[TrialConfig]
    results: list[TrialResult]
    items: dict[str, ItemCounts]


def observe(
    world: World,
    designs: Sequence[Design],
    seeds: Sequence[int],
    random: np.random.Generator,
    count: int = 200,
    split: str = "dev",
) -> Observed:
    """Trials of the designs with each seed, all scored on the same items."""
    right = outcomes(world, designs, len(seeds), random, count)
    trials = [TrialConfig("masa:d1", d, "planted", seed, 500, count, (split,)) for d in designs for seed in seeds]
    ids = tuple(map(str, range(count)))
    ones = np.ones(count)
    results = [
        TrialResult(trial.key, trial.resolved(), "finished", {split: {METRIC: float(row.mean())}})
        for trial, row in zip(trials, right, strict=True)
    ]
    items = {
        result.key: ItemCounts((TaskItems(ids, np.column_stack([row, ones]), _share),))
        for result, row in zip(results, right, strict=True)
    }
    return Observed(trials, results, items)


def _share(totals: Array) -> Array:
    return np.asarray(totals[..., 0] / totals[..., 1])


def one_at_a_time() -> list[Design]:
    """The baseline, and each other option alone."""
    apart = {design: sum(a != b for a, b in zip(design.options, BASE.options, strict=True)) for design in SPACE}
    return [BASE, *(design for design in SPACE if apart[design] == 1)]
