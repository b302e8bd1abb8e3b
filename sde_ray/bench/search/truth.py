"""Known truths for benchmarks of search: every design's true value, and what a trial of it would report.

    truth = PAPER.draw(seed, designs)
    truth.report(design, seed=0, rung=2)        value + the rung's departure for this design + this trial's noise
    truth.regret(design)                        how far a chosen design lies below the best one

A family of surfaces is a distribution of truths. `FAMILIES` are those that are reported; `TUNING` are
further ones for trying things out: other seeds, other distributions (heavy tails, other noise, other rungs).
A bounded family is additive on the logit scale, where designs also have deviations of their own: near its bounds scores
crowd and vary less, as those of real tasks do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from numpy.polynomial.hermite_e import hermegauss

from sde_ray.search.scale import LogitScale
from sde_ray.types import Design

Array = npt.NDArray[np.float64]
RUNGS = (0.25, 0.5, 1.0)
SEEDS = tuple(range(64))  # as many repetitions of a design as any search could want
REPORTED, TUNED = 10_000, 500_000  # where the seeds of surfaces begin


@dataclass(frozen=True, eq=False)
class Truth:
    """Values by design, departures by rung and design (none at the last), noise by seed and design.

    Truths are equal only where they are the same object.

    A value is the expected score of a full trial. `bounds`: those of the metric, which a search may know; None: none.
    `reference`: the value that regret is counted from; None: the best of all values.
    """

    designs: tuple[Design, ...]
    values: Array
    departures: Array
    noise: Array
    rungs: tuple[float, ...] = RUNGS
    bounds: tuple[float, float] | None = None
    reference: float | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(range(len(self.noise)))

    def report(self, design: Design, seed: int = 0, rung: int = -1) -> float:
        """The score that a trial reports. Its noise is that of the trial: the same at each of its rungs."""
        number = self.number[design]
        return float(self.values[number] + self.departures[rung, number] + self.noise[seed, number])

    def regret(self, design: Design) -> float:
        """Simple regret: the best true value minus that of the design."""
        best = self.values.max() if self.reference is None else self.reference
        return float(best - self.values[self.number[design]])

    @property
    def number(self) -> dict[Design, int]:
        return _numbers(self.designs)


_KNOWN: dict[tuple[Design, ...], dict[Design, int]] = {}


def _numbers(designs: tuple[Design, ...]) -> dict[Design, int]:
    if designs not in _KNOWN:
        _KNOWN[designs] = {design: number for number, design in enumerate(designs)}
    return _KNOWN[designs]


@dataclass(frozen=True)
class SurfaceFamily:
    """How surfaces are drawn. Columns are the centred indicators of all options, and their products over two axes.

    `tails`: degrees of freedom of Student's t for the coefficients; None: normal. `departures`: standard deviation of
    the fixed departure of a design at each rung below the last.
    """

    name: str
    description: str
    main: float
    pair: float
    presence: float
    noise: float
    departures: tuple[float, ...] = (0.02, 0.01)
    tails: float | None = None

    def draw(self, seed: int, designs: tuple[Design, ...]) -> Truth:
        chance = np.random.default_rng(seed)
        mains, pairs = columns(designs)
        values = self._surface(chance, mains, pairs)
        departures = [chance.normal(0, sd, len(designs)) for sd in self.departures]
        noise = chance.normal(0, self.noise, (len(SEEDS), len(designs)))
        return Truth(designs, values, np.array([*departures, np.zeros(len(designs))]), noise)

    def _surface(self, chance: np.random.Generator, mains: Array, pairs: Array) -> Array:
        values = mains @ (self.main * self._drawn(chance, mains.shape[1]))
        present = chance.random(pairs.shape[1]) < self.presence
        return np.asarray(values + pairs @ (self.pair * self._drawn(chance, pairs.shape[1]) * present))

    def _drawn(self, chance: np.random.Generator, count: int) -> Array:
        if self.tails is None:
            return chance.normal(0, 1, count)
        return chance.standard_t(self.tails, count) / np.sqrt(self.tails / (self.tails - 2))


@dataclass(frozen=True)
class BoundedFamily(SurfaceFamily):
    """Surfaces of a bounded metric: all scales are in units of the logit between the bounds.

    `level`: mean of the logits. `deviation`: standard deviation of what a design has of its own. `slope`: by how much
    the log of the noise falls as the logit rises by one.
    """

    level: float = 1.5
    deviation: float = 0.25
    slope: float = 0.1
    bounds: tuple[float, float] = (-1.0, 1.0)

    def draw(self, seed: int, designs: tuple[Design, ...]) -> Truth:
        chance, scale = np.random.default_rng(seed), LogitScale(*self.bounds)
        logits = self.level + self._surface(chance, *columns(designs))
        logits = logits + self.deviation * self._drawn(chance, len(designs))
        spread = self.noise * np.exp(-self.slope * (logits - self.level))
        points, weights = hermegauss(15)
        values = scale.inverse(logits[:, None] + spread[:, None] * points) @ (weights / weights.sum())
        shifts = [chance.normal(0, sd, len(designs)) for sd in self.departures]
        departures = [scale.inverse(logits + shift) - scale.inverse(logits) for shift in shifts]
        scores = scale.inverse(logits + spread * chance.normal(0, 1, (len(SEEDS), len(designs))))
        return Truth(
            designs, values, np.array([*departures, np.zeros(len(designs))]), scores - values, bounds=self.bounds
        )


def columns(designs: Sequence[Design]) -> tuple[Array, Array]:
    """Centred indicators of every option of every axis, and all their products over two axes."""
    parts = []
    for n in range(len(designs[0].options)):
        chosen = [design.options[n][1] for design in designs]
        options = list(dict.fromkeys(chosen))
        if len(options) > 1:
            indicators = np.array([[name == option for option in options] for name in chosen])
            parts.append(indicators - 1 / len(options))
    products = [(a[:, :, None] * b[:, None, :]).reshape(len(designs), -1) for a, b in combinations(parts, 2)]
    return np.concatenate(parts, axis=1), np.concatenate(products, axis=1)


PAPER = SurfaceFamily("paper", "options 0.04, pairs 0.05 with probability 0.2, noise 0.03", 0.04, 0.05, 0.2, 0.03)
HEAVIER = SurfaceFamily(
    "interactions", "options 0.04, pairs 0.06 with probability 0.4, noise 0.015", 0.04, 0.06, 0.4, 0.015
)
CEILING = BoundedFamily(
    "ceiling",
    "a metric from -1 to 1; on the logit scale options 0.6, pairs 0.3 with probability 0.3, designs 0.25, noise 0.2",
    0.6,
    0.3,
    0.3,
    0.2,
    (0.3, 0.15),
)
NOTHING = SurfaceFamily("no_effects", "all designs are equal, noise 0.03", 0.0, 0.0, 0.0, 0.03)
FAMILIES = {family.name: family for family in (PAPER, HEAVIER, CEILING, NOTHING)}

TUNING = {
    family.name: family
    for family in (
        SurfaceFamily("tails", "heavy-tailed options and pairs", 0.05, 0.03, 0.5, 0.02, (0.03, 0.012), tails=3.0),
        SurfaceFamily("noisy", "few pairs, much noise", 0.03, 0.06, 0.1, 0.05, (0.015, 0.01)),
        BoundedFamily(
            "near_one",
            "a metric from 0 to 1, near its upper bound: heavy-tailed options, large deviations of designs",
            0.45,
            0.2,
            0.5,
            0.15,
            (0.2, 0.1),
            tails=4.0,
            level=2.2,
            deviation=0.35,
            slope=0.05,
            bounds=(0.0, 1.0),
        ),
        BoundedFamily(
            "middle",
            "a metric from 0 to 1, about its middle: strong pairs, much noise",
            0.4,
            0.4,
            0.4,
            0.3,
            (0.2, 0.1),
            level=0.3,
            deviation=0.15,
            slope=0.0,
            bounds=(0.0, 1.0),
        ),
    )
}
