"""Measurement: the repeats of one measure with its unit, and their median, range and ratios.

wall = Measurement("process", "s", (151.0, 147.2, 149.9))
wall.median, wall.low, wall.high                             149.9, 147.2, 151.0
ratio("process / ours", wall, ours).median                   of the repeats' own ratios
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """Measured values of one quantity, one a repeat; `unit`: of all of them."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def to_dict(self) -> dict[str, Any]:
        """A row of the JSON output."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "low": self.low,
            "high": self.high,
            "values": list(self.values),
        }


def ratio(name: str, numerator: Measurement, denominator: Measurement) -> Measurement:
    """The ratio of two measures repeat by repeat, since two values of one repeat share the state of the machine."""
    pairs = zip(numerator.values, denominator.values, strict=True)
    return Measurement(name, "x", tuple(above / below for above, below in pairs))


def best_batch_size(rates: Mapping[int, float]) -> int:
    """The batch size with the highest rate; of equal ones the smallest, which needs the least memory."""
    return max(sorted(rates), key=lambda size: rates[size])


def batch_sizes_for(sizes: Iterable[int], items: int) -> list[int]:
    """The batch sizes that differ for so many items: those below, and the smallest that holds all."""
    ascending = sorted(set(sizes))
    below = [size for size in ascending if size < items]
    return [*below, *[size for size in ascending if size >= items][:1]]


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that an action takes, the GPU's part of it included, and what it returns."""
    synchronize()
    started = time.perf_counter()
    value = action()
    synchronize()
    return time.perf_counter() - started, value


def synchronize() -> None:
    """Wait until the GPU has done what it was given, if there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
