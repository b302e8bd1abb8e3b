"""What several models, tasks or training sizes of one sweep show together.

    for found in across(studies): found.kind, found.agreements, found.rows

A family is a set of studies that differ in one thing: models on one task, tasks with one model, training sizes of both.
Of each: how alike their rankings of designs are (`consistency.py`), the sign of every effect in every group, and the
effect that they share, with each group's own drawn towards it (`pooled.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sde_ray.analysis.effects import Effect, effect_contrasts
from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.pooling import PooledEffects, partial_pooling
from sde_ray.analysis.rank_agreement import RankAgreement, rank_correlations
from sde_ray.analysis.study import Study

KINDS = {"models": "model", "tasks": "task", "training sizes": "train_size"}
Key = tuple[str, str, str]  # axis, option, the option it is compared with


@dataclass(frozen=True)
class SharedEffect:
    """An option's effect in every group: as estimated there, drawn towards the others, and what all share.

    `own` and `shared` are None where not all groups have the option, or the noise of one is not known.
    """

    axis: str
    option: str
    reference: str
    alone: dict[str, Estimate]
    own: dict[str, Estimate] | None
    shared: Estimate | None

    @property
    def signs(self) -> dict[str, str]:
        """By group: + or − where its own trials show it, (+) or (−) where they only lean so."""
        return {name: format_sign(one) for name, one in self.alone.items()}

    @property
    def verdict(self) -> str:
        """Do the groups agree? Only clear effects can contradict each other."""
        shown = {one.value > 0 for one in self.alone.values() if one.excludes_zero}
        if len(shown) == 2:
            return "they contradict each other"
        clear = sum(one.excludes_zero for one in self.alone.values())
        alike = len({one.value > 0 for one in self.alone.values()}) == 1
        if clear == len(self.alone):
            return "all agree"
        return f"{'the same sign, ' if alike else 'signs differ, '}shown in {clear} of {len(self.alone)}"

    def to_dict(self) -> dict[str, Any]:
        """A flat row for JSON, MLflow and tables."""
        row: dict[str, Any] = {"axis": self.axis, "option": self.option, "reference": self.reference}
        shared = self.shared or Estimate(float("nan"))
        known = self.shared is not None
        row |= {"shared": shared.value if known else None, "low": shared.low, "high": shared.high}
        for name, one in self.alone.items():
            row[f"{name}: sign"] = format_sign(one)
            for part, value in (("alone", one), ("pooled", (self.own or {}).get(name))):
                row[f"{name}: {part}"] = value and value.value
                row[f"{name}: {part} low"], row[f"{name}: {part} high"] = value and value.low, value and value.high
        return row | {"says": self.verdict}


def short_names(groups: Sequence[str]) -> dict[str, str]:
    """What tables call each group: a folder's last name where no other group has it, else the whole name."""
    last = {name: name.rstrip("/").rpartition("/")[2] if name.startswith(("/", ".", "~")) else name for name in groups}
    return {name: one if list(last.values()).count(one) == 1 else name for name, one in last.items()}


def format_sign(one: Estimate) -> str:
    """`+`, `−`, or in brackets where the interval holds 0 or is not known."""
    mark = "+" if one.value > 0 else "−" if one.value < 0 else "0"
    return mark if one.excludes_zero else f"({mark})"


@dataclass(frozen=True)
class CrossStudy:
    """A family of studies that differ in `kind`; `within` says in words what they have in common."""

    kind: str
    within: str
    groups: tuple[str, ...]
    agreements: list[RankAgreement]
    rows: list[SharedEffect]
    spread: float | None

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            "kind": self.kind,
            "within": self.within,
            "groups": list(self.groups),
            "agreements": [one.to_dict() for one in self.agreements],
            "effects": [one.to_dict() for one in self.rows],
            "spread_of_groups": self.spread,
        }


def cross_studies(studies: Sequence[Study]) -> list[CrossStudy]:
    """Every family of at least two studies with scores."""
    found = []
    for kind, name in KINDS.items():
        families: dict[tuple[Any, ...], dict[str, Study]] = {}
        for study in studies:
            others = tuple(getattr(study.group, other) for other in KINDS.values() if other != name)
            if study.ranked:
                families.setdefault((*others, study.objective), {})[str(getattr(study.group, name))] = study
        found += [_family(kind, own) for own in families.values() if len(own) > 1]
    return found


def _family(kind: str, studies: dict[str, Study]) -> CrossStudy:
    group = next(iter(studies.values())).group
    shared = {"task": group.task, "model": group.model, "train_size": f"{group.train_size} samples"}
    within = ", ".join(value for name, value in shared.items() if name != KINDS[kind])
    agreements = rank_correlations(
        {name: {row.design: row.score for row in one.ranked} for name, one in studies.items()}
    )
    rows, spread = _shared(studies)
    return CrossStudy(kind, within, tuple(studies), agreements, rows, spread)


def _shared(studies: dict[str, Study]) -> tuple[list[SharedEffect], float | None]:
    """Every option's effect, pooled over the options that all groups have."""
    effects = {name: {_key(one): one for one in study.own_effects} for name, study in studies.items()}
    every = list(dict.fromkeys(key for own in effects.values() for key in own))
    common = [key for key in every if all(key in own and own[key].low is not None for own in effects.values())]
    pooled = _pooled(studies, effects, common) if common else None
    rows = []
    for key in every:
        alone = {name: Estimate(o[key].difference, o[key].low, o[key].high) for name, o in effects.items() if key in o}
        if pooled is None or key not in common:
            rows.append(SharedEffect(*key, alone, None, None))
        else:
            place = common.index(key)
            rows.append(SharedEffect(*key, alone, {n: pooled.own[n][place] for n in alone}, pooled.shared[place]))
    return rows, pooled.spread if pooled else None


def _pooled(studies: dict[str, Study], effects: dict[str, dict[Key, Effect]], common: list[Key]) -> PooledEffects:
    given = {}
    for name, study in studies.items():
        fitted = study.fitted
        assert fitted is not None and fitted.draws is not None  # else no effect would have an interval
        drawn = fitted.draws @ np.stack(effect_contrasts(fitted, common)).T
        given[name] = ([effects[name][key].difference for key in common], np.atleast_2d(np.cov(drawn.T)))
    return partial_pooling(given)


def _key(effect: Effect) -> Key:
    return effect.axis, effect.option, effect.reference
