"""Simulated sweeps with a known truth: classified aspects of items, seeds that differ, one set of items for all trials.

    world = draw_world("B", random)
    world.truth(design)                                      the expected score on infinitely many items and seeds
    observe(world, trials, random).results, .items           what a sweep of such a world would have in its ledger

Every item has six aspects with one of four classes each, and the score is the paper's weighted kappa of all answers
(PAPER.md 1.10). An answer is right where a latent sum is above a threshold: how easy the item is (the same for all
trials), how the item takes to the design or to its options, and chance, with variances that add up to 1. A wrong answer
is another class by its frequency, so the kappa of infinitely many items is a function of the chance of a right answer.

`WORLDS` is the table of kinds. Levels of designs are sums of options, pairs and triples, on the logit scale of the
chance of a right answer or on the raw scale of kappa; seeds move them on the same scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import combinations, product
from math import prod

import numpy as np
import numpy.typing as npt
from scipy import special

from sde_ray.config.trial import TrialConfig
from sde_ray.design.axes import AXES
from sde_ray.evaluation.per_item import ItemCounts, TaskItems
from sde_ray.metrics.label import AGREEMENT
from sde_ray.types import Design, TrialResult

Array = npt.NDArray[np.float64]
METRIC = "weighted_kappa"
SPACE = tuple(
    Design(tuple(zip(AXES, options, strict=True)))
    for options in product(*(tuple(name for name, option in axis.options.items() if option.swept)
                             for axis in AXES.values()))
)  # fmt: skip
NUMBER = {design: number for number, design in enumerate(SPACE)}
BASE = Design(tuple((axis.name, axis.default) for axis in AXES.values()))
ASPECTS = 6
CLASSES = np.array([0.25, 0.10, 0.20, 0.45])  # shares in gold: positive, neutral, negative, unmentioned
LOGIT, RAW = "logit", "raw"
MAX_SHARE = 0.995  # of right answers
QUADRATURE = 21  # nodes of Gauss and Hermite for the mean over seeds


# ---- what a world is -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise:
    """Noise of trials: `seed` and the others in units of the world's scale, `item...` as shares of the latent variance.

    `seed`: standard deviation of a trial of a typical design; `unequal`: the factor by which that differs between
    designs (log-normal: one standard deviation); `crossed`: sd of what a seed does to all designs alike; `seed_option`:
    sd of what a seed does to an option.
    """

    seed: float = 0.12
    unequal: float = 1.0
    crossed: float = 0.0
    seed_option: float = 0.0
    item: float = 0.45
    item_design: float = 0.1
    item_option: float = 0.0


@dataclass(frozen=True)
class WorldKind:
    """Distribution of worlds: standard deviations of the coefficients of options, pairs and triples of options.

    Columns are centred indicators of all options but the default, and their products; `presence` is the share of the
    products that count. `mean`, `option`, `pair` and `triple` are in units of `scale`.
    """

    description: str
    mean: float = 1.1
    option: float = 0.35
    pair: float = 0.5
    triple: float = 0.0
    presence: float = 0.3
    scale: str = LOGIT
    noise: Noise = field(default_factory=Noise)


WORLDS = {
    "A": WorldKind("options and pairs on the logit scale"),
    "B": WorldKind("A, seed noise differs by design (x2.2)", noise=Noise(unequal=2.2)),
    "C": WorldKind("A, seeds crossed, seed x option", noise=Noise(crossed=0.08, seed_option=0.06)),
    "D": WorldKind("A, items x options", noise=Noise(item_option=0.2)),
    "E": WorldKind("A, three-way terms, ceiling", mean=2.3, option=0.6, triple=0.7),
    "F": WorldKind(
        "all of it",
        mean=2.3, option=0.6, triple=0.7,
        noise=Noise(unequal=2.2, item_option=0.2, crossed=0.08, seed_option=0.06),
    ),
    "G": WorldKind(
        "options and pairs on the raw scale",
        mean=0.6, option=0.06, pair=0.09, scale=RAW, noise=Noise(seed=0.03),
    ),
    "H": WorldKind("A, nothing interacts", pair=0.0),
    "equal": WorldKind("all designs equal", option=0.0, pair=0.0),
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """One world: the level and the seeds' standard deviation of every design [216], on its scale."""

    levels: Array
    deviations: Array
    noise: Noise
    scale: str = LOGIT

    @cached_property
    def everything(self) -> Array:
        """The true score of every design, in the order of `SPACE` [216]: the mean over items and seeds."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(QUADRATURE)
        shared = self.noise.crossed**2 + len(AXES) * self.noise.seed_option**2
        total = np.sqrt(self.deviations**2 + shared)
        scores = kappa(self.share(self.levels[:, None] + total[:, None] * nodes))
        return np.asarray(scores @ (weights / weights.sum()))

    def truth(self, design: Design) -> float:
        """The true score of a design."""
        return float(self.everything[NUMBER[design]])

    def mean(self, *options: tuple[str, str]) -> float:
        """The mean true score of the designs with these (axis, option)."""
        return float(self.everything[np.logical_and.reduce([_having(*option) for option in options])].mean())

    def share(self, levels: Array) -> Array:
        """The chance of a right answer at these levels."""
        shares = special.expit(levels) if self.scale == LOGIT else share_of_kappa(levels)
        return np.asarray(np.clip(shares, 0.0, MAX_SHARE))


def draw_world(kind: str | WorldKind, random: np.random.Generator) -> World:
    """A random world of a kind: a name of `WORLDS`, or a distribution of its own."""
    row = WORLDS[kind] if isinstance(kind, str) else kind
    levels = np.full(len(SPACE), row.mean)
    for order, sd in ((1, row.option), (2, row.pair), (3, row.triple)):
        columns = _products(order)
        present = random.random(columns.shape[1]) < (row.presence if order > 1 else 1.0)
        levels += columns @ (sd * random.normal(size=columns.shape[1]) * present)
    deviations = row.noise.seed * row.noise.unequal ** random.normal(size=len(SPACE))
    return World(levels, deviations, row.noise, row.scale)


def with_noise(world: World, factors: dict[Design, float]) -> World:
    """The same world in which the seeds of some designs are so many times noisier."""
    deviations = world.deviations.copy()
    for design, factor in factors.items():
        deviations[NUMBER[design]] *= factor
    return replace(world, deviations=deviations)


@lru_cache(maxsize=64)
def _having(axis: str, option: str) -> npt.NDArray[np.bool_]:
    """Which designs of the space have an option."""
    return np.array([design[axis] == option for design in SPACE])


@lru_cache(maxsize=4)
def _products(order: int) -> Array:
    """Products of centred indicators of so many different axes [216, columns]."""
    parts = [_centred(axis) for axis in AXES]
    columns = [
        prod((parts[axis][:, n] for axis, n in zip(axes, numbers, strict=True)), start=np.ones(len(SPACE)))
        for axes in combinations(range(len(parts)), order)
        for numbers in product(*(range(parts[axis].shape[1]) for axis in axes))
    ]
    return np.stack(columns, axis=1)


@lru_cache(maxsize=16)
def _centred(axis: str) -> Array:
    """Indicators of all options but the default, centred over the space."""
    others = [name for name, option in AXES[axis].options.items() if option.swept and name != AXES[axis].default]
    indicators = np.array([_having(axis, option) for option in others], dtype=float).T
    return np.asarray(indicators - indicators.mean(axis=0))


# ---- weighted kappa as a function of the chance of a right answer --------------------------------------------------

_WRONG = (1 - np.eye(len(CLASSES))) * CLASSES
_WRONG /= _WRONG.sum(axis=1, keepdims=True)  # class of a wrong answer, by the gold class
_PARTLY = float(CLASSES @ (_WRONG * AGREEMENT).sum(axis=1))  # mean agreement of a wrong answer
_BY_CHANCE = float(CLASSES @ AGREEMENT @ CLASSES), float(CLASSES @ AGREEMENT @ (CLASSES @ _WRONG))


def kappa(share: Array) -> Array:
    """Weighted kappa on infinitely many items of which this share is answered right."""
    observed = share + (1 - share) * _PARTLY
    chance = share * _BY_CHANCE[0] + (1 - share) * _BY_CHANCE[1]
    return np.asarray((observed - chance) / (1 - chance))


def share_of_kappa(value: Array) -> Array:
    """The inverse of `kappa`, which is a ratio of two linear functions."""
    (right, wrong), room = _BY_CHANCE, _PARTLY
    return np.asarray((wrong - room + value * (1 - wrong)) / (1 - room - right + wrong + value * (right - wrong)))


def _measure(totals: Array) -> Array:
    """Weighted kappa of summed counts [..., gold 4, predicted 4, agreement]."""
    gold, predicted = totals[..., :4], totals[..., 4:8]
    size = gold.sum(axis=-1)
    expected = ((gold @ AGREEMENT) * predicted).sum(axis=-1) / size**2
    return np.asarray((totals[..., 8] / size - expected) / (1 - expected))


# ---- trials --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Observed:
    """What a sweep's ledger and its kept completions would hold, in the order of the trials."""

    results: list[TrialResult]
    items: dict[str, ItemCounts]

    @property
    def scores(self) -> list[float]:
        """Every trial's score."""
        return [scores[METRIC] for result in self.results for scores in result.scores.values()]


def observe(
    world: World,
    trials: Sequence[tuple[Design, int]],
    random: np.random.Generator,
    count: int = 150,
    split: str = "dev",
) -> Observed:
    """Trials (design, seed), all scored on the same items, which are drawn anew."""
    rows = answers(world, trials, random, count)
    ids = tuple(map(str, range(count)))
    results, items = [], {}
    for (design, seed), counts in zip(trials, rows, strict=True):
        key, resolved = _identity(design, seed, count, split)
        score = float(_measure(counts.sum(axis=0)))
        results.append(TrialResult(key, resolved, "finished", {split: {METRIC: score}}))
        items[key] = ItemCounts((TaskItems(ids, counts, _measure),))
    return Observed(results, items)


def trial_of(design: Design, seed: int, count: int = 150, split: str = "dev") -> TrialConfig:
    """The configuration of a simulated trial."""
    return TrialConfig("masa:d1", design, "planted", seed, 500, count, (split,))


@lru_cache(maxsize=10_000)
def _identity(design: Design, seed: int, count: int, split: str) -> tuple[str, dict[str, object]]:
    """A trial's key and resolved configuration."""
    trial = trial_of(design, seed, count, split)
    return trial.key, trial.resolved()


def answers(world: World, trials: Sequence[tuple[Design, int]], random: np.random.Generator, count: int) -> Array:
    """Counts of every trial on every item [trials, items, 9]: gold and predicted classes, agreement."""
    numbers = np.array([NUMBER[design] for design, _ in trials])
    threshold = special.ndtri(world.share(_trial_levels(world, trials, numbers, random)))
    item_part = _item_part(world.noise, numbers, random, count)
    chance = np.sqrt(1 - world.noise.item - world.noise.item_design - world.noise.item_option)
    own = random.normal(size=(count, ASPECTS)).astype(np.float32) * np.sqrt(world.noise.item / 2)
    latent = random.standard_normal((len(trials), count, ASPECTS), dtype=np.float32) * np.float32(chance)
    latent += own + item_part[:, :, None] + threshold[:, None, None].astype(np.float32)
    gold = random.choice(len(CLASSES), (count, ASPECTS), p=CLASSES)
    predicted = np.broadcast_to(gold, latent.shape).copy()
    wrong = np.nonzero(latent <= 0)
    true = gold[wrong[1], wrong[2]]
    reached = random.random(len(true))[:, None] > np.cumsum(_WRONG, axis=1)[true]
    predicted[wrong] = np.minimum(reached.sum(axis=1), len(CLASSES) - 1)
    one_hot = np.eye(len(CLASSES))
    return np.concatenate(
        [
            np.broadcast_to(one_hot[gold].sum(axis=1), (*latent.shape[:2], len(CLASSES))),
            np.stack([(predicted == n).sum(axis=2) for n in range(len(CLASSES))], axis=2),
            AGREEMENT[gold[None], predicted].sum(axis=2)[:, :, None],
        ],
        axis=2,
    )


def _trial_levels(
    world: World, trials: Sequence[tuple[Design, int]], numbers: npt.NDArray[np.intp], random: np.random.Generator
) -> Array:
    """Levels of trials: the design's, moved by the trial's own luck and by what its seed does to all and to options."""
    seeds, index = np.unique([seed for _, seed in trials], return_inverse=True)
    levels = world.levels[numbers] + world.deviations[numbers] * random.normal(size=len(trials))
    shared = world.noise.crossed * random.normal(size=len(seeds))
    by_option = world.noise.seed_option * random.normal(size=(len(seeds), _indicators().shape[1]))
    return np.asarray(levels + shared[index] + (by_option[index] * _indicators()[numbers]).sum(axis=1))


def _item_part(noise: Noise, numbers: npt.NDArray[np.intp], random: np.random.Generator, count: int) -> Array:
    """What items do to trials [trials, items]: to all, to a design, to an option; all aspects of an item alike."""
    common = np.sqrt(noise.item / 2) * random.normal(size=count)
    unique, index = np.unique(numbers, return_inverse=True)
    own = np.sqrt(noise.item_design) * random.normal(size=(len(unique), count))
    by_option = np.sqrt(noise.item_option / len(AXES)) * random.normal(size=(_indicators().shape[1], count))
    return np.asarray((common + own + _indicators()[unique] @ by_option)[index], dtype=np.float32)


@lru_cache(maxsize=1)
def _indicators() -> Array:
    """Indicators of every option of every axis [216, options]."""
    options = [(axis, name) for axis, row in AXES.items() for name, option in row.options.items() if option.swept]
    return np.array([_having(*option) for option in options], dtype=float).T


def one_at_a_time() -> list[Design]:
    """The baseline, and each other option alone."""
    apart = {design: sum(a != b for a, b in zip(design.options, BASE.options, strict=True)) for design in SPACE}
    return [BASE, *(design for design in SPACE if apart[design] == 1)]
