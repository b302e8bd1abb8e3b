"""Learning curve: scores by training size, and the sample efficiency of the better design.

    saved = savings(table, sizes=[40, 80, 160])
    saved[0]     Saving("baseline", at=160, needs=62.0, low=44.0, high=95.0)

`needs` is the training size at which the assembled design reaches what a control reaches at its largest size, read off
its own curve, which is straight between sizes on a logarithmic scale. The interval comes from curves with drawn errors:
those of the items, the same draws for both, and those of the seeds, normal with a standard deviation that is drawn,
too, from the model of all contenders and sizes (`seed_noise.py`). Two seeds cannot show how a curve may bend, so below
`MIN_SEEDS` there is no interval. A curve says nothing beyond its ends: `low` at the smallest size means "that or
fewer", and infinity "more than the largest".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.paired import ScoreTable
from sde_ray.analysis.seed_noise import draw_seed_sd
from sde_ray.analysis.verdict import ASSEMBLED

Array = npt.NDArray[np.float64]
DRAWS = 4000
MIN_SEEDS = 3  # that a contender shares with the assembled design


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
    errors = _draw_errors(table, order)
    rows = []
    for name, design in table.designs.items():
        if design == table.designs[ASSEMBLED]:
            continue
        shared = np.asarray(np.isfinite(table.scores[name]).all(axis=1))
        curve, goal = (table.scores[one][shared][:, order].mean(axis=0) for one in (ASSEMBLED, name))
        low = high = None
        if errors is not None and shared.sum() >= MIN_SEEDS:
            curves, goals = curve + errors(ASSEMBLED, name, shared), goal[-1] + errors(name, ASSEMBLED, shared)[:, -1]
            draws = [reaches(one, float(at), sizes) for one, at in zip(curves, goals, strict=True)]
            low, high = (float(np.quantile(draws, share, method="nearest")) for share in (0.025, 0.975))
        rows.append(Saving(name, sizes[-1], reaches(curve, float(goal[-1]), sizes), low, high, sizes[0]))
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


def _draw_errors(table: ScoreTable, order: Sequence[int]) -> Callable[[str, str, npt.NDArray[np.bool_]], Array] | None:
    """Draws of the error of a contender's curve [draws, sizes], as a function of the seeds it is averaged over.

    The function takes the contender, the one it is held against (items count only where both have them), and which
    seeds they share. None where no noise of seeds is known.
    """
    names = list(table.scores)
    cells = np.concatenate([table.scores[name][:, order].T for name in names])  # [contenders * sizes, seeds]
    sd = draw_seed_sd(cells, table.scale, table.replicates, shared_luck=False)
    if sd is None:
        return None

    def errors(name: str, other: str, shared: npt.NDArray[np.bool_]) -> Array:
        first = names.index(name) * len(order)
        variance = sd[np.arange(DRAWS) % len(sd), first : first + len(order)] ** 2 / shared.sum()
        items: Array = np.zeros((1, len(order)))
        seeds_of_items = 0.0
        if table.resampled and name in table.resampled and other in table.resampled:
            by_seed = table.resampled[name][:, shared][:, :, order]
            items = by_seed.mean(axis=1) - by_seed.mean(axis=(0, 1))
            alone = by_seed.var(axis=0).mean(axis=0)
            seeds_of_items = np.maximum(0.0, (alone - items.var(axis=0)) / (shared.sum() - 1))
        remaining = np.maximum(variance - seeds_of_items, variance / 4)
        random = np.random.default_rng([1, first])
        return np.asarray(
            items[np.arange(DRAWS) % len(items)] + random.normal(size=remaining.shape) * np.sqrt(remaining)
        )

    return errors
