"""Several models, tasks or training sizes of one sweep together: rank agreement, and partial pooling of effects.

    for cross_study in cross_studies(studies): cross_study.kind, cross_study.agreements, cross_study.rows

A family is a set of studies that differ in one thing: models on one task, tasks with one model, training sizes of both.
Of each: how alike their rankings of designs are (`rank_agreement.py`), the sign of every effect in every group, and the
effect that they share, with each group's shrunk towards it (`pooling.py`). Where a group cannot tell the noise of its
effect (one seed), the groups themselves are the replicates: the shared effect is then their mean, with Student's t over
the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sde_ray.analysis.effects import Effect, effect_contrasts
from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.pooling import PooledEffects, mean_over_groups, partial_pooling
from sde_ray.analysis.rank_agreement import RankAgreement, rank_correlations
from sde_ray.analysis.study import Study
from sde_ray.tasks.titles import task_title

KINDS = {"models": "model", "tasks": "task", "training sizes": "train_size"}
Key = tuple[str, str, str]  # axis, option, the option it is compared with


@dataclass(frozen=True)
class SharedEffect:
    """An option's effect in every group: as estimated there alone, partially pooled, and what all share.

    `pooled` is None where not all groups have the option, or the noise of one is not known. `shared` is then the mean
    of the groups with Student's t over them; None where not all groups have the option, or all effects are equal.
    """

    axis: str
    option: str
    reference: str
    alone: dict[str, Estimate]
    pooled: dict[str, Estimate] | None
    shared: Estimate | None

    @property
    def signs(self) -> dict[str, str]:
        """By group: + or − where its own interval excludes 0, (+) or (−) where it does not."""
        return {name: format_sign(estimate) for name, estimate in self.alone.items()}

    @property
    def verdict(self) -> str:
        """Do the groups agree, in words? Only significant effects can contradict each other."""
        significant = [estimate.value > 0 for estimate in self.alone.values() if estimate.excludes_zero]
        if len(set(significant)) == 2:
            return "they contradict each other"
        if len(significant) == len(self.alone):
            return "all agree"
        same_sign = len({estimate.value > 0 for estimate in self.alone.values()}) == 1
        signs = "the same sign" if same_sign else "signs differ"
        return f"{signs}, shown in {len(significant)} of {len(self.alone)}"

    def to_dict(self) -> dict[str, Any]:
        """A flat row for JSON, MLflow and tables."""
        row: dict[str, Any] = {"axis": self.axis, "option": self.option, "reference": self.reference}
        shared = self.shared
        row |= {"shared": shared and shared.value, "low": shared and shared.low, "high": shared and shared.high}
        for name, estimate in self.alone.items():
            row[f"{name}: sign"] = format_sign(estimate)
            for part, value in (("alone", estimate), ("pooled", (self.pooled or {}).get(name))):
                row[f"{name}: {part}"] = value and value.value
                row[f"{name}: {part} low"], row[f"{name}: {part} high"] = value and value.low, value and value.high
        return row | {"says": self.verdict}


def short_names(groups: Sequence[str]) -> dict[str, str]:
    """Column titles of groups: a folder's last name where no other group has it, else the whole name."""
    last = {name: name.rstrip("/").rpartition("/")[2] if name.startswith(("/", ".", "~")) else name for name in groups}
    return {name: title if list(last.values()).count(title) == 1 else name for name, title in last.items()}


def format_sign(estimate: Estimate) -> str:
    """`+`, `−`, or in brackets where the interval holds 0 or is not known."""
    sign = "+" if estimate.value > 0 else "−" if estimate.value < 0 else "0"
    return sign if estimate.excludes_zero else f"({sign})"


@dataclass(frozen=True)
class CrossStudy:
    """A family of studies that differ in `kind`; `within` says in words what they have in common.

    `group_sd`: standard deviation of the groups' true effects, in units of the score; None where nothing was pooled.
    """

    kind: str
    within: str
    groups: tuple[str, ...]
    agreements: list[RankAgreement]
    rows: list[SharedEffect]
    group_sd: float | None

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "kind": self.kind,
            "within": self.within,
            "groups": list(self.groups),
            "agreements": [one.to_dict() for one in self.agreements],
            "effects": [one.to_dict() for one in self.rows],
            "group_sd": self.group_sd,
        }


def cross_studies(studies: Sequence[Study]) -> list[CrossStudy]:
    """Every family of at least two studies with scores: models, then tasks, then training sizes."""
    rows = []
    for kind, name in KINDS.items():
        families: dict[tuple[Any, ...], dict[str, Study]] = {}
        for study in studies:
            others = tuple(getattr(study.group, other) for other in KINDS.values() if other != name)
            if study.ranked:
                families.setdefault((*others, study.objective), {})[str(getattr(study.group, name))] = study
        rows += [_family(kind, family) for family in families.values() if len(family) > 1]
    return rows


def _family(kind: str, studies: dict[str, Study]) -> CrossStudy:
    group = next(iter(studies.values())).group
    shared = {"task": task_title(group.task), "model": group.model, "train_size": group.samples}
    within = ", ".join(value for name, value in shared.items() if name != KINDS[kind])
    agreements = rank_correlations(
        {name: {row.design: row.score for row in one.ranked} for name, one in studies.items()}
    )
    rows, group_sd = _shared_effects(studies, replicates=kind != "training sizes")
    return CrossStudy(kind, within, tuple(studies), agreements, rows, group_sd)


def _shared_effects(studies: dict[str, Study], replicates: bool) -> tuple[list[SharedEffect], float | None]:
    """Every option's effect, pooled over the options that all groups have.

    `replicates`: groups may stand for others like them, as models do; training sizes do not.
    """
    effects = {name: {_key(effect): effect for effect in study.main_effects} for name, study in studies.items()}
    keys = list(dict.fromkeys(key for by_key in effects.values() for key in by_key))
    common = [key for key in keys if all(key in by_key and by_key[key].low is not None for by_key in effects.values())]
    pooled = _pool(studies, effects, common) if common else None
    rows = []
    for key in keys:
        alone = {name: by_key[key].estimate for name, by_key in effects.items() if key in by_key}
        if pooled is None or key not in common:
            everywhere = replicates and len(alone) == len(studies)
            shared = mean_over_groups([one.value for one in alone.values()]) if everywhere else None
            rows.append(SharedEffect(*key, alone, None, shared))
        else:
            n = common.index(key)
            by_group = {name: pooled.by_group[name][n] for name in alone}
            rows.append(SharedEffect(*key, alone, by_group, pooled.shared[n]))
    return rows, pooled.group_sd if pooled else None


def _pool(studies: dict[str, Study], effects: dict[str, dict[Key, Effect]], common: list[Key]) -> PooledEffects:
    """Partial pooling of the common effects, with the covariance of their errors from the draws of each fit."""
    groups = {}
    for name, study in studies.items():
        fitted = study.fitted
        assert fitted is not None and fitted.draws is not None  # else no effect would have an interval
        draws = np.stack([contrast.draws for contrast in effect_contrasts(fitted, common)], axis=1)
        groups[name] = ([effects[name][key].difference for key in common], np.atleast_2d(np.cov(draws.T)))
    return partial_pooling(groups)


def _key(effect: Effect) -> Key:
    return effect.axis, effect.option, effect.reference
