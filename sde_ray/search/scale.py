"""Scale on which scores are modelled: as they are, or by a logit between the bounds of a bounded metric.

    scale = LogitScale(-1.0, 1.0)
    scale.inverse(scale.forward(scores))                    the scores again
    choose(scores, candidate_scales(bounds), log_evidence)  the scale with the highest marginal likelihood

Near a bound scores cannot vary as much as in the middle, effects shrink, and an additive surface predicts what no score
can be. On the logit scale all three vanish. Which scale fits is a question to the scores: a log marginal likelihood of
transformed scores becomes one of the scores themselves by the log of the Jacobian, so scales are compared like models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
MARGIN = 0.005  # share of a metric's range by which its bounds are widened, so that a perfect score stays finite


@dataclass(frozen=True)
class Scale:
    """Identity scale: scores as they are. The base class of other scales."""

    name = "identity"

    def forward(self, scores: npt.ArrayLike) -> Array:
        """Scores on this scale."""
        return np.asarray(scores, dtype=float)

    def inverse(self, values: npt.ArrayLike) -> Array:
        """Scores in units of the metric, never beyond its bounds."""
        return np.asarray(values, dtype=float)

    def slope(self, scores: npt.ArrayLike) -> Array:
        """Derivative of `forward` at these scores: a small error of a score times this is one on the scale."""
        return np.ones_like(np.asarray(scores, dtype=float))

    def expected(self, mean: npt.ArrayLike, variance: npt.ArrayLike) -> Array:
        """Expected score where the value on this scale is normal with this mean and variance."""
        return self.inverse(mean)

    def log_jacobian(self, scores: npt.ArrayLike) -> float:
        """What turns a log likelihood of transformed scores into one of the scores."""
        return float(np.log(self.slope(scores)).sum())


@dataclass(frozen=True)
class LogitScale(Scale):
    """Log odds of a score between the bounds of its metric, which are widened by `MARGIN` of the range.

    For bounds of -1 and 1 that is twice Fisher's z.
    """

    low: float = 0.0
    high: float = 1.0
    name = "logit"

    @property
    def _widened(self) -> tuple[float, float]:
        """The lower bound and the range, both with the margin."""
        margin = MARGIN * (self.high - self.low)
        return self.low - margin, self.high - self.low + 2 * margin

    def _share(self, scores: npt.ArrayLike) -> Array:
        low, width = self._widened
        inside = np.clip(np.asarray(scores, dtype=float), self.low, self.high)
        return np.asarray((inside - low) / width)

    def forward(self, scores: npt.ArrayLike) -> Array:
        share = self._share(scores)
        return np.asarray(np.log(share / (1 - share)))

    def inverse(self, values: npt.ArrayLike) -> Array:
        low, width = self._widened
        odds = np.exp(-np.abs(np.asarray(values, dtype=float)))  # of the nearer bound: never overflows
        share = np.where(np.asarray(values) > 0, 1 / (1 + odds), odds / (1 + odds))
        return np.asarray(np.clip(low + width * share, self.low, self.high))

    def expected(self, mean: npt.ArrayLike, variance: npt.ArrayLike) -> Array:
        # Averaged over the normal, a logistic function is very nearly a flatter one (MacKay 1992).
        return self.inverse(np.asarray(mean) / np.sqrt(1 + np.pi / 8 * np.asarray(variance)))

    def slope(self, scores: npt.ArrayLike) -> Array:
        share = self._share(scores)
        return np.asarray(1 / (share * (1 - share) * self._widened[1]))


IDENTITY = Scale()


def candidate_scales(bounds: tuple[float, float] | None) -> tuple[Scale, ...]:
    """The scales that a metric with these bounds may be modelled on; None: it has no bounds."""
    return (IDENTITY,) if bounds is None else (IDENTITY, LogitScale(*bounds))


def choose(scores: Array, scales: Sequence[Scale], log_evidence: Callable[[Array], float]) -> Scale:
    """The scale with the highest marginal likelihood of the scores.

    Args:
        scores: in units of the metric, [score].
        scales: the candidates; the first of equals is taken.
        log_evidence: log marginal likelihood of a model of transformed scores.
    """
    if len(scales) == 1:
        return scales[0]
    return max(scales, key=lambda scale: log_evidence(scale.forward(scores)) + scale.log_jacobian(scores))
