"""Designs ranked by their score: a row a design, its mean over the seeds of its finished trials.

    rank(results, "weighted_kappa")  ->  [Ranked(design, score=0.78, spread=0.01, ood=0.52, adherence=1.0, ...), ...]

`results` are of one task, model and training size. Pruned trials are left out: their last score is not a final one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sde_ray.design import label
from sde_ray.effects import OUT_OF_DOMAIN, design_of, usable
from sde_ray.types import Design, TrialResult


@dataclass(frozen=True)
class Ranked:
    """A design's place. `spread` is the range over seeds; `ood` is None where out-of-domain is not applicable."""

    design: Design
    score: float
    spread: float
    ood: float | None
    adherence: float | None
    tokens: float
    seconds: float
    trials: int

    @property
    def label(self) -> str:
        return label(self.design)

    def plain(self) -> dict[str, Any]:
        """For JSON and tables: the axes first."""
        numbers = ("score", "spread", "ood", "adherence", "tokens", "seconds", "trials")
        return {**dict(self.design.options), **{name: getattr(self, name) for name in numbers}}


def rank(results: Sequence[TrialResult], objective: str, split: str = "dev") -> list[Ranked]:
    """All designs with a finished trial, best first; equal scores in the order of fewer output tokens."""
    by_design: dict[Design, list[TrialResult]] = {}
    for result in usable(results, objective, split):
        by_design.setdefault(design_of(result), []).append(result)
    ranked = [_row(design, own, objective, split) for design, own in by_design.items()]
    return sorted(ranked, key=lambda row: (-row.score, row.tokens))


def _row(design: Design, results: Sequence[TrialResult], objective: str, split: str) -> Ranked:
    scores = [result.scores[split][objective] for result in results]
    return Ranked(
        design=design,
        score=fmean(scores),
        spread=max(scores) - min(scores),
        ood=_mean([result.scores.get(split + OUT_OF_DOMAIN, {}) for result in results], objective),
        adherence=_mean([result.scores[split] for result in results], "format_adherence"),
        tokens=fmean(result.tokens.get("output", 0.0) for result in results),
        seconds=fmean(result.seconds.get("total", 0.0) for result in results),
        trials=len(results),
    )


def _mean(scores: Sequence[Mapping[str, float]], name: str) -> float | None:
    found = [one[name] for one in scores if name in one]
    return fmean(found) if found else None
