"""Learning curve: scores by training size, and the sample efficiency of the better design.

    saved = savings(table, sizes=[40, 80, 160])
    saved[0]     Saving("baseline", at=160, needs=62.0, low=44.0, high=95.0)

`needs` is the training size at which the assembled design reaches what a control reaches at its largest size, read off
its own curve, which is straight between sizes on a logarithmic scale. The interval comes from the same draws of items
and seeds for both. A curve says nothing beyond its ends: `low` at the smallest size means "that or fewer", and infinity
"more than the largest".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.paired import ScoreTable
from sde_ray.analysis.verdict import ASSEMBLED

Array = npt.NDArray[np.float64]
DRAWS = 1000


@dataclass(frozen=True)
class Saving:
    """Samples that the assembled design needs for a control's score `at` its largest size, with a 95% interval.

    Infinity: more than that size. `smallest`: the smallest size trained.
    """

    control: str
    at: int
    needs: float
    low: float | None = None
    high: float | None = None
    smallest: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity."""
        return {key: None if value == math.inf else value for key, value in asdict(self).items()}

    @property
    def summary(self) -> str:
        """In one sentence."""
        if math.isinf(self.needs):
            return f"{self.control}'s score at {self.at} samples is not reached by the assembled design with as many."
        few = self.needs <= self.smallest
        needs = f"{self.smallest} samples or fewer" if few else f"about {self.needs:.0f} samples"
        share = 1 - self.needs / self.at
        span = "" if self.low is None or self.high is None else f" [{self._bound(self.low)}, {self._bound(self.high)}]"
        effect = f"saves {'at least ' if few else ''}{share:.0%}" if share > 0.005 else "saves none"
        return f"For {self.control}'s score at {self.at} samples the assembled design needs {needs}{span}: it {effect}."

    def _bound(self, value: float) -> str:
        if math.isinf(value):
            return f"more than {self.at}"
        return f"at most {self.smallest}" if value <= self.smallest else f"{value:.0f}"


def savings(table: ScoreTable, sizes: Sequence[int]) -> list[Saving]:
    """How many samples the assembled design saves against each control of another design.

    Args:
        table: scores by training seed and training size (the variants), with the bootstrap of the items.
        sizes: the training sizes in ascending order; fewer than two have no curve.
    """
    if ASSEMBLED not in table.scores or len(sizes) < 2:
        return []
    order = [table.variants.index(size) for size in sizes]
    curves = {name: scores[:, order] for name, scores in table.scores.items()}
    resampled = _resample_curves(table, order)
    rows = []
    for name in curves:
        if table.designs[name] == table.designs[ASSEMBLED]:
            continue
        assembled, goal = curves[ASSEMBLED].mean(axis=0), float(curves[name].mean(axis=0)[-1])
        low = high = None
        if resampled is not None:
            draws = [
                reaches(curve, float(control[-1]), sizes)
                for curve, control in zip(resampled[ASSEMBLED], resampled[name], strict=True)
            ]
            low, high = (float(np.quantile(draws, share, method="nearest")) for share in (0.025, 0.975))
        rows.append(Saving(name, sizes[-1], reaches(assembled, goal, sizes), low, high, sizes[0]))
    return rows


def reaches(curve: Array, goal: float, sizes: Sequence[int]) -> float:
    """The first size at which a curve comes up to the goal; infinity where it does not."""
    if curve[0] >= goal:
        return float(sizes[0])
    for n in range(1, len(sizes)):
        if curve[n] >= goal:
            share = (goal - curve[n - 1]) / (curve[n] - curve[n - 1])
            return float(math.exp(math.log(sizes[n - 1]) + share * math.log(sizes[n] / sizes[n - 1])))
    return math.inf


def _resample_curves(table: ScoreTable, order: Sequence[int]) -> dict[str, Array] | None:
    """Bootstrap over items and seeds: curves [draws, sizes] by contender, with the same draws for all."""
    num_seeds = len(table.seeds)
    if table.resampled is None and num_seeds < 3:
        return None
    random = np.random.default_rng(1)
    seeds = random.integers(0, num_seeds, (DRAWS, num_seeds))
    curves = {}
    for name, scores in table.scores.items():
        if table.resampled is None:
            curves[name] = scores[:, order][seeds].mean(axis=1)
        else:
            by_items = table.resampled[name][:, :, order]
            draws = np.arange(DRAWS) % len(by_items)
            curves[name] = np.take_along_axis(by_items[draws], seeds[:, :, None], axis=1).mean(axis=1)
    return curves
