"""One sweep over several models: which findings hold for all of them, and whether they rank the designs alike.

    for one in across(studies): one.findings, one.agreement, one.words
    one.findings[0]    Finding("format", "lines", by_model={"tiny": Estimate(0.12, 0.08, 0.16), ...}, signs="+++")

A finding is an option's effect against its axis' default (paper section 1.14). It holds where every model's interval
lies on the same side of zero. The pooled effect is a random-effects mean over models (DerSimonian and Laird 1986, with
the interval of Hartung and Knapp 2001, which is honest for few models): models are a sample, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from sde_ray.analysis.correlate import Ranked, rank_correlations
from sde_ray.design import label
from sde_ray.study import Study
from sde_ray.surface import Estimate
from sde_ray.types import Design

SIGNS = {1: "+", -1: "−", 0: "0", None: "?"}
FEWEST = 4  # designs that two models must share for a rank correlation


@dataclass(frozen=True)
class Finding:
    """An option's effect on each model. `signs`: one a model, + or − of an interval without zero, ? without one."""

    axis: str
    option: str
    reference: str
    by_model: Mapping[str, Estimate]
    pooled: Estimate
    signs: str
    holds: str

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """Two models' rankings of the designs they share. `place`: what the first one's best design is on the second."""

    models: tuple[str, str]
    designs: int
    spearman: Ranked
    best: Design
    place: int


@dataclass(frozen=True)
class Across:
    """Several models on one task and training size. `concordance`: Kendall's W over all models, 1 where all agree."""

    task: str
    train_size: int
    models: tuple[str, ...]
    findings: tuple[Finding, ...]
    agreement: tuple[Agreement, ...]
    concordance: float | None
    words: str

    def plain(self) -> dict[str, Any]:
        """For a program."""
        pairs = [{**asdict(one), "best": one.best.slug} for one in self.agreement]
        return {**asdict(self), "findings": [one.plain() for one in self.findings], "agreement": pairs}


def across(studies: Sequence[Study]) -> list[Across]:
    """A row a task and training size that several models have trials for."""
    groups: dict[tuple[str, int], list[Study]] = {}
    for study in studies:
        groups.setdefault((study.group.task, study.group.train_size), []).append(study)
    return [_across(task, size, own) for (task, size), own in groups.items() if len(own) > 1]


def _across(task: str, size: int, studies: Sequence[Study]) -> Across:
    models = tuple(study.group.model for study in studies)
    effects = {study.group.model: {(row["axis"], row["option"]): row for row in study.effects} for study in studies}
    shared = [key for key in effects[models[0]] if all(key in own for own in effects.values())]
    findings = tuple(_finding(*key, {model: effects[model][key] for model in models}) for key in shared)
    scores = {study.group.model: {row.design: row.score for row in study.ranked} for study in studies}
    pairs = tuple(found for one, other in combinations(models, 2) if (found := _agree(one, other, scores)))
    weight = concordance([scores[model] for model in models])
    return Across(task, size, models, findings, pairs, weight, _words(models, findings, pairs, weight))


def _finding(axis: str, option: str, rows: Mapping[str, Mapping[str, Any]]) -> Finding:
    by_model = {model: Estimate(row["difference"], row["low"], row["high"]) for model, row in rows.items()}
    signs = [_sign(one) for one in by_model.values()]
    reference = str(next(iter(rows.values()))["reference"])
    said = "".join(SIGNS[sign] for sign in signs)
    return Finding(axis, option, reference, by_model, pool(list(by_model.values())), said, _holds(signs))


def _sign(one: Estimate) -> int | None:
    if one.low is None or one.high is None:
        return None
    return 1 if one.low > 0 else -1 if one.high < 0 else 0


def _holds(signs: Sequence[int | None]) -> str:
    better, worse = signs.count(1), signs.count(-1)
    if better and worse:
        return "depends on the model"
    if better == len(signs):
        return "better on all"
    if worse == len(signs):
        return "worse on all"
    if better or worse:
        return f"{'better' if better else 'worse'} on {better or worse} of {len(signs)}, not shown on the others"
    return "not shown"


def pool(estimates: Sequence[Estimate]) -> Estimate:
    """The mean effect over models, with an interval for the next model's; none where a model has none."""
    values = np.array([one.value for one in estimates])
    bounds = [(one.low, one.high) for one in estimates if one.low is not None and one.high is not None]
    if len(bounds) < len(values) or len(values) < 2:
        return Estimate(float(values.mean()))
    variances = np.array([max((high - low) / (2 * 1.96), 1e-9) ** 2 for low, high in bounds])
    weights = 1 / variances
    mean = float((weights * values).sum() / weights.sum())
    spread = float((weights * (values - mean) ** 2).sum())
    scale = weights.sum() - (weights**2).sum() / weights.sum()
    between = max(0.0, (spread - (len(values) - 1)) / scale)
    weights = 1 / (variances + between)
    mean = float((weights * values).sum() / weights.sum())
    observed = float((weights * (values - mean) ** 2).sum()) / (len(values) - 1)
    error = float(np.sqrt(max(1.0, observed) / weights.sum()))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return Estimate(mean, mean - reach, mean + reach)


def _agree(one: str, other: str, scores: Mapping[str, Mapping[Design, float]]) -> Agreement | None:
    shared = [design for design in scores[one] if design in scores[other]]
    if len(shared) < FEWEST:
        return None
    x, y = (np.array([scores[model][design] for design in shared]) for model in (one, other))
    best = int(x.argmax())
    return Agreement((one, other), len(shared), rank_correlations(x, y)[0], shared[best], 1 + int((y > y[best]).sum()))


def concordance(scores: Sequence[Mapping[Design, float]]) -> float | None:
    """Kendall's W of several rankings of the designs that all have; ties take their mean rank."""
    shared = [design for design in scores[0] if all(design in own for own in scores)]
    if len(shared) < FEWEST:
        return None
    ranks = np.array([stats.rankdata([own[design] for design in shared]) for own in scores])
    raters, count = ranks.shape
    sums = ranks.sum(axis=0)
    ties = sum(float((sizes**3 - sizes).sum()) for sizes in (np.unique(own, return_counts=True)[1] for own in ranks))
    most = raters**2 * (count**3 - count) - raters * ties
    return float(12 * ((sums - sums.mean()) ** 2).sum() / most) if most else None


def _words(models: Sequence[str], findings: Sequence[Finding], pairs: Sequence[Agreement], weight: float | None) -> str:
    always = [one for one in findings if one.holds.endswith("on all")]
    mixed = [one for one in findings if one.holds == "depends on the model"]
    named = ", ".join(f"{one.axis}={one.option} {one.holds.split()[0]}" for one in always)
    parts = [
        f"{len(always)} of {len(findings)} findings hold for all {len(models)} models{': ' + named if always else ''}."
    ]
    if mixed:
        parts.append(f"{', '.join(f'{one.axis}={one.option}' for one in mixed)} help one model and hurt another.")
    if weight is not None:
        parts.append(f"The models' rankings of the designs agree with W = {weight:.2f}.")
    for one in pairs:
        parts.append(
            f"The best design on {one.models[0]}, {label(one.best)}, is number {one.place} of {one.designs} on "
            f"{one.models[1]}."
        )
    return " ".join(parts)
