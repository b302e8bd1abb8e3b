"""Cells of the calibration table: sums counted in simulated sweeps, and ratios of sums with their Monte Carlo error.

    tally = Tally()
    tally.hold("effects", estimate, truth)        1 of 1 if the interval holds the truth
    summarise([tally.sums, ...])["effects"]       (0.953, 0.011): the ratio over all sweeps, half its 95% interval

What one sweep counts is a numerator and a denominator, as sweeps have different numbers of, say, large interactions.
The intervals of one sweep err together, so the error of a ratio is that of a mean over sweeps, not over intervals.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sde_ray.bench.worlds import SPACE, one_at_a_time
from sde_ray.types import Design

Sums = dict[str, tuple[float, float]]
Z = 1.96


@dataclass(frozen=True)
class Cell:
    """A cell: the row that it belongs to, a kind of world or noise, and a size (of a sweep, or a number of seeds)."""

    row: str
    world: str
    size: str

    def __str__(self) -> str:
        return f"{self.row}/{self.world}/{self.size}"

    def random(self, seed: int, number: int) -> np.random.Generator:
        """The source of everything random in sweep `number`, whatever else is counted."""
        return np.random.default_rng([seed, number, zlib.crc32(str(self).encode())])


class Tally:
    """Sums of one sweep: name -> (numerator, denominator)."""

    def __init__(self) -> None:
        self.sums: Sums = {}

    def add(self, name: str, value: float, weight: float = 1.0) -> None:
        """Count `value` of `weight`."""
        numerator, denominator = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = numerator + float(value), denominator + float(weight)

    def hold(self, name: str, low: float | None, high: float | None, truth: float, width: str = "") -> None:
        """Count whether an interval holds the truth, and its width; nothing where there is no interval."""
        if low is None or high is None:
            return
        self.add(name, low <= truth <= high)
        if width:
            self.add(width, high - low)


def summarise(sweeps: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, tuple[float, float]]:
    """Ratios of sums over sweeps: name -> (ratio, half its 95% interval), in the order in which names first occur."""
    names = dict.fromkeys(name for sums in sweeps for name in sums)
    return {name: _ratio(np.array([sums[name] for sums in sweeps if name in sums], dtype=float)) for name in names}


def _ratio(pairs: np.ndarray) -> tuple[float, float]:
    """Ratio of sums [sweeps, 2] and half its 95% interval, by linearisation.

    Of shares that are 0 or 1 by Agresti and Coull, so that none in 100 is not "never".
    """
    numerators, denominators = pairs.T
    count, total = len(pairs), float(denominators.sum())
    ratio = float(numerators.sum()) / total if total else math.nan
    if np.all(numerators == 0) or np.array_equal(numerators, denominators):
        share = (count * ratio + 2) / (count + 4)
        return ratio, Z * math.sqrt(share * (1 - share) / (count + 4))
    if count == 1:
        return ratio, math.nan
    rest = numerators - ratio * denominators
    return ratio, Z * math.sqrt(count / (count - 1) * float(rest @ rest)) / total


def sweep_trials(size: str, random: np.random.Generator) -> list[tuple[Design, int]]:
    """The trials (design, seed) of a sweep of random designs.

    "24x2": 24 designs, two seeds each; "24x2-3": three seeds for a quarter of them; "10x2": one axis at a time.
    """
    number, _, seeds = size.partition("x")
    fewest, _, most = seeds.partition("-")
    if int(number) == len(one_at_a_time()):
        designs = one_at_a_time()
    else:
        designs = [SPACE[n] for n in random.permutation(len(SPACE))[: int(number)]]
    more = len(designs) // 4 if most else 0
    counts = [int(most or 0)] * more + [int(fewest)] * (len(designs) - more)
    return [(design, seed) for design, count in zip(designs, counts, strict=True) for seed in range(count)]
