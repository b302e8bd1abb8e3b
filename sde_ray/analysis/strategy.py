"""Assembly of a strategy: the design with the best predicted score that the evidence supports.

    strategy = assemble(results, "weighted_kappa", constraints=Constraints(min_format_adherence=0.95))
    strategy.design, strategy.reasons["format"]     -> "lines: +0.121 [+0.096, +0.147] over natural, ..."
    save(strategy, folder / "strategy.yaml");  load(folder / "strategy.yaml")

The response surface predicts every combination of the options tried, so an interaction may overrule the option that is
best on average. Of the feasible combinations the highest predicted one is taken. Then every option that is not
significantly better in this combination goes back to its axis' default (backward elimination): a default needs no
evidence, a departure does.

Where the search models all designs itself (`adaptive`) its decision stands instead, and the reasons say so: see
`recommendation.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from sde_ray.analysis.constraints import TOLERANCE, ConstraintCheck
from sde_ray.analysis.degenerate import degenerate_scores
from sde_ray.analysis.effects import Effect, fit_results, reference_of, scored_results, surface_effects
from sde_ray.analysis.estimate import Estimate, format_estimate
from sde_ray.analysis.nuisance import (
    RankingCheck,
    average_over_nuisance,
    averaging_note,
    ranking_checks,
    ranking_words,
    results_without_nuisance,
)
from sde_ray.analysis.recommendation import Recommended, simplest
from sde_ray.analysis.recommendation import reasons as recommendation_reasons
from sde_ray.analysis.response_surface import SurfaceFit
from sde_ray.config.constraints import Constraints
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import completed, design_of, make_design, paper_label
from sde_ray.errors import UserError, format_error
from sde_ray.evaluation.per_item import ItemCounts
from sde_ray.metrics import metric_bounds
from sde_ray.safe_yaml import read_yaml
from sde_ray.storage.files import write_atomic
from sde_ray.types import Design, TrialResult

KIND = "sde_ray strategy"
COMBINED = "objective"


@dataclass(frozen=True)
class Strategy:
    """The assembled design with its evidence: effects, the reason for each axis' option, predicted score.

    `selection` says in words what `predicted` was corrected by; empty where the search itself recommended the design.
    `warning` says why the scores cannot tell designs apart, where that is so: then every axis has its default.
    `robustness`: this design at each value of the sweep's nuisance axes.
    `verdict` is the final comparison in words, empty until it has run.
    """

    task: str
    model: str
    design: Design
    sweep: str
    objective: str
    predicted: float
    effects: tuple[Effect, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    verdict: str = ""
    selection: str = ""
    warning: str = ""
    robustness: tuple[RankingCheck, ...] = ()

    @property
    def ranking(self) -> str:
        """Whether the ranking of designs holds at each value of the nuisance axes, in words; empty without one."""
        return ranking_words(self.robustness)


_STRATEGY = TypeAdapter(Strategy)


def assemble(
    results: Sequence[TrialResult],
    objective: str,
    weights: Mapping[str, float] | None = None,
    constraints: Constraints | None = None,
    items: Mapping[str, ItemCounts] | None = None,
    sweep: str = "",
    recommended: Recommended = (),
    warning: str = "",
) -> Strategy:
    """Assemble the strategy for one task, model and training size.

    Args:
        results: the trials.
        objective: the metric that is maximised.
        weights: how much each dev split counts, {"dev": 1.0, "dev_ood": 0.5}; only designs that have all of them can be
            chosen.
        constraints: the lowest format adherence (a share) and the most output tokens of a completion (a mean).
        items: counts by item of the dev split, by trial key; they narrow the confidence intervals.
        sweep: the name of the sweep.
        recommended: designs that a search which models designs itself expects to be the best or as good, best first,
            with their expected scores. Of those that the constraints allow the simplest is taken, whatever the effects
            say: the search has seen rungs and repeats that no surface of finished trials holds.
        warning: why these scores cannot tell designs apart, where that is known; else it is judged by the scores.

    Raises:
        UserError: when no design meets the constraints, a split is not a dev split, or no trial has the metric.
    """
    results = completed(results)
    weights, constraints = weights or {"dev": 1.0}, constraints or Constraints()
    _check_splits(weights)
    for split in weights:
        scored_results(results, objective, split)  # raises for a metric that the trials do not have
    combined = [_combined(result, objective, weights) for result in results]
    bounds = metric_bounds(objective)
    fitted = fit_results(combined, COMBINED, "dev", items if len(weights) == 1 else None, bounds)
    scored = scored_results(combined, COMBINED)
    averaged = average_over_nuisance(fitted)
    check = ConstraintCheck(results_without_nuisance(combined), constraints)
    warning = warning or degenerate_scores([one.scores["dev"][COMBINED] for one in scored], bounds)
    scores = [(design_of(one), one.scores["dev"][COMBINED]) for one in scored]
    choice = _choose(averaged, check, results_without_nuisance(scored), recommended, bool(warning))
    config = scored[0].config
    return Strategy(
        task=str(config["task"]),
        model=str(config["model"]),
        design=choice.design,
        sweep=sweep,
        objective=objective,
        predicted=choice.predicted,
        effects=tuple(surface_effects(fitted, [design for design, _ in scores])),
        reasons=choice.reasons,
        selection=" ".join(filter(None, (choice.selection, averaging_note(fitted)))),
        warning=warning,
        robustness=tuple(ranking_checks(fitted, choice.design, _default(averaged), scores)),
    )


@dataclass(frozen=True)
class _Choice:
    """The design that is taken, with its fields of `Strategy`."""

    design: Design
    predicted: float
    reasons: Mapping[str, str]
    selection: str = ""


def _choose(
    fitted: SurfaceFit,
    check: ConstraintCheck,
    scored: Sequence[TrialResult],
    recommended: Recommended,
    degenerate: bool,
) -> _Choice:
    """The default where scores tell nothing, else the search's own design, else the best of the surface."""
    default = _default(fitted)
    if degenerate and not check.violations(default):
        reasons = {axis: _why_kept(axis, option, fitted) for axis, option in default.options}
        return _Choice(default, fitted.predict(default), reasons)
    near_ties = [pair for pair in recommended if fitted.covers(pair[0]) and not check.violations(pair[0])]
    if near_ties:
        design, predicted = simplest(near_ties, scored, fitted)
        return _Choice(design, predicted, dict(recommendation_reasons(design, predicted, near_ties, fitted)))
    candidates = list(check.feasible(_combinations(fitted)))
    design = _eliminate_backward(max(candidates, key=fitted.predict), fitted, check)
    optimism = max(0.0, fitted.optimism(candidates))
    note = _selection_note(optimism, len(candidates))
    return _Choice(design, fitted.predict(design) - optimism, dict(_reasons(design, fitted, check)), note)


def _default(fitted: SurfaceFit) -> Design:
    """The design with every axis at its default, or at the first option tried."""
    options = {axis: reference_of(axis, tried) for axis, tried in fitted.coding.axes} | dict(fitted.coding.fixed)
    order = [axis for axis, _ in make_design().options if axis in options]
    order += [axis for axis in options if axis not in order]
    return Design(tuple((axis, options[axis]) for axis in order))


def _why_kept(axis: str, option: str, fitted: SurfaceFit) -> str:
    if axis in fitted.coding.fixed:
        return f"{option}: the only option in these trials"
    return f"{option}, the default: kept, as these scores cannot tell options apart"


def _selection_note(optimism: float, candidates: int) -> str:
    """What was subtracted from the prediction of a design because it was selected."""
    if not optimism:
        return ""
    return f"{optimism:.3f} is subtracted: the highest of {candidates} predictions is too high by that on average."


def _check_splits(weights: Mapping[str, float]) -> None:
    test_splits = [split for split in weights if not split.startswith("dev")]
    if test_splits:
        raise UserError(
            f"A strategy may not be chosen on {', '.join(test_splits)}: test items are for the final validation."
        )
    if any(not math.isfinite(w) or w < 0 for w in weights.values()) or not any(weights.values()):
        raise UserError(f"The split weights {dict(weights)} cannot be used. Give numbers of at least 0, one above 0.")


def _combined(result: TrialResult, objective: str, weights: Mapping[str, float]) -> TrialResult:
    """The result with its weighted score as a metric of its own; without it where a split is missing."""
    by_split = {split: result.scores.get(split, {}) for split, weight in weights.items() if weight}
    dev = dict(result.scores.get("dev", {}))
    if all(objective in scores for scores in by_split.values()):
        total = sum(weights[split] for split in by_split)
        dev[COMBINED] = sum(weights[split] * scores[objective] for split, scores in by_split.items()) / total
    return replace(result, scores={**result.scores, "dev": dev})


def _combinations(fitted: SurfaceFit) -> Iterator[Design]:
    """The combinations of the options tried whose score is estimable, axes in the order of the designs."""
    tried = {**{axis: (option,) for axis, option in fitted.coding.fixed.items()}, **dict(fitted.coding.axes)}
    order = [axis for axis, _ in make_design().options if axis in tried]
    order += [axis for axis in tried if axis not in order]
    for options in product(*(tried[axis] for axis in order)):
        design = Design(tuple(zip(order, options, strict=True)))
        if fitted.separable(fitted.coding.row(design)):  # else options are confounded
            yield design


def _eliminate_backward(best: Design, fitted: SurfaceFit, check: ConstraintCheck) -> Design:
    """Backward elimination: options go back to their defaults while no significant loss is shown."""
    current = best
    while True:
        losses = [(fitted.difference(current, simpler), simpler) for simpler in _simpler(current, fitted, check)]
        free = [
            (loss.value, simpler)
            for loss, simpler in losses
            if not _is_significant(loss, fitted)
            # Single steps may hide a loss that they have together.
            and not fitted.difference(best, simpler).excludes_zero
        ]
        if not free:
            return current
        current = min(free, key=lambda pair: pair[0])[1]


def _simpler(design: Design, fitted: SurfaceFit, check: ConstraintCheck) -> Iterator[Design]:
    """The feasible designs with one axis set back to its default; together those that the trials cannot tell apart.

    Of an amount, such as the training size, also to every smaller one.
    """
    references = {axis: reference_of(axis, options) for axis, options in fitted.coding.axes}
    departed = [axis for axis, reference in references.items() if design[axis] != reference]
    single = {axis: design.replace(**{axis: references[axis]}) for axis in departed}
    estimable = {axis for axis, candidate in single.items() if fitted.separable(fitted.coding.row(candidate))}
    candidates = [single[axis] for axis in departed if axis in estimable]
    candidates += [smaller for smaller in _smaller(design, fitted) if fitted.separable(fitted.coding.row(smaller))]
    confounded = {axis: references[axis] for axis in departed if axis not in estimable}
    together = design.replace(**confounded)
    if confounded and fitted.separable(fitted.coding.row(together)):
        candidates.append(together)
    yield from (candidate for candidate in candidates if not check.violations(candidate))


def _smaller(design: Design, fitted: SurfaceFit) -> Iterator[Design]:
    """The designs with a smaller amount of a resource, but not with the least, which is the default."""
    for axis, options in fitted.coding.axes:
        if find_axis(axis).resource:
            ascending = find_axis(axis).ordered(options)
            yield from (design.replace(**{axis: one}) for one in ascending[1 : ascending.index(design[axis])])


def _is_significant(gain: Estimate, fitted: SurfaceFit) -> bool:
    """Does the interval lie above 0? Where no noise is known at all, the value itself counts.

    Where the noise is known, a gain without an interval is one that the trials cannot tell from that of another option.
    """
    return fitted.draws is None and gain.value > TOLERANCE if gain.low is None else gain.low > 0


# ---- reasons in words ----------------------------------------------------------------------------------------------


def _reasons(design: Design, fitted: SurfaceFit, check: ConstraintCheck) -> Iterator[tuple[str, str]]:
    """Why each axis has its option."""
    swept = dict(fitted.coding.axes)
    for axis, option in design.options:
        if axis not in swept:
            yield axis, f"{option}: the only option in these trials"
        elif option == reference_of(axis, swept[axis]):
            yield axis, _why_default(design, axis, option, fitted, check)
        else:
            reference = reference_of(axis, swept[axis])
            default = design.replace(**{axis: reference})
            gain, broken = fitted.difference(design, default), check.violations(default)
            text = f"{option}: {_format(gain)} over {reference}, with the other options as assembled"
            if broken and not _is_significant(gain, fitted):
                text = f"{option}: the constraint forces it, as with {reference} {'; '.join(broken.values())}. "
                text += f"It brings {_format(gain)} over {reference}" + (": a loss" if gain.value < 0 else "")
            else:
                text += _against_average(axis, option, fitted)
            yield axis, text


def _why_default(design: Design, axis: str, option: str, fitted: SurfaceFit, check: ConstraintCheck) -> str:
    others = [other for other in dict(fitted.coding.axes)[axis] if other != option]
    gains = {other: fitted.difference(design.replace(**{axis: other}), design) for other in others}
    other = max(others, key=lambda name: gains[name].value)
    gain, broken = _format(gains[other]), check.violations(design.replace(**{axis: other}))
    if gains[other].value > 0 and broken:
        return f"{option}, the default: {other} would bring {gain}, but {'; '.join(broken.values())}"
    if gains[other].value > TOLERANCE:
        return f"{option}, the default: {other} brings {gain}, which does not show a difference"
    note = _against_average(axis, option, fitted)
    return f"{option}, the default: {other}, the next best, brings {gain}{note}"


def _against_average(axis: str, option: str, fitted: SurfaceFit) -> str:
    """A note where the option is not the one with the best average: then an interaction has decided."""
    options = dict(fitted.coding.axes)[axis]
    winner = max(options, key=lambda name: fitted.average(axis, name).value)
    if winner == option:
        return ""
    gain = fitted.effect(axis, winner, option).estimate
    if not (gain.excludes_zero or (gain.low is None and gain.value > TOLERANCE)):
        return ""
    return f" (averaged over all designs {winner} is ahead by {_format(gain)}: the combination decides)"


def _format(estimate: Estimate) -> str:
    return format_estimate(estimate.value, estimate.low, estimate.high, unknown=" (no interval)")


# ---- strategy.yaml -------------------------------------------------------------------------------------------------


def save(strategy: Strategy, path: Path) -> None:
    """Write a strategy as YAML, whole or not at all."""
    values = {"kind": KIND, **asdict(strategy)}
    values["design"] = dict(strategy.design.options)
    values["effects"] = [asdict(effect) for effect in strategy.effects]
    values["robustness"] = [asdict(check) for check in strategy.robustness]
    if not strategy.robustness:
        del values["robustness"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, yaml.safe_dump(values, allow_unicode=True, sort_keys=False))


def load(path: Path, task: str = "") -> Strategy:
    """Read a strategy. Raises UserError for another file, another task's, or one that was edited into nonsense."""
    values = read_yaml(path)
    if values.pop("kind", None) != KIND:
        raise UserError(f'"{path}" is no strategy of sde_ray. Give the strategy.yaml that `sde-ray assemble` wrote.')
    try:
        design = make_design(**values.pop("design"))
        tables = {name: values.get(name) or () for name in ("effects", "robustness")}
        strategy = _STRATEGY.validate_python({**values, "design": design, **tables})
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f'"{path}" is a damaged strategy: {format_error(error)}. Write it again with `sde-ray assemble`.'
        ) from None
    if task and strategy.task != task:
        raise UserError(f'"{path}" is a strategy for the task {strategy.task}, not for {task}. Give the one for it.')
    return strategy


def validated(path: Path) -> Strategy | None:
    """The strategy of a file if it was validated; None for any other file, and where there is none."""
    try:
        strategy = load(path)
    except UserError:
        return None
    return strategy if strategy.verdict else None


def refusal(strategy: Strategy, kept: Strategy, path: Path) -> str:
    """Why a strategy is not written over one that was validated, and what to do."""
    return (
        f'"{path}" holds a validated strategy ({paper_label(kept.design)}); this one is another design and not '
        f"validated: {paper_label(strategy.design)}, expected {strategy.objective} {strategy.predicted:.3f}. Write it "
        f"elsewhere with --out {path.stem}-2{path.suffix}, or replace the validated one with --force."
    )


def strategy_table(strategy: Strategy) -> list[dict[str, str]]:
    """A row an axis, for CLI and report: option, its label, the reason for it."""
    return [
        {"axis": axis, "option": option, "label": _label(axis, option), "reason": strategy.reasons.get(axis, "")}
        for axis, option in strategy.design.options
    ]


def _label(axis_name: str, option: str) -> str:
    """The label of an option of the tables or of a number; one of the user's own is called by its name."""
    axis = find_axis(axis_name)
    row = axis.options.get(option) or axis.number_option(option)
    return row.label if row else option
