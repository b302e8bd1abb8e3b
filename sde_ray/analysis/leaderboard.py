"""Designs ranked by their score: a row a design, its mean over the seeds of its finished trials.

    rank(results, "weighted_kappa")  ->  [Ranked(design, score=0.78, spread=0.01, ood=0.52, adherence=1.0, ...), ...]

`results` are of one task, model and training size. Pruned trials are left out: their last score is not a final one.

The first of many is partly lucky. `lead` asks whether any design is better than the baseline by more than the luckiest
of them all would be: its interval holds for all designs at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sde_ray.analysis.effects import OUT_OF_DOMAIN, design_of, reference_of, scored_results
from sde_ray.analysis.estimate import Estimate, format_estimate
from sde_ray.analysis.response_surface import SurfaceFit
from sde_ray.design.designs import paper_label
from sde_ray.types import Design, TrialResult


@dataclass(frozen=True)
class RankedDesign:
    """A design's place. `spread`: range over seeds, None of a single one; `ood`: None where it is not applicable."""

    design: Design
    score: float
    spread: float | None
    ood: float | None
    adherence: float | None
    tokens: float
    seconds: float
    trials: int

    @property
    def label(self) -> str:
        return paper_label(self.design)

    def to_dict(self) -> dict[str, Any]:
        """For JSON and tables: the axes first."""
        numbers = ("score", "spread", "ood", "adherence", "tokens", "seconds", "trials")
        return {**dict(self.design.options), **{name: getattr(self, name) for name in numbers}}


def rank_designs(results: Sequence[TrialResult], objective: str, split: str = "dev") -> list[RankedDesign]:
    """All designs with a finished trial, best first; equal scores in the order of fewer output tokens."""
    by_design: dict[Design, list[TrialResult]] = {}
    for result in scored_results(results, objective, split):
        by_design.setdefault(design_of(result), []).append(result)
    ranked = [_row(design, own, objective, split) for design, own in by_design.items()]
    return sorted(ranked, key=lambda row: (-row.score, row.tokens))


def _row(design: Design, results: Sequence[TrialResult], objective: str, split: str) -> RankedDesign:
    scores = [result.scores[split][objective] for result in results]
    return RankedDesign(
        design=design,
        score=fmean(scores),
        spread=max(scores) - min(scores) if len(scores) > 1 else None,
        ood=_mean([result.scores.get(split + OUT_OF_DOMAIN, {}) for result in results], objective),
        adherence=_mean([result.scores[split] for result in results], "format_adherence"),
        tokens=fmean(result.tokens.get("output", 0.0) for result in results),
        seconds=fmean(result.seconds.get("total", 0.0) for result in results),
        trials=len(results),
    )


def _mean(scores: Sequence[Mapping[str, float]], name: str) -> float | None:
    found = [one[name] for one in scores if name in one]
    return fmean(found) if found else None


@dataclass(frozen=True)
class BestVsBaseline:
    """How far the best design is ahead of the baseline, by the response surface, for as many as were compared."""

    design: Design
    baseline: Design
    estimate: Estimate
    compared: int

    @property
    def summary(self) -> str:
        """One sentence."""
        one = self.estimate
        if one.low is None or one.high is None:
            return "One trial a design and too few designs: whether the best is better than the baseline is not known."
        found = format_estimate(one.value, one.low, one.high)
        if one.low > 0:
            name = paper_label(self.design)
            return f"{name} is better than the baseline by {found}, also as the best of {self.compared}."
        return f"The best is not shown to be better than the baseline: {found}, as the best of {self.compared}."

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        one = self.estimate
        numbers = {"difference": one.value, "low": one.low, "high": one.high, "compared": self.compared}
        return {"design": self.design.slug, "baseline": self.baseline.slug, **numbers, "summary": self.summary}


def compare_best(ranked: Sequence[RankedDesign], fitted: SurfaceFit) -> BestVsBaseline | None:
    """The lead of the design that the surface expects most of; None where the baseline's options were not tried."""
    axes = {axis: reference_of(axis, options) for axis, options in fitted.coding.axes}
    if not axes or not ranked:
        return None
    baseline = ranked[0].design.replace(**axes)
    others = [row.design for row in ranked if row.design != baseline]
    if not others:
        return None
    start = fitted.coding.row(baseline)
    found = fitted.simultaneous_intervals([fitted.coding.row(design) - start for design in others])
    best = max(range(len(others)), key=lambda n: found[n].value)
    return BestVsBaseline(others[best], baseline, found[best], len(others))
