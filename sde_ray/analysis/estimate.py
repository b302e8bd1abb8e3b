"""Point estimates with 95% confidence intervals, and the one way in which they are written.

one = Estimate(0.121, 0.096, 0.147)
one.confidence_interval, one.excludes_zero      (0.096, 0.147), True
format_estimate(one.value, one.low, one.high)   "+0.121 [+0.096, +0.147]"
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its 95% confidence interval; no bounds: the trials at hand cannot estimate their noise."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def confidence_interval(self) -> tuple[float, float] | None:
        """The 95% bounds, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def excludes_zero(self) -> bool:
        """Significance at 5%: the interval is known and does not hold 0."""
        return excludes_zero(self.low, self.high)


def within(estimate: Estimate, low: float, high: float) -> Estimate:
    """The estimate with value and bounds kept within a range: no score, and no difference of scores, lies beyond it."""
    bounds = [None if bound is None else min(max(bound, low), high) for bound in (estimate.low, estimate.high)]
    return Estimate(min(max(estimate.value, low), high), *bounds)


def excludes_zero(low: float | None, high: float | None) -> bool:
    """Is the interval known, and does it lie on one side of 0?"""
    return low is not None and high is not None and (low > 0 or high < 0)


def format_signed(value: float | None) -> str | None:
    """`+0.120`; None of None."""
    return None if value is None else f"{value:+.3f}"


def format_interval(low: float | None, high: float | None) -> str | None:
    """`[+0.080, +0.160]`; None where it is not known."""
    return None if low is None or high is None else f"[{low:+.3f}, {high:+.3f}]"


def format_estimate(value: float, low: float | None, high: float | None, unknown: str = "") -> str:
    """`+0.121 [+0.096, +0.147]`; without an interval `+0.121`, followed by `unknown`."""
    bounds = format_interval(low, high)
    return f"{value:+.3f}{unknown}" if bounds is None else f"{value:+.3f} {bounds}"
