"""Main effects and interactions of options: results of one task, model and training size in, estimates out.

    estimate_effects(results, "weighted_kappa")             [Effect("format", "lines", "natural", 0.12, 0.08, 0.16, 72)]
    estimate_effects(results, "weighted_kappa", "dev_ood")  the same out-of-domain
    estimate_interactions(results, "weighted_kappa")        pairs of options that do more, or less, together than apart
    effect_table(results, "weighted_kappa")                 in-domain and out-of-domain side by side, with claims

An effect is the difference to the axis' default, averaged over the options of the other axes (the response surface fits
it); where the trials vary one axis at a time, it is the difference within the design that they vary. An axis with a
single option in the trials has no effects. `items` (see `evaluation/per_item.py`) adds the noise of the dev items.

Only finished trials count. A pruned trial's last score is of a part of the training: it is lower by a shift that is not
the same for all designs, so it is not comparable with final scores. Leaving it out has a price, too: a pruned trial had
a low score, of which a part was bad luck, so designs that are often pruned keep their luckier seeds, and the effects of
their options are drawn towards 0. Tables say how many trials were pruned.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from sde_ray.analysis.claims import MARGIN, effect_claim
from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.response_surface import Contrast, SurfaceFit, fit_response_surface, simultaneous_intervals
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import compared_size, completed, design_of
from sde_ray.errors import UserError, unknown
from sde_ray.evaluation.per_item import ItemCounts, influence_matrix
from sde_ray.metrics import metric_bounds
from sde_ray.tasks.titles import task_title
from sde_ray.types import Design, TrialResult

OUT_OF_DOMAIN = "_ood"
SPLITS = ("dev", "dev" + OUT_OF_DOMAIN)
UNKNOWN_NOISE = (
    "One trial a design, and no designs to spare: the noise of training is not known, so there is no interval. "
    "Add a seed."
)


@dataclass(frozen=True)
class Effect:
    """Main effect of an option on the score, against `reference`, averaged over the other axes.

    `low` and `high` bound the 95% confidence interval; both are None where the trials cannot estimate their noise.
    `replicates`: number of trials with the option.
    """

    axis: str
    option: str
    reference: str
    difference: float
    low: float | None
    high: float | None
    replicates: int

    @property
    def estimate(self) -> Estimate:
        """The difference with its confidence interval."""
        return Estimate(self.difference, self.low, self.high)


@dataclass(frozen=True)
class Interaction:
    """Interaction of two options: how much more they bring together than the sum of what each brings alone.

    `low` and `high`: its own 95% interval. `clear`: the interval that holds for all interactions at once excludes 0.
    """

    axes: tuple[str, str]
    options: tuple[str, str]
    references: tuple[str, str]
    difference: float
    low: float | None
    high: float | None
    clear: bool = False

    @property
    def estimate(self) -> Estimate:
        """The difference of differences with its confidence interval."""
        return Estimate(self.difference, self.low, self.high)


@dataclass(frozen=True)
class Group:
    """What trials must have in common to be compared. `train_size` is 0 where it is an axis of their designs."""

    task: str
    model: str
    train_size: int

    @property
    def samples(self) -> str:
        """The training size in words."""
        return f"{self.train_size} samples" if self.train_size else "several training sizes"

    def __str__(self) -> str:
        return f"{task_title(self.task)}, {self.model}, {self.samples}"


def group_of(result: TrialResult) -> Group:
    """The group of a result."""
    config = result.config
    return Group(str(config["task"]), str(config["model"]), compared_size(config["design"], int(config["train_size"])))


def group_results(results: Sequence[TrialResult]) -> dict[Group, list[TrialResult]]:
    """Results by task, model and training size, in the order of their first trial; their designs have the same axes."""
    by_group: dict[Group, list[TrialResult]] = {}
    for result in results:
        by_group.setdefault(group_of(result), []).append(result)
    return {group: completed(grouped) for group, grouped in by_group.items()}


def scored_results(results: Sequence[TrialResult], objective: str, split: str = "dev") -> list[TrialResult]:
    """The finished results that have a finite score. Raises UserError when no result has the metric at all."""
    finished = [result for result in results if result.status == "finished"]
    scored = [result for result in finished if objective in result.scores.get(split, {})]
    metrics = {name for result in finished for scores in result.scores.values() for name in scores}
    if finished and objective not in metrics:
        raise UserError(unknown("metric of these trials", objective, [name for name in metrics if "/" not in name]))
    return [result for result in scored if math.isfinite(result.scores[split][objective])]


def reference_of(axis: str, options: Sequence[str]) -> str:
    """The option that others are compared with: the axis' default, else the first one tried."""
    default = find_axis(axis).default
    return default if default in options else options[0]


def fit_results(
    results: Sequence[TrialResult],
    objective: str,
    split: str = "dev",
    items: Mapping[str, ItemCounts] | None = None,
    bounds: tuple[float, float] | None = None,
) -> SurfaceFit:
    """Response surface of the finished trials of one task, model and training size.

    Args:
        results: the trials.
        objective: the metric that is analysed.
        split: whose scores.
        items: counts by item, by trial key; the bootstrap over items needs them of all trials.
        bounds: the lowest and highest value of the metric; those of the package's metrics are known.

    Raises:
        UserError: when the trials are of several groups, or none of them has a score.
    """
    by_group = group_results(results)
    if len(by_group) > 1:
        names = "; ".join(str(group) for group in by_group)
        raise UserError(
            f"Trials of {len(by_group)} groups cannot be compared: {names}. Choose one task, model and size."
        )
    scored = scored_results(completed(results), objective, split)
    if not scored:
        raise UserError(_no_score_message(results, objective, split))
    designs = [design_of(result) for result in scored]
    tried = {axis: dict.fromkeys(design[axis] for design in designs) for axis, _ in designs[0].options}
    orders = {axis: find_axis(axis).ordered(options) for axis, options in tried.items()}
    jackknife_influence = influence_matrix([(items or {}).get(result.key) for result in scored])
    scores = [result.scores[split][objective] for result in scored]
    seeds = [int(result.config["seed"]) for result in scored]
    limits = bounds or metric_bounds(objective)
    return fit_response_surface(designs, scores, orders, jackknife_influence, seeds=seeds, bounds=limits)


def _no_score_message(results: Sequence[TrialResult], objective: str, split: str) -> str:
    """Why there is no score at all, and what to do."""
    counts = Counter(result.status for result in results)
    by_status = ", ".join(f"{counts[status]} {status}" for status in ("finished", "pruned", "failed"))
    start = f'No finished trial has a "{objective}" on the split "{split}" ({by_status}).'
    if counts["failed"] and not counts["finished"]:
        errors = Counter((r.error.splitlines() or ["no reason given"])[0] for r in results if r.status == "failed")
        error, times = errors.most_common(1)[0]
        return f"{start} Of those that failed, {times} say: {error} Cure that; the same command runs them again."
    if any(objective in result.scores.get(split, {}) for result in results if result.status == "finished"):
        return f"{start} Their scores are not finite numbers: look at the metric, or at the training's loss."
    return f"{start} Run the sweep first."


def non_finite_results(results: Sequence[TrialResult], objective: str, split: str = "dev") -> list[TrialResult]:
    """Finished results whose score is no finite number; they are left out, and the page says so."""
    scores = [(r, r.scores.get(split, {}).get(objective)) for r in results if r.status == "finished"]
    return [result for result, score in scores if score is not None and not math.isfinite(score)]


def estimate_effects(
    results: Sequence[TrialResult], objective: str, split: str = "dev", items: Mapping[str, ItemCounts] | None = None
) -> list[Effect]:
    """Main effects: every option against the default of its axis, axis by axis; empty where nothing has a score.

    Args:
        results: trials of one task, model and training size.
        objective: the metric.
        split: "dev", or "dev_ood" for out-of-domain effects.
        items: counts by item, by trial key; without them intervals hold the noise of training alone.

    Returns:
        Effects in units of the metric, with 95% confidence intervals; no row for a default itself.

    Raises:
        UserError: when the trials are of several groups, or none has the metric.
    """
    results = completed(results)
    if not scored_results(results, objective, split):
        return []
    fitted = fit_results(results, objective, split, items)
    designs = [design_of(result) for result in scored_results(results, objective, split)]
    return surface_effects(fitted, designs)


def effect_scope(fitted: SurfaceFit) -> str:
    """What an effect of this fit is, what its interval holds, and the scale of the fit, in words."""
    where = (
        "Averaged over the options of the other axes."
        if fitted.pairs
        else "Within the designs tried, which cannot show whether options interact."
    )
    noise = {
        "seeds and items": "Intervals hold the noise of training and of the items.",
        "seeds": "Intervals hold the noise between trials; the items' completions were not kept.",
        "items": "Intervals hold the noise of the items; trials of the same design did not differ.",
    }
    parts = (where, noise.get(fitted.noise, UNKNOWN_NOISE), fitted.scale_reason)
    return " ".join(part for part in parts if part)


def surface_effects(fitted: SurfaceFit, designs: Sequence[Design]) -> list[Effect]:
    """Main effects of a fitted surface; `designs` are those of the trials, to count the replicates of an option."""
    rows = []
    for axis, options in fitted.coding.axes:
        reference = reference_of(axis, options)
        for option in options:
            if option == reference:
                continue
            estimate = fitted.effect(axis, option, reference).estimate
            count = sum(design[axis] == option for design in designs)
            rows.append(Effect(axis, option, reference, estimate.value, estimate.low, estimate.high, count))
    return rows


def effect_contrasts(fitted: SurfaceFit, differences: Sequence[tuple[str, str, str]]) -> list[Contrast]:
    """The contrasts behind effects, with their posterior draws; `differences` are (axis, option, reference)."""
    return [fitted.effect(*difference) for difference in differences]


def estimate_interactions(
    results: Sequence[TrialResult], objective: str, split: str = "dev", items: Mapping[str, ItemCounts] | None = None
) -> list[Interaction]:
    """Interactions: pairs of options against both defaults, strongest first; none where the trials cannot show any."""
    if not scored_results(results, objective, split):
        return []
    return surface_interactions(fit_results(results, objective, split, items))


def surface_interactions(fitted: SurfaceFit) -> list[Interaction]:
    """The interactions of a fitted surface, not shrunk: the clear ones first, each part the strongest first."""
    if not fitted.pairs:
        return []
    named = [
        one for first, second in combinations(fitted.coding.axes, 2) for one in _interactions(fitted, first, second)
    ]
    estimates = [contrast.estimate for _, contrast in named]
    simultaneous = simultaneous_intervals([contrast for _, contrast in named])
    rows = [
        Interaction(*names, estimate.value, estimate.low, estimate.high, family.excludes_zero)
        for (names, _), estimate, family in zip(named, estimates, simultaneous, strict=True)
    ]
    return sorted(rows, key=lambda row: (not row.clear, -abs(row.difference)))


_Names = tuple[tuple[str, str], tuple[str, str], tuple[str, str]]  # axes, options, references


def _interactions(
    fitted: SurfaceFit, first: tuple[str, tuple[str, ...]], second: tuple[str, tuple[str, ...]]
) -> Iterator[tuple[_Names, Contrast]]:
    """The differences of differences of two axes: both options, minus each alone, plus none."""
    axes = first[0], second[0]
    references = reference_of(*first), reference_of(*second)
    known = fitted.draws is not None and fitted.pairs_estimable(*axes)
    cells = fitted.interactions(*axes)
    for a, b in ((a, b) for a in first[1] for b in second[1]):
        if a != references[0] and b != references[1]:
            draws = cells[a, b] - cells[a, references[1]] - cells[references[0], b] + cells[references]
            yield (axes, (a, b), references), Contrast(draws, known, (-2 * fitted.width, 2 * fitted.width))


def effect_table(
    results: Sequence[TrialResult],
    objective: str,
    items: Mapping[str, Mapping[str, ItemCounts]] | None = None,
    margin: float = MARGIN,
) -> list[dict[str, Any]]:
    """One row an option: the effect in-domain and, where the trials have it, out-of-domain.

    Args:
        results: trials of one task, model and training size.
        objective: the metric.
        items: counts by item, by split and trial key.
        margin: half the width of the region of practical equivalence, in units of the metric.

    Returns:
        The fields of `Effect`, `claim` (see `claims.py`) and `interacts`: the options that change the effect
        significantly. The numbers out-of-domain end in `_ood`.
    """
    by_split = items or {}
    in_domain, out_of_domain = (_rows_with_claims(results, objective, s, by_split.get(s), margin) for s in SPLITS)
    ood_rows = {(row["axis"], row["option"], row["reference"]): row for row in out_of_domain}
    rows = []
    for row in in_domain:
        ood = ood_rows.get((row["axis"], row["option"], row["reference"]), {})
        rows.append(row | {f"{name}_ood": ood.get(name) for name in ("difference", "low", "high", "claim")})
    return rows


def _rows_with_claims(
    results: Sequence[TrialResult], objective: str, split: str, items: Mapping[str, ItemCounts] | None, margin: float
) -> list[dict[str, Any]]:
    """The effects on a split as rows, each with its claim and what it interacts with."""
    scored = scored_results(completed(results), objective, split)
    if not scored:
        return []
    fitted = fit_results(results, objective, split, items)
    rows = surface_effects(fitted, [design_of(result) for result in scored])
    contrasts = effect_contrasts(fitted, [(row.axis, row.option, row.reference) for row in rows])
    partners = _interaction_partners(fitted)
    return [
        asdict(row)
        | {
            "claim": effect_claim(row.estimate, simultaneous, margin),
            "interacts": ", ".join(partners.get((row.axis, row.option), ())),
        }
        for row, simultaneous in zip(rows, simultaneous_intervals(contrasts), strict=True)
    ]


def _interaction_partners(fitted: SurfaceFit) -> dict[tuple[str, str], list[str]]:
    """(axis, option) -> options that change its effect, by the simultaneous intervals of all interactions."""
    partners: dict[tuple[str, str], list[str]] = {}
    for pair in surface_interactions(fitted):
        if pair.clear:
            for this, other in ((0, 1), (1, 0)):
                key = pair.axes[this], pair.options[this]
                partners.setdefault(key, []).append(f"{pair.axes[other]}={pair.options[other]}")
    return partners
