"""From trials to one recommended design: the best predicted combination that the evidence carries.

    strategy = assemble(results, "weighted_kappa", constraints=Constraints(min_format_adherence=0.95))
    strategy.design, strategy.reasons["format"]     -> "lines: +0.121 [+0.096, +0.147] over natural, ..."
    save(strategy, folder / "strategy.yaml");  load(folder / "strategy.yaml")

The combination with the highest predicted score is looked up over all combinations of the options tried, so an
interaction may overrule the option that is best on average. Then every option goes back to its axis' default that is
not shown to be better in this combination: a default needs no evidence, a departure does.

A search that weighs all designs as it goes (`adaptive`) has seen rungs and repeats that no surface of finished trials
holds: its recommendation is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from sde_ray.analysis.effects import Effect, design_of, fit_results, reference_of, scored_results, surface_effects
from sde_ray.analysis.estimate import Estimate, format_estimate
from sde_ray.analysis.response_surface import SurfaceFit
from sde_ray.config.schema import Constraints
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import make_design, paper_label
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts
from sde_ray.safe_json import one_line
from sde_ray.safe_yaml import read_yaml
from sde_ray.storage.files import write_atomic
from sde_ray.types import Design, TrialResult

KIND = "sde_ray strategy"
COMBINED = "objective"
TIE = 1e-9


@dataclass(frozen=True)
class Strategy:
    """The assembled design with its evidence; `verdict` is empty until it was validated."""

    task: str
    model: str
    design: Design
    sweep: str
    objective: str
    predicted: float
    effects: tuple[Effect, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    verdict: str = ""


_STRATEGY = TypeAdapter(Strategy)


def assemble(
    results: Sequence[TrialResult],
    objective: str,
    weights: Mapping[str, float] | None = None,
    constraints: Constraints | None = None,
    items: Mapping[str, ItemCounts] | None = None,
    sweep: str = "",
    recommended: tuple[Design, float] | None = None,
) -> Strategy:
    """The strategy for one task, model and training size.

    `recommended` is what a search that weighs designs itself has come to, with its expected score: it has seen rungs
    and repeats that no surface of finished trials holds, so its word stands where the constraints allow it.

    `weights`: how much each split counts ({"dev": 1.0, "dev_ood": 0.5}); only designs that have all of them can be
    chosen. `items` of the first split narrow what counts as shown. `UserError` where no design meets the constraints.
    """
    weights, constraints = weights or {"dev": 1.0}, constraints or Constraints()
    _check_splits(weights)
    for split in weights:
        scored_results(results, objective, split)  # a metric that the trials do not have is told by its own name
    combined = [_combined(result, objective, weights) for result in results]
    fitted = fit_results(combined, COMBINED, "dev", items if len(weights) == 1 else None)
    counted = scored_results(combined, COMBINED)
    allowed = ConstraintCheck(combined, constraints)
    if recommended and fitted.covers(recommended[0]) and not allowed.violations(recommended[0]):
        design, predicted = recommended
    else:
        design = _simplified(max(allowed.of(_combinations(fitted)), key=fitted.predict), fitted, allowed)
        predicted = fitted.predict(design)
    config = counted[0].config
    return Strategy(
        task=str(config["task"]),
        model=str(config["model"]),
        design=design,
        sweep=sweep,
        objective=objective,
        predicted=predicted,
        effects=tuple(surface_effects(fitted, [design_of(result) for result in counted])),
        reasons=dict(_reasons(design, fitted, allowed)),
    )


def _check_splits(weights: Mapping[str, float]) -> None:
    wrong = [split for split in weights if not split.startswith("dev")]
    if wrong:
        raise UserError(f"A strategy may not be chosen on {', '.join(wrong)}: test items are for the final validation.")
    if any(not math.isfinite(w) or w < 0 for w in weights.values()) or not any(weights.values()):
        raise UserError(f"The split weights {dict(weights)} cannot be used. Give numbers of at least 0, one above 0.")


def _combined(result: TrialResult, objective: str, weights: Mapping[str, float]) -> TrialResult:
    """The result with its weighted score as a metric of its own; without it where a split is missing."""
    named = {split: result.scores.get(split, {}) for split, weight in weights.items() if weight}
    home = dict(result.scores.get("dev", {}))
    if all(objective in scores for scores in named.values()):
        total = sum(weights[split] for split in named)
        home[COMBINED] = sum(weights[split] * scores[objective] for split, scores in named.items()) / total
    return replace(result, scores={**result.scores, "dev": home})


def _combinations(fitted: SurfaceFit) -> Iterator[Design]:
    """The combinations of the options tried whose score the trials can tell, axes in the order of the designs."""
    tried = {**{axis: (option,) for axis, option in fitted.coding.fixed.items()}, **dict(fitted.coding.axes)}
    order = [axis for axis, _ in make_design().options if axis in tried]
    order += [axis for axis in tried if axis not in order]
    for options in product(*(tried[axis] for axis in order)):
        design = Design(tuple(zip(order, options, strict=True)))
        if fitted.separable(fitted.coding.row(design)):  # else its score is anybody's guess
            yield design


class ConstraintCheck:
    """Which designs meet the constraints: by their trials' means, else as predicted from the others."""

    def __init__(self, results: Sequence[TrialResult], constraints: Constraints) -> None:
        self.constraints = constraints
        self.costs: dict[str, _Cost] = {}
        if constraints.min_format_adherence is not None:
            self.costs["format_adherence"] = _Cost(results, lambda r: r.scores.get("dev", {}).get("format_adherence"))
        if constraints.max_output_tokens is not None:
            self.costs["output_tokens"] = _Cost(results, lambda r: r.tokens.get("output"))

    def violations(self, design: Design) -> dict[str, str]:
        """The constraints that a design breaks, in words; empty: allowed."""
        least, most = self.constraints.min_format_adherence, self.constraints.max_output_tokens
        broken = {}
        if least is not None and (value := self.costs["format_adherence"](design)) < least - TIE:
            broken["min_format_adherence"] = f"format adherence {value:.3f} is below {least:g}"
        if most is not None and (value := self.costs["output_tokens"](design)) > most + TIE:
            broken["max_output_tokens"] = f"{value:.1f} output tokens are above {most:g}"
        return broken

    def of(self, designs: Iterator[Design]) -> list[Design]:
        known = list(designs)
        kept = [design for design in known if not self.violations(design)]
        if kept:
            return kept
        nearest = min(known, key=self._distance)
        raise UserError(
            f"No design meets the constraints. The nearest is {paper_label(nearest)}: "
            f"{', '.join(self.violations(nearest).values())}. Loosen them, or train longer."
        )

    def _distance(self, design: Design) -> float:
        least, most = self.constraints.min_format_adherence, self.constraints.max_output_tokens
        short = max(0.0, least - self.costs["format_adherence"](design)) if least is not None else 0.0
        over = max(0.0, self.costs["output_tokens"](design) / most - 1) if most else 0.0
        return short + over


class _Cost:
    """A quantity of designs: the mean of a design's trials, else what the fitted surface expects."""

    def __init__(self, results: Sequence[TrialResult], value: Any) -> None:
        known = [(result, value(result)) for result in results if result.status == "finished"]
        known = [(result, float(number)) for result, number in known if number is not None]
        if not known:
            raise UserError("The trials do not hold what the constraint is about. Use trials of this version.")
        named = [replace(result, scores={"dev": {COMBINED: number}}) for result, number in known]
        self.fitted = fit_results(named, COMBINED)
        self.bounds = min(number for _, number in known), max(number for _, number in known)
        self.seen: dict[Design, list[float]] = {}
        for result, number in known:
            self.seen.setdefault(design_of(result), []).append(number)

    def __call__(self, design: Design) -> float:
        if design in self.seen:
            return sum(self.seen[design]) / len(self.seen[design])
        if not self.fitted.covers(design):
            return math.nan
        return min(max(self.fitted.predict(design), self.bounds[0]), self.bounds[1])


def _simplified(best: Design, fitted: SurfaceFit, allowed: ConstraintCheck) -> Design:
    """The design with as many defaults as the evidence does not speak against."""
    current = best
    while True:
        steps = [(fitted.difference(current, simpler), simpler) for simpler in _simpler(current, fitted, allowed)]
        free = [
            (step.value, simpler)
            for step, simpler in steps
            if not _shown(step)
            # Single steps may hide a loss that they have together.
            and not fitted.difference(best, simpler).excludes_zero
        ]
        if not free:
            return current
        current = min(free, key=lambda pair: pair[0])[1]


def _simpler(design: Design, fitted: SurfaceFit, allowed: ConstraintCheck) -> Iterator[Design]:
    """The design with one axis set back to its default."""
    for axis, options in fitted.coding.axes:
        reference = reference_of(axis, options)
        candidate = design.replace(**{axis: reference})
        known = fitted.separable(fitted.coding.row(candidate))
        if design[axis] != reference and known and not allowed.violations(candidate):
            yield candidate


def _shown(step: Estimate) -> bool:
    """Is the gain beyond its interval? Where no noise is known, the value itself counts."""
    return step.value > TIE if step.low is None else step.low > 0


# ---- reasons in words ----------------------------------------------------------------------------------------------


def _reasons(design: Design, fitted: SurfaceFit, allowed: ConstraintCheck) -> Iterator[tuple[str, str]]:
    """Why each axis has its option."""
    swept = dict(fitted.coding.axes)
    for axis, option in design.options:
        if axis not in swept:
            yield axis, f"{option}: the only option in these trials"
        elif option == reference_of(axis, swept[axis]):
            yield axis, _why_default(design, axis, option, fitted, allowed)
        else:
            reference = reference_of(axis, swept[axis])
            step = fitted.difference(design, design.replace(**{axis: reference}))
            text = f"{option}: {_format(step)} over {reference}, with the other options as assembled"
            yield axis, text + _against_average(axis, option, fitted)


def _why_default(design: Design, axis: str, option: str, fitted: SurfaceFit, allowed: ConstraintCheck) -> str:
    others = [other for other in dict(fitted.coding.axes)[axis] if other != option]
    steps = {other: fitted.difference(design.replace(**{axis: other}), design) for other in others}
    other = max(others, key=lambda name: steps[name].value)
    broken = allowed.violations(design.replace(**{axis: other}))
    if steps[other].value > 0 and broken:
        return f"{option}, the default: {other} would bring {_format(steps[other])}, but {'; '.join(broken.values())}"
    if steps[other].value > TIE:
        return f"{option}, the default: {other} brings {_format(steps[other])}, which does not show a difference"
    return f"{option}, the default: {other}, the next best, brings {_format(steps[other])}" + _against_average(
        axis, option, fitted
    )


def _against_average(axis: str, option: str, fitted: SurfaceFit) -> str:
    """A note where the option is not the one with the best average: then an interaction has decided."""
    options = dict(fitted.coding.axes)[axis]
    rows = {name: fitted.coding.option_row(axis, name) for name in options}
    winner = max(options, key=lambda name: float(rows[name] @ fitted.coefficients))
    if winner == option:
        return ""
    ahead = fitted.contrast(rows[winner] - rows[option])
    return f" (averaged over all designs {winner} is ahead by {_format(ahead)}: the combination decides)" if (
        ahead.excludes_zero or (ahead.low is None and ahead.value > TIE)
    ) else ""  # fmt: skip


def _format(estimate: Estimate) -> str:
    return format_estimate(estimate.value, estimate.low, estimate.high, unknown=" (no interval)")


# ---- strategy.yaml -------------------------------------------------------------------------------------------------


def save(strategy: Strategy, path: Path) -> None:
    """Write a strategy as YAML, whole or not at all."""
    plain = {"kind": KIND, **asdict(strategy)}
    plain["design"] = dict(strategy.design.options)
    plain["effects"] = [asdict(effect) for effect in strategy.effects]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, yaml.safe_dump(plain, allow_unicode=True, sort_keys=False))


def load(path: Path, task: str = "") -> Strategy:
    """Read a strategy; `UserError` for another file, another task's, or one that was edited into nonsense."""
    plain = read_yaml(path)
    if plain.pop("kind", None) != KIND:
        raise UserError(f'"{path}" is no strategy of sde_ray. Give the strategy.yaml that `sde-ray assemble` wrote.')
    try:
        design = make_design(**plain.pop("design"))
        strategy = _STRATEGY.validate_python({**plain, "design": design, "effects": plain.get("effects") or ()})
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f'"{path}" is a damaged strategy: {one_line(error)}. Write it again with `sde-ray assemble`.'
        ) from None
    if task and strategy.task != task:
        raise UserError(f'"{path}" is a strategy for the task {strategy.task}, not for {task}. Give the one for it.')
    return strategy


def strategy_table(strategy: Strategy) -> list[dict[str, str]]:
    """A row an axis, for CLI and report: option, its label, reason."""
    return [
        {"axis": axis, "option": option, "label": find_axis(axis).options[option].label
         if option in find_axis(axis).options else option, "reason": strategy.reasons.get(axis, "")}
        for axis, option in strategy.design.options
    ]  # fmt: skip
