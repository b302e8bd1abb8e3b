"""Pareto front of score against output tokens: the designs that no other one beats in both.

    pareto_front(study.ranked)     [ParetoPoint("lines", 0.71, tokens 14), ParetoPoint("cot", 0.78, tokens 61)]

The cheapest comes first. The cost of a design is what serving it costs: the mean output tokens of a completion. Of
several designs with the same score the shortest is on the front, of several of the same length the best. Scores are
means of trials, with their noise: each point has a gain over the one before with its interval, and one across 0 is not
shown to be worth its price.
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
    """A design of the Pareto front, and its gain in score over the next cheaper one (None for the cheapest)."""

    row: RankedDesign
    tokens: float
    gain: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """A flat row for JSON, MLflow and tables."""
        gain = self.gain
        return {
            "design": self.row.design.slug,
            "label": self.row.label,
            "score": self.row.score,
            "tokens": self.tokens,
            "adherence": self.row.adherence,
            "gain": gain and gain.value,
            "gain_low": gain and gain.low,
            "gain_high": gain and gain.high,
        }


def undominated(points: Iterable[T], cost: Callable[[T], float], score: Callable[[T], float]) -> list[T]:
    """The Pareto-optimal points, from the cheapest on: each is better than all cheaper ones."""
    front: list[T] = []
    for point in sorted(points, key=lambda point: (cost(point), -score(point))):
        if not front or score(point) > score(front[-1]):
            front.append(point)
    return front


def pareto_front(ranked: Sequence[RankedDesign], fitted: SurfaceFit | None = None) -> list[ParetoPoint]:
    """Pareto front of the designs that ran, the cheapest first.

    Args:
        ranked: the leaderboard.
        fitted: its response surface, for the confidence intervals of the gains; without it they have none.
    """
    rows = undominated((row for row in ranked if row.tokens > 0), lambda row: row.tokens, lambda row: row.score)
    points = [ParetoPoint(row, row.tokens, None) for row in rows[:1]]
    for cheaper, row in zip(rows, rows[1:]):  # noqa: B905, RUF007
        points.append(ParetoPoint(row, row.tokens, _gain(row, cheaper, fitted)))
    return points


def _gain(row: RankedDesign, cheaper: RankedDesign, fitted: SurfaceFit | None) -> Estimate:
    """The difference by the response surface; without a surface, the difference of the means."""
    if fitted is None or not (fitted.covers(row.design) and fitted.covers(cheaper.design)):
        return Estimate(row.score - cheaper.score)
    return fitted.difference(row.design, cheaper.design)
