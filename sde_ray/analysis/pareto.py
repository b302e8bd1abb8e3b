"""The designs that are worth their price: no other one is both shorter and better.

    front(study.ranked)     [Ranked("lines", 0.71, tokens 14), Ranked("cot", 0.78, tokens 61)], the cheapest first

The price of a design is what serving it costs: the mean output tokens of a completion. Of several designs with the same
score the shortest is on the front, of several of the same length the best. Scores are means of trials, with their
noise: each step has a gain over the one before with its interval, and one across 0 is not shown to be worth its price.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.leaderboard import RankedDesign
from sde_ray.analysis.response_surface import SurfaceFit

T = TypeVar("T")


@dataclass(frozen=True)
class ParetoPoint:
    """A design of the front, and what it gains over the next cheaper one (None for the cheapest)."""

    row: RankedDesign
    tokens: float
    gain: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """A flat row for JSON, MLflow and tables."""
        gain = self.gain or Estimate(0.0)
        known = {} if self.gain is None else {"gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
        empty = dict.fromkeys(("gain", "gain_low", "gain_high"))
        own = {"design": self.row.design.slug, "label": self.row.label, "score": self.row.score}
        return {**own, "tokens": self.tokens, "adherence": self.row.adherence, **empty, **known}


def undominated(points: Iterable[T], cost: Callable[[T], float], worth: Callable[[T], float]) -> list[T]:
    """The points that no other one beats, from the cheapest on: each is better than all cheaper ones."""
    found: list[T] = []
    for point in sorted(points, key=lambda one: (cost(one), -worth(one))):
        if not found or worth(point) > worth(found[-1]):
            found.append(point)
    return found


def pareto_front(ranked: Sequence[RankedDesign], fitted: SurfaceFit | None = None) -> list[ParetoPoint]:
    """The front of designs that ran; `fitted` is their response surface, which tells how sure each gain is."""
    rows = undominated((row for row in ranked if row.tokens > 0), lambda row: row.tokens, lambda row: row.score)
    steps = [ParetoPoint(row, row.tokens, None) for row in rows[:1]]
    for cheaper, row in zip(rows, rows[1:]):  # noqa: B905, RUF007
        steps.append(ParetoPoint(row, row.tokens, _gain(row, cheaper, fitted)))
    return steps


def _gain(row: RankedDesign, cheaper: RankedDesign, fitted: SurfaceFit | None) -> Estimate:
    """What the response surface expects of the one over the other; without a surface, what was seen."""
    if fitted is None or not (fitted.covers(row.design) and fitted.covers(cheaper.design)):
        return Estimate(row.score - cheaper.score)
    return fitted.difference(row.design, cheaper.design)
