"""The learning curve: scores by training size, and how many samples the better design saves.

    saved = savings(cells, sizes=[40, 80, 160])
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

from sde_ray.analysis.verdict import ASSEMBLED
from sde_ray.pipeline.robustness.conditions import Cells

Array = npt.NDArray[np.float64]
DRAWS = 1000


@dataclass(frozen=True)
class Saving:
    """Samples that the assembled design needs for a control's score `at` its largest size; infinity: more than that."""

    control: str
    at: int
    needs: float
    low: float | None = None
    high: float | None = None
    fewest: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which has no infinity."""
        return {key: None if value == math.inf else value for key, value in asdict(self).items()}

    @property
    def words(self) -> str:
        """In one sentence."""
        if math.isinf(self.needs):
            return f"{self.control}'s score at {self.at} samples is not reached by the assembled design with as many."
        few = self.needs <= self.fewest
        said = f"{self.fewest} samples or fewer" if few else f"about {self.needs:.0f} samples"
        share = 1 - self.needs / self.at
        span = "" if self.low is None or self.high is None else f" [{self._bound(self.low)}, {self._bound(self.high)}]"
        what = f"saves {'at least ' if few else ''}{share:.0%}" if share > 0.005 else "saves none"
        return f"For {self.control}'s score at {self.at} samples the assembled design needs {said}{span}: it {what}."

    def _bound(self, value: float) -> str:
        if math.isinf(value):
            return f"more than {self.at}"
        return f"at most {self.fewest}" if value <= self.fewest else f"{value:.0f}"


def savings(cells: Cells, sizes: Sequence[int]) -> list[Saving]:
    """For each control of another design. `cells.variants` are the training sizes."""
    if ASSEMBLED not in cells.scores or len(sizes) < 2:
        return []
    order = [cells.variants.index(size) for size in sizes]
    curves = {name: scores[:, order] for name, scores in cells.scores.items()}
    drawn = _drawn(cells, order)
    found = []
    for name in curves:
        if cells.designs[name] == cells.designs[ASSEMBLED]:
            continue
        ours, goal = curves[ASSEMBLED].mean(axis=0), float(curves[name].mean(axis=0)[-1])
        low = high = None
        if drawn is not None:
            spread = [
                reaches(own, float(other[-1]), sizes) for own, other in zip(drawn[ASSEMBLED], drawn[name], strict=True)
            ]
            low, high = (float(np.quantile(spread, share, method="nearest")) for share in (0.025, 0.975))
        found.append(Saving(name, sizes[-1], reaches(ours, goal, sizes), low, high, sizes[0]))
    return found


def reaches(curve: Array, goal: float, sizes: Sequence[int]) -> float:
    """The first size at which a curve comes up to the goal; infinity where it does not."""
    if curve[0] >= goal:
        return float(sizes[0])
    for n in range(1, len(sizes)):
        if curve[n] >= goal:
            share = (goal - curve[n - 1]) / (curve[n] - curve[n - 1])
            return float(math.exp(math.log(sizes[n - 1]) + share * math.log(sizes[n] / sizes[n - 1])))
    return math.inf


def _drawn(cells: Cells, order: Sequence[int]) -> dict[str, Array] | None:
    """Curves (draws, sizes) under draws of items and of seeds, the same for all contenders."""
    seeds = len(cells.seeds)
    if cells.drawn is None and seeds < 3:
        return None
    random = np.random.default_rng(1)
    taken = random.integers(0, seeds, (DRAWS, seeds))
    found = {}
    for name, scores in cells.scores.items():
        if cells.drawn is None:
            found[name] = scores[:, order][taken].mean(axis=1)
        else:
            own = cells.drawn[name][:, :, order]
            which = np.arange(DRAWS) % len(own)
            found[name] = np.take_along_axis(own[which], taken[:, :, None], axis=1).mean(axis=1)
    return found
