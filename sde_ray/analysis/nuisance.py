"""Nuisance axes: designs averaged over them, and whether the ranking of designs holds at each of their values.

    averaged = average_over_nuisance(fitted)        a surface of designs without these axes: means over their values
    checks = ranking_checks(fitted, design)         [RankingCheck("learning_rate", "0.006", ...), ...]
    ranking_words(checks)                           "learning_rate: the ranking holds at 0.001 and 0.006 ..."

A nuisance axis (learning rate, rank, epochs) is never a reason for a design. A design is judged by its mean over the
values that the sweep tried; whether it is also the right one at each of them is said beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from statistics import fmean

import numpy as np

from sde_ray.analysis.design_coding import Array, DesignCoding, contexts
from sde_ray.analysis.estimate import Estimate, format_estimate
from sde_ray.analysis.rank_agreement import rank_correlations
from sde_ray.analysis.response_surface import SurfaceFit, simultaneous_intervals
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import paper_label, without_nuisance
from sde_ray.types import Design, TrialResult

MOST_RIVALS = 50  # designs that a design is compared with at a value, the highest predicted ones
HOLDS, OPEN, FAILS = "holds", "not shown", "does not hold"


def is_nuisance(axis: str) -> bool:
    """Whether the axis is a test of robustness only."""
    return find_axis(axis).nuisance


def results_without_nuisance(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The results as those of designs without nuisance axes, so that trials at all values are of one design."""
    return [
        replace(
            one, config={**one.config, "design": {a: o for a, o in one.config["design"].items() if not is_nuisance(a)}}
        )
        for one in results
    ]


# ---- means over the values -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AveragedCoding(DesignCoding):
    """Coding of designs without nuisance axes: rows are means of those of `whole` over the options of these axes."""

    whole: DesignCoding = field(default_factory=lambda: DesignCoding(()))
    values: tuple[Mapping[str, str], ...] = ()

    @property
    def num_free(self) -> int:
        return self.whole.num_free

    def expanded(self, designs: Sequence[Design]) -> list[Design]:
        """Each design at every combination of the nuisance values, one design after another."""
        return [Design((*design.options, *values.items())) for design in designs for values in self.values]

    def rows(self, designs: Sequence[Design]) -> Array:
        rows = self.whole.rows(self.expanded(designs))
        return np.asarray(rows.reshape(len(designs), len(self.values), -1).mean(axis=1))

    def option_row(self, axis: str, option: str) -> Array:
        return self.whole.option_row(axis, option)


class AveragedFit(SurfaceFit):
    """A response surface of designs without nuisance axes: means over these of what the whole surface says."""

    def predicted_draws(self, designs: Sequence[Design]) -> list[Array]:
        coding = self._averaged
        draws = super().predicted_draws(coding.expanded(designs))
        count = len(coding.values)
        return [np.mean(draws[n * count : (n + 1) * count], axis=0) for n in range(len(designs))]

    def _scores(self, posterior: object, designs: Sequence[Design], nodes: int) -> Array:
        # The designs are whole ones here: `predicted_draws` has expanded them.
        return replace_coding(self)._scores(posterior, designs, nodes)  # type: ignore[arg-type]

    def _refitted(self, coefficients: Array, deviations: Array, designs: Sequence[Design]) -> Array:
        coding = self._averaged
        predicted = replace_coding(self)._refitted(coefficients, deviations, coding.expanded(designs))
        return np.asarray(predicted.reshape(len(predicted), len(designs), -1).mean(axis=2))

    @property
    def _averaged(self) -> AveragedCoding:
        assert isinstance(self.coding, AveragedCoding)
        return self.coding


def replace_coding(fitted: AveragedFit) -> SurfaceFit:
    """The whole surface behind an averaged one."""
    values = {one.name: getattr(fitted, one.name) for one in fields(SurfaceFit) if one.init}
    return SurfaceFit(**{**values, "coding": fitted._averaged.whole})


def average_over_nuisance(fitted: SurfaceFit) -> SurfaceFit:
    """The surface of designs without nuisance axes; the surface itself where it has none."""
    coding = fitted.coding
    tried = {**{axis: (option,) for axis, option in coding.fixed.items()}, **dict(coding.axes)}
    nuisance = {axis: options for axis, options in tried.items() if is_nuisance(axis)}
    if not nuisance:
        return fitted
    values = tuple(dict(zip(nuisance, options, strict=True)) for options in product(*nuisance.values()))
    averaged = AveragedCoding(
        tuple((axis, options) for axis, options in coding.axes if axis not in nuisance),
        {axis: option for axis, option in coding.fixed.items() if axis not in nuisance},
        coding,
        values,
    )
    own = {one.name: getattr(fitted, one.name) for one in fields(SurfaceFit) if one.init and one.name[0] != "_"}
    return AveragedFit(**{**own, "coding": averaged})


def averaging_note(fitted: SurfaceFit) -> str:
    """Over what an averaged surface averages, in words; empty for any other."""
    nuisance = [(axis, options) for axis, options in fitted.coding.axes if is_nuisance(axis)]
    if not nuisance:
        return ""
    named = " and ".join(f"{axis} ({', '.join(options)})" for axis, options in nuisance)
    return f"A mean over {named}, no reason for a design: it trains at the configured value."


# ---- does the ranking hold? ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RankingCheck:
    """A design at one value of a nuisance axis, on dev items.

    Args:
        axis: the nuisance axis.
        option: its value.
        difference: of the design to the default design at this value, with its 95% interval; None where it is the
            default design.
        rival: the label of the best other design at this value.
        over_rival: the difference of the design to it, with an interval that holds for all designs at once.
        spearman: rank correlation of the designs' mean scores at this value with those at the others, with its 95%
            interval; None for fewer than five designs that both have.
        claim: `holds`: ahead of the default design (the default itself: of all others), and no other one is shown to be
            better; `does not hold`: the default or another design is shown to be better; `not shown`: neither.
    """

    axis: str
    option: str
    difference: float | None
    low: float | None
    high: float | None
    rival: str
    over_rival: float | None
    rival_low: float | None
    rival_high: float | None
    claim: str
    spearman: float | None = None
    spearman_low: float | None = None
    spearman_high: float | None = None


def ranking_checks(
    fitted: SurfaceFit, design: Design, default: Design, scores: Sequence[tuple[Design, float]] = ()
) -> list[RankingCheck]:
    """Whether a design is the right one at each value of each nuisance axis that has several.

    Args:
        fitted: the whole surface.
        design: one without nuisance axes.
        default: the one with every axis at its default.
        scores: of each trial, with its whole design.
    """
    checks = []
    for axis, options in fitted.coding.axes:
        for option in options if is_nuisance(axis) else ():
            check = _check(fitted, design, default, axis, option)
            rho = _rank_correlation(scores, axis, option)
            checks.append(
                check
                if rho is None
                else replace(check, spearman=rho.value, spearman_low=rho.low, spearman_high=rho.high)
            )
    return checks


def _rank_correlation(scores: Sequence[tuple[Design, float]], axis: str, option: str) -> Estimate | None:
    """Spearman's correlation of the designs' mean scores at a value with those at the other values."""
    sides: dict[str, dict[Design, list[float]]] = {"here": {}, "elsewhere": {}}
    for design, score in scores:
        side = sides["here" if design[axis] == option else "elsewhere"]
        side.setdefault(without_nuisance(design), []).append(score)
    means = {side: {design: fmean(values) for design, values in by.items()} for side, by in sides.items()}
    rows = rank_correlations(means)
    return rows[0].spearman if rows else None


def _check(fitted: SurfaceFit, design: Design, default: Design, axis: str, option: str) -> RankingCheck:
    at = _at(fitted, axis, option)
    order = [name for name, _ in design.options]
    others = [Design(tuple((name, one[name]) for name in order)) for one in contexts(at.coding)]
    others = [one for one in others if one != design and at.separable(at.coding.row(one))]
    rivals = sorted(others, key=at.predict, reverse=True)[:MOST_RIVALS]
    family = simultaneous_intervals([at.contrast(design, rival) for rival in rivals])
    gain = None if design == default else at.difference(design, default)
    beaten = any(one.high is not None and one.high < 0 for one in family)
    behind = gain is not None and gain.high is not None and gain.high < 0
    lead = (family[0] if family else None) if gain is None else gain  # the default must lead all others
    ahead = lead is not None and lead.low is not None and lead.low > 0
    return RankingCheck(
        axis,
        option,
        *_numbers(gain),
        paper_label(rivals[0]) if rivals else "",
        *_numbers(family[0] if family else None),
        FAILS if beaten or behind else HOLDS if ahead else OPEN,
    )


def _numbers(estimate: Estimate | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if estimate is None else (estimate.value, estimate.low, estimate.high)


def _at(fitted: SurfaceFit, axis: str, option: str) -> SurfaceFit:
    """The surface of designs at one value of a nuisance axis, averaged over the others."""
    averaged = average_over_nuisance(fitted)
    coding = averaged.coding
    assert isinstance(coding, AveragedCoding)
    values = tuple(one for one in coding.values if one[axis] == option)
    own = {one.name: getattr(averaged, one.name) for one in fields(SurfaceFit) if one.init and one.name[0] != "_"}
    return AveragedFit(**{**own, "coding": replace(coding, values=values)})


def ranking_words(checks: Sequence[RankingCheck]) -> str:
    """Whether the ranking of designs holds at each value, in words; empty without a nuisance axis."""
    return " ".join(
        _words(axis, [one for one in checks if one.axis == axis]) for axis in dict.fromkeys(c.axis for c in checks)
    )


def _words(axis: str, checks: Sequence[RankingCheck]) -> str:
    claims = {one.claim for one in checks}
    if claims == {HOLDS}:
        head = f"The ranking of designs holds at each {axis}"
    elif FAILS in claims:
        failing = ", ".join(one.option for one in checks if one.claim == FAILS)
        head = f"The ranking of designs does not hold at {axis} {failing}: another design is better there"
    else:
        shown = ", ".join(one.option for one in checks if one.claim == OPEN)
        head = f"That the ranking of designs holds is not shown at {axis} {shown}"
    return f"{head} ({'; '.join(map(_detail, checks))}; on dev items)."


def _detail(check: RankingCheck) -> str:
    if check.claim == FAILS and check.over_rival is not None:
        gain = format_estimate(check.over_rival, check.rival_low, check.rival_high, unknown=" (no interval)")
        return f"{check.option}: {gain} against {check.rival}"
    if check.difference is None:
        lead = "ahead of all others" if check.claim == HOLDS else "no other is shown to be better"
        return f"{check.option}: the default, {lead}"
    gain = format_estimate(check.difference, check.low, check.high, unknown=" (no interval)")
    agreement = "" if check.spearman is None else f", rank correlation with the other values {check.spearman:.2f}"
    return f"{check.option}: {gain} over the default{agreement}"
