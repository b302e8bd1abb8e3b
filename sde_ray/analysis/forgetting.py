"""Forgetting: what training does to the general set, by design, with an interval that holds the noise of seeds.

    forgetting_by_design(results)[design]  -> Forgetting(base=1.85, tuned=1.92, difference=Estimate(0.07, 0.04, 0.10))

The spread over seeds is pooled over designs, since each has few; to it comes that over passages. Without a design of
two seeds there is no interval. Differences are in bits per byte: above 0 the model knows plain text less well than
before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from sde_ray.analysis.estimate import Estimate, format_estimate
from sde_ray.design.designs import design_of, essential
from sde_ray.evaluation.general_set import has_forgetting
from sde_ray.types import Design, TrialResult


@dataclass(frozen=True)
class Forgetting:
    """Bits per byte of the general set by the base and by the trained model, and their difference.

    `trials`: how many there are; `endings`: share of right endings before and after, where the set has sentences.
    """

    base: float
    tuned: float
    difference: Estimate
    trials: int
    endings: tuple[float, float] | None = None

    def __str__(self) -> str:
        change = format_estimate(self.difference.value, self.difference.low, self.difference.high, " (one seed)")
        return f"{self.base:.3f} → {self.tuned:.3f}, {change}"

    def to_dict(self) -> dict[str, float | None]:
        """For a program, by names that stand beside those of a leaderboard."""
        names = ("general_base_endings", "general_endings")
        endings = dict(zip(names, self.endings, strict=True)) if self.endings else {}
        change = {"general_difference": self.difference.value, "general_low": self.difference.low,
                  "general_high": self.difference.high}  # fmt: skip
        return {"general": self.tuned, "general_base": self.base, **change, **endings}


def forgetting_by_design(results: Iterable[TrialResult]) -> dict[Design, Forgetting]:
    """Of each design whose trials were scored on the general set; designs as `essential` gives them."""
    trials: dict[Design, list[Mapping[str, float]]] = {}
    for result in results:
        if result.status == "finished" and has_forgetting(result.general):
            trials.setdefault(essential(design_of(result)), []).append(result.general)
    several = [[one["difference"] for one in own] for own in trials.values() if len(own) > 1]
    freedom = sum(len(own) - 1 for own in several)
    of_seeds = sum(variance(own) * (len(own) - 1) for own in several) / freedom if freedom else 0.0
    return {design: _forgetting(own, of_seeds, freedom) for design, own in trials.items()}


def _forgetting(trials: Sequence[Mapping[str, float]], of_seeds: float, freedom: int) -> Forgetting:
    difference = fmean(one["difference"] for one in trials)
    estimate = Estimate(difference)
    if freedom:
        from scipy.stats import t

        of_passages = fmean(one["standard_error"] ** 2 for one in trials)  # the same ones for every seed
        half = float(t.ppf(0.975, freedom)) * (of_seeds / len(trials) + of_passages) ** 0.5
        estimate = Estimate(difference, difference - half, difference + half)
    base, tuned = (fmean(one[name] for one in trials) for name in ("base_bits_per_byte", "bits_per_byte"))
    endings = None
    if all({"base_right_endings", "right_endings"} <= set(one) for one in trials):
        endings = fmean(one["base_right_endings"] for one in trials), fmean(one["right_endings"] for one in trials)
    return Forgetting(base, tuned, estimate, len(trials), endings)
