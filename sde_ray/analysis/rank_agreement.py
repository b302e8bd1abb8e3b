"""Rank correlation of leaderboards (Spearman, Kendall) with confidence intervals: do models agree on the designs?

    rank_correlations({"llama": {design: 0.71, ...}, "qwen": {...}})
    -> [RankAgreement("llama", "qwen", designs=10, spearman=Estimate(0.83, 0.42, 0.96), kendall=Estimate(...))]

In: each group's mean score by design; only designs that both of a pair have tried count. Intervals by Fisher's z with
the standard errors of Bonett and Wright (2000): they say what other designs of this space would have given. Scores are
noisy, which makes two rankings look less alike than they are (attenuation); more seeds bring the correlation up.
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

MIN_DESIGNS = 5  # in common; of fewer the interval says nothing


@dataclass(frozen=True)
class RankAgreement:
    """Rank correlations of two groups over the designs that both have tried."""

    first: str
    second: str
    designs: int
    spearman: Estimate
    kendall: Estimate

    def to_dict(self) -> dict[str, Any]:
        """A flat row for JSON, MLflow and tables."""
        values = {
            f"{name}{suffix}": value
            for name, estimate in (("spearman", self.spearman), ("kendall", self.kendall))
            for suffix, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
        }
        return {"first": self.first, "second": self.second, "designs": self.designs, **values}


def rank_correlations(scores: Mapping[str, Mapping[Design, float]]) -> list[RankAgreement]:
    """Rank correlations of every pair of groups with at least `MIN_DESIGNS` designs in common, in their order."""
    rows = []
    for (first, first_scores), (second, second_scores) in combinations(scores.items(), 2):
        common = [design for design in first_scores if design in second_scores]
        x, y = [first_scores[design] for design in common], [second_scores[design] for design in common]
        if len(common) >= MIN_DESIGNS and len(set(x)) > 1 and len(set(y)) > 1:
            rho, tau = stats.spearmanr(x, y).statistic, stats.kendalltau(x, y).statistic
            rows.append(
                RankAgreement(
                    first, second, len(common), spearman_interval(rho, len(common)), kendall_interval(tau, len(common))
                )
            )
    return rows


def spearman_interval(rho: float, count: int) -> Estimate:
    """Spearman's rho of `count` designs with its 95% interval (standard error of Bonett and Wright)."""
    return _interval(float(rho), math.sqrt((1 + rho**2 / 2) / (count - 3)), count)


def kendall_interval(tau: float, count: int) -> Estimate:
    """Kendall's tau of `count` designs with its 95% interval (standard error of Fieller, Hartley and Pearson)."""
    return _interval(float(tau), math.sqrt(0.437 / (count - 4)), count)


def _interval(value: float, error: float, count: int) -> Estimate:
    """Fisher's z transform; a correlation of exactly ±1 has no error, so the interval is that of one just below."""
    bound = 1 - 1 / count**2
    z = math.atanh(min(max(value, -bound), bound))
    low, high = math.tanh(z - 1.96 * error), math.tanh(z + 1.96 * error)
    return Estimate(value, min(low, value), max(high, value))
