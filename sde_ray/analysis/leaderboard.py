"""Leaderboard: designs ranked by their shrunken mean score over the seeds of their finished trials.

    rank_designs(results, "weighted_kappa", fitted=fit_results(results, "weighted_kappa"))
    -> [RankedDesign(design, score=0.78, expected=0.77, spread=0.01, ood=0.52, adherence=1.0, ...), ...]

`results` are of one task, model and training size. Pruned trials are left out: their last score is not a final one.

The best of many is partly lucky (selection bias), most of all where it has a single trial. So designs are ranked by the
mean that the response surface expects of them (empirical Bayes): between their own mean and what their options promise,
the nearer to their own the more trials they have and the less noise there is. The first of them is the "best seen".
`compare_best` asks whether any design is better than the baseline by
more than the luckiest of them all would be: its simultaneous confidence interval holds for all designs at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from sde_ray.analysis.effects import OUT_OF_DOMAIN, reference_of, scored_results
from sde_ray.analysis.estimate import Estimate, format_estimate
from sde_ray.analysis.forgetting import Forgetting, forgetting_by_design
from sde_ray.analysis.response_surface import SurfaceFit, simultaneous_intervals
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import design_of, essential, paper_label
from sde_ray.types import Design, TrialResult


@dataclass(frozen=True)
class RankedDesign:
    """A row of the leaderboard: the means over a design's finished trials.

    `expected`: what the response surface expects of the design, which ranks it; the mean `score` where none is given.
    `spread`: range of the score over seeds, None of a single one. `ood`: score out-of-domain, None where it is not
    applicable. `adherence`: format adherence, a share. `tokens`: output tokens of a completion. `seconds`: of a trial.
    `general`: what its training does to the general set, where that was scored.
    """

    design: Design
    score: float
    expected: float
    spread: float | None
    ood: float | None
    adherence: float | None
    tokens: float
    seconds: float
    trials: int
    general: Forgetting | None = None

    @property
    def label(self) -> str:
        return paper_label(self.design)

    def to_dict(self) -> dict[str, Any]:
        """For JSON and tables: the axes first."""
        numbers = ("score", "expected", "spread", "ood", "adherence", "tokens", "seconds", "trials")
        general = self.general.to_dict() if self.general else {}
        return {**dict(self.design.options), **{name: getattr(self, name) for name in numbers}, **general}


def rank_designs(
    results: Sequence[TrialResult], objective: str, split: str = "dev", fitted: SurfaceFit | None = None
) -> list[RankedDesign]:
    """The leaderboard: all designs with a finished trial, best first, equal ones by fewer output tokens.

    Args:
        results: trials of one task, model and training size.
        objective: the metric that ranks, more is better.
        split: whose scores.
        fitted: the response surface of these trials, whose expected scores rank; without it the mean scores do.

    Raises:
        UserError: when no finished trial has the metric.
    """
    by_design: dict[Design, list[TrialResult]] = {}
    for result in scored_results(results, objective, split):
        by_design.setdefault(design_of(result), []).append(result)
    general = forgetting_by_design(results)
    ranked = [
        replace(_row(design, trials, objective, split, fitted), general=general.get(essential(design)))
        for design, trials in by_design.items()
    ]
    return sorted(ranked, key=lambda row: (-row.expected, row.tokens))


def _row(
    design: Design, results: Sequence[TrialResult], objective: str, split: str, fitted: SurfaceFit | None
) -> RankedDesign:
    scores = [result.scores[split][objective] for result in results]
    return RankedDesign(
        design=design,
        score=fmean(scores),
        expected=fitted.predict(design) if fitted else fmean(scores),
        spread=max(scores) - min(scores) if len(scores) > 1 else None,
        ood=_mean([result.scores.get(split + OUT_OF_DOMAIN, {}) for result in results], objective),
        adherence=_mean([result.scores[split] for result in results], "format_adherence"),
        tokens=fmean(result.tokens.get("output", 0.0) for result in results),
        seconds=fmean(result.seconds.get("total", 0.0) for result in results),
        trials=len(results),
    )


def _mean(scores: Sequence[Mapping[str, float]], name: str) -> float | None:
    values = [by_metric[name] for by_metric in scores if name in by_metric]
    return fmean(values) if values else None


@dataclass(frozen=True)
class BestVsBaseline:
    """The best design against the baseline, by the response surface, with an interval corrected for the selection.

    `compared`: number of designs that the simultaneous interval holds for.
    """

    design: Design
    baseline: Design
    estimate: Estimate
    compared: int

    @property
    def summary(self) -> str:
        """In one sentence."""
        low, high = self.estimate.low, self.estimate.high
        if low is None or high is None:
            return "One trial a design and too few designs: whether the best is better than the baseline is not known."
        difference = format_estimate(self.estimate.value, low, high)
        rows = {axis: find_axis(axis) for axis, _ in self.design.options}
        alike = " and ".join(axis for axis, row in rows.items() if row.nuisance or row.resource)
        baseline = f"the baseline at the same {alike}" if alike else "the baseline"
        if low > 0:
            name = paper_label(self.design)
            return f"{name} is better than {baseline} by {difference}, also as the best of {self.compared}."
        return f"The best is not shown to be better than {baseline}: {difference}, as the best of {self.compared}."

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        estimate = self.estimate
        numbers = {"difference": estimate.value, "low": estimate.low, "high": estimate.high, "compared": self.compared}
        return {"design": self.design.slug, "baseline": self.baseline.slug, **numbers, "summary": self.summary}


def compare_best(ranked: Sequence[RankedDesign], fitted: SurfaceFit) -> BestVsBaseline | None:
    """Compare the design with the highest predicted score to the baseline, corrected for multiple comparisons.

    Of a nuisance axis and of an amount such as the training size the baseline has the design's own option. None where
    its other options were not tried, or no other design was.
    """
    swept = {a: options for a, options in fitted.coding.axes if not (find_axis(a).nuisance or find_axis(a).resource)}
    axes = {a: reference_of(a, options) for a, options in swept.items()}
    if not axes or not ranked:
        return None
    baselines = {row.design: row.design.replace(**axes) for row in ranked}
    others = [design for design, baseline in baselines.items() if design != baseline]
    if not others:
        return None
    estimates = simultaneous_intervals([fitted.contrast(design, baselines[design]) for design in others])
    best = max(range(len(others)), key=lambda n: estimates[n].value)
    return BestVsBaseline(others[best], baselines[others[best]], estimates[best], len(others))
