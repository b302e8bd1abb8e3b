"""Do models agree on which designs are good? Rank correlations of their leaderboards, with intervals.

    correlations({"llama": {design: 0.71, ...}, "qwen": {...}})
    -> [Agreement("llama", "qwen", designs=10, spearman=Estimate(0.83, 0.42, 0.96), kendall=Estimate(0.69, 0.27, 0.89))]

In: each group's mean score by design; only designs that both of a pair have tried count. Intervals by Fisher's z with
the standard errors of Bonett and Wright (2000): they say what other designs of this space would have given. Scores are
noisy, which makes two rankings look less alike than they are; more seeds bring the correlation up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from scipy import stats

from sde_ray.analysis.estimate import Estimate
from sde_ray.types import Design

MIN_DESIGNS = 5  # designs in common; fewer have no interval that means anything


@dataclass(frozen=True)
class RankAgreement:
    """How alike two groups rank the designs that both have tried."""

    first: str
    second: str
    designs: int
    spearman: Estimate
    kendall: Estimate

    def to_dict(self) -> dict[str, Any]:
        """A flat row for JSON, MLflow and tables."""
        values = {
            f"{name}{part}": value
            for name, one in (("spearman", self.spearman), ("kendall", self.kendall))
            for part, value in (("", one.value), ("_low", one.low), ("_high", one.high))
        }
        return {"first": self.first, "second": self.second, "designs": self.designs, **values}


def rank_correlations(scores: Mapping[str, Mapping[Design, float]]) -> list[RankAgreement]:
    """Every pair of groups with enough designs in common, in the order given."""
    found = []
    for (first, mine), (second, other) in combinations(scores.items(), 2):
        common = [design for design in mine if design in other]
        ours, theirs = [mine[design] for design in common], [other[design] for design in common]
        if len(common) >= MIN_DESIGNS and len(set(ours)) > 1 and len(set(theirs)) > 1:
            rho, tau = stats.spearmanr(ours, theirs).statistic, stats.kendalltau(ours, theirs).statistic
            found.append(
                RankAgreement(
                    first, second, len(common), spearman_interval(rho, len(common)), kendall_interval(tau, len(common))
                )
            )
    return found


def spearman_interval(rho: float, count: int) -> Estimate:
    """Spearman's correlation of `count` designs with its interval."""
    return _interval(float(rho), math.sqrt((1 + rho**2 / 2) / (count - 3)), count)


def kendall_interval(tau: float, count: int) -> Estimate:
    """Kendall's correlation of `count` designs with its interval."""
    return _interval(float(tau), math.sqrt(0.437 / (count - 4)), count)


def _interval(value: float, error: float, count: int) -> Estimate:
    """Fisher's z; two rankings that are the same have no error of their own, so one that is nearly so lends it."""
    nearly = 1 - 1 / count**2
    middle = math.atanh(min(max(value, -nearly), nearly))
    low, high = math.tanh(middle - 1.96 * error), math.tanh(middle + 1.96 * error)
    return Estimate(value, min(low, value), max(high, value))
