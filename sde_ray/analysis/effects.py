"""What each option does to the score: results of one task, model and training size in, effects with intervals out.

    effects(results, "weighted_kappa")                 [Effect("format", "lines", "natural", 0.12, 0.08, 0.16, 72)]
    effects(results, "weighted_kappa", "dev_ood")      the same out-of-domain
    interactions(results, "weighted_kappa")            pairs of options that do more, or less, together than apart
    table(results, "weighted_kappa")                   in-domain and out-of-domain side by side, with what may be said

An effect is the difference to the axis' default, averaged over the options of the other axes (`surface.py` fits it);
where the trials vary one axis at a time, it is the difference within the design that they vary.
An axis with a single option in the trials has no effects. `items` (see `items.py`) adds the noise of the dev items.

Only finished trials count. A pruned trial's last score is of a part of the training: it is lower by a shift that is not
the same for all designs, so it cannot stand beside final scores. Leaving it out has a price, too: who was pruned had a
low score, of which a part was bad luck, so designs that are often pruned keep their luckier seeds, and the effects of
their options are drawn towards 0. Tables say how many trials were pruned.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.claims import MARGIN, effect_claim
from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.response_surface import SurfaceFit, fit_surface
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError, unknown
from sde_ray.evaluation.per_item import ItemCounts, influence_matrix
from sde_ray.types import Design, TrialResult

OUT_OF_DOMAIN = "_ood"
SPLITS = ("dev", "dev" + OUT_OF_DOMAIN)
Array = npt.NDArray[np.float64]
UNKNOWN_NOISE = (
    "One trial a design, and no designs to spare: the noise of training is not known, so there is no interval. "
    "Add a seed."
)


@dataclass(frozen=True)
class Effect:
    """What an option does to the score, against `reference`, averaged over the other axes.

    `low` and `high` bound the 95% interval; both are None where the trials cannot estimate their noise.
    """

    axis: str
    option: str
    reference: str
    difference: float
    low: float | None
    high: float | None
    replicates: int


@dataclass(frozen=True)
class Interaction:
    """How much more two options bring together than the sum of what each brings alone, against the defaults."""

    axes: tuple[str, str]
    options: tuple[str, str]
    references: tuple[str, str]
    difference: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Group:
    """What trials must share to be compared."""

    task: str
    model: str
    train_size: int

    def __str__(self) -> str:
        return f"{self.task}, {self.model}, {self.train_size} samples"


def group_of(result: TrialResult) -> Group:
    config = result.config
    return Group(str(config["task"]), str(config["model"]), int(config["train_size"]))


def group_results(results: Sequence[TrialResult]) -> dict[Group, list[TrialResult]]:
    """Results by task, model and training size, in the order of their first trial."""
    found: dict[Group, list[TrialResult]] = {}
    for result in results:
        found.setdefault(group_of(result), []).append(result)
    return found


def design_of(result: TrialResult) -> Design:
    """The design of a result, its axes in the order of the table `AXES` (JSON may have sorted them)."""
    return make_design(**result.config["design"])


def usable(results: Sequence[TrialResult], objective: str, split: str = "dev") -> list[TrialResult]:
    """The finished results with a finite score; a metric that no result has is a `UserError`."""
    finished = [result for result in results if result.status == "finished"]
    scored = [result for result in finished if objective in result.scores.get(split, {})]
    known = {name for result in finished for scores in result.scores.values() for name in scores}
    if finished and objective not in known:
        raise UserError(unknown("metric of these trials", objective, [name for name in known if "/" not in name]))
    return [result for result in scored if math.isfinite(result.scores[split][objective])]


def reference_of(axis: str, options: Sequence[str]) -> str:
    """The option that others are compared with: the axis' default, else the first one tried."""
    default = find_axis(axis).default
    return default if default in options else options[0]


def fit_results(
    results: Sequence[TrialResult], objective: str, split: str = "dev", items: Mapping[str, ItemCounts] | None = None
) -> SurfaceFit:
    """The fitted surface of one task, model and training size."""
    found = group_results(results)
    if len(found) > 1:
        names = "; ".join(str(group) for group in found)
        raise UserError(f"Trials of {len(found)} groups cannot be compared: {names}. Choose one task, model and size.")
    scored = usable(results, objective, split)
    if not scored:
        raise UserError(_nothing(results, objective, split))
    designs = [design_of(result) for result in scored]
    orders = {axis: tuple(find_axis(axis).options) for design in designs[:1] for axis, _ in design.options}
    jackknife_influence = influence_matrix([(items or {}).get(result.key) for result in scored])
    scores = [result.scores[split][objective] for result in scored]
    return fit_surface(designs, scores, orders, jackknife_influence)


def _nothing(results: Sequence[TrialResult], objective: str, split: str) -> str:
    """Why there is no score at all, and what to do."""
    counts = Counter(result.status for result in results)
    said = ", ".join(f"{counts[status]} {status}" for status in ("finished", "pruned", "failed"))
    start = f'No finished trial has a "{objective}" on the split "{split}" ({said}).'
    if counts["failed"] and not counts["finished"]:
        errors = Counter((r.error.splitlines() or ["no reason given"])[0] for r in results if r.status == "failed")
        error, times = errors.most_common(1)[0]
        return f"{start} Of those that failed, {times} say: {error} Cure that; the same command runs them again."
    if any(objective in result.scores.get(split, {}) for result in results if result.status == "finished"):
        return f"{start} Their scores are not finite numbers: look at the metric, or at the training's loss."
    return f"{start} Run the sweep first."


def not_finite(results: Sequence[TrialResult], objective: str, split: str = "dev") -> list[TrialResult]:
    """Finished results whose score is no finite number; they count nowhere, which is to be told."""
    scores = [(r, r.scores.get(split, {}).get(objective)) for r in results if r.status == "finished"]
    return [result for result, score in scores if score is not None and not math.isfinite(score)]


def effects(
    results: Sequence[TrialResult], objective: str, split: str = "dev", items: Mapping[str, ItemCounts] | None = None
) -> list[Effect]:
    """Every option against the default of its axis; axis by axis, no row for the default itself."""
    if not usable(results, objective, split):
        return []
    fitted = fit_results(results, objective, split, items)
    designs = [design_of(result) for result in usable(results, objective, split)]
    return effects_of(fitted, designs)


def scope_of(fitted: SurfaceFit) -> str:
    """What an effect of this fit is, and what its interval holds, in words."""
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
    return f"{where} {noise.get(fitted.noise, UNKNOWN_NOISE)}"


def effects_of(fitted: SurfaceFit, designs: Sequence[Design]) -> list[Effect]:
    """The effects of a fitted surface; `designs` are those of the trials, to count the replicates of an option."""
    found = []
    for axis, options in fitted.coding.axes:
        reference = reference_of(axis, options)
        for option in options:
            if option == reference:
                continue
            (row,) = effect_rows(fitted, [(axis, option, reference)])
            estimate = fitted.contrast(row)
            count = sum(design[axis] == option for design in designs)
            found.append(Effect(axis, option, reference, estimate.value, estimate.low, estimate.high, count))
    return found


def effect_rows(fitted: SurfaceFit, differences: Sequence[tuple[str, str, str]]) -> list[Array]:
    """The contrasts behind effects, given as (axis, option, reference)."""
    row_of = fitted.coding.option_row
    return [np.asarray(row_of(axis, option) - row_of(axis, reference)) for axis, option, reference in differences]


def interactions(
    results: Sequence[TrialResult], objective: str, split: str = "dev", items: Mapping[str, ItemCounts] | None = None
) -> list[Interaction]:
    """Pairs of options against both defaults, strongest first; none where the trials cannot show any."""
    if not usable(results, objective, split):
        return []
    return interactions_of(fit_results(results, objective, split, items))


def interactions_of(fitted: SurfaceFit) -> list[Interaction]:
    """The interactions of a fitted surface, strongest first."""
    if not fitted.pairs:
        return []
    found = []
    for (first, firsts), (second, seconds) in combinations(fitted.coding.axes, 2):
        references = reference_of(first, firsts), reference_of(second, seconds)
        for options in ((a, b) for a in firsts for b in seconds if a != references[0] and b != references[1]):
            found.append(_interaction(fitted, (first, second), options, references))
    return sorted(found, key=lambda one: -abs(one.difference))


def _interaction(
    fitted: SurfaceFit, axes: tuple[str, str], options: tuple[str, str], references: tuple[str, str]
) -> Interaction:
    estimate = fitted.contrast(_pair_row(fitted, axes, options, references))
    return Interaction(axes, options, references, estimate.value, estimate.low, estimate.high)


def _pair_row(
    fitted: SurfaceFit, axes: tuple[str, str], options: tuple[str, str], references: tuple[str, str]
) -> Array:
    """The difference of differences: both options, minus each alone, plus none."""
    signed = (
        (options[0], options[1], 1.0),
        (options[0], references[1], -1.0),
        (references[0], options[1], -1.0),
        (references[0], references[1], 1.0),
    )
    rows = [sign * fitted.coding.pair_row((axes[0], a), (axes[1], b)) for a, b, sign in signed]
    return np.asarray(np.sum(rows, axis=0))


def effect_table(
    results: Sequence[TrialResult],
    objective: str,
    items: Mapping[str, Mapping[str, ItemCounts]] | None = None,
    margin: float = MARGIN,
) -> list[dict[str, Any]]:
    """One row an option: the effect in-domain and, where the trials have it, out-of-domain; `items` by split.

    `claim` is what may be said of it (`claims.py`), `interacts` the options that change it clearly.
    """
    by_split = items or {}
    home, away = (_claimed(results, objective, split, by_split.get(split), margin) for split in SPLITS)
    abroad = {(row["axis"], row["option"], row["reference"]): row for row in away}
    rows = []
    for row in home:
        found = abroad.get((row["axis"], row["option"], row["reference"]), {})
        rows.append(row | {f"{name}_ood": found.get(name) for name in ("difference", "low", "high", "claim")})
    return rows


def _claimed(
    results: Sequence[TrialResult], objective: str, split: str, items: Mapping[str, ItemCounts] | None, margin: float
) -> list[dict[str, Any]]:
    """The effects on a split as rows, each with its claim and what it interacts with."""
    scored = usable(results, objective, split)
    if not scored:
        return []
    fitted = fit_results(results, objective, split, items)
    found = effects_of(fitted, [design_of(result) for result in scored])
    sure = fitted.simultaneous_intervals(effect_rows(fitted, [(one.axis, one.option, one.reference) for one in found]))
    partners = _partners(fitted)
    return [
        asdict(one)
        | {
            "claim": effect_claim(Estimate(one.difference, one.low, one.high), wide, margin),
            "interacts": ", ".join(partners.get((one.axis, one.option), ())),
        }
        for one, wide in zip(found, sure, strict=True)
    ]


def _partners(fitted: SurfaceFit) -> dict[tuple[str, str], list[str]]:
    """(axis, option) -> options that change its effect, clearly even among all pairs."""
    pairs = interactions_of(fitted)
    sure = fitted.simultaneous_intervals([_pair_row(fitted, one.axes, one.options, one.references) for one in pairs])
    found: dict[tuple[str, str], list[str]] = {}
    for pair, wide in zip(pairs, sure, strict=True):
        if wide.excludes_zero:
            for mine, other in ((0, 1), (1, 0)):
                key = pair.axes[mine], pair.options[mine]
                found.setdefault(key, []).append(f"{pair.axes[other]}={pair.options[other]}")
    return found


def predict_table(results: Sequence[TrialResult], objective: str, split: str = "dev") -> list[tuple[Design, float]]:
    """Every design tried, with the score that the fitted surface expects of it, best first."""
    fitted = fit_results(results, objective, split)
    designs = dict.fromkeys(design_of(result) for result in usable(results, objective, split))
    return sorted(((design, fitted.predict(design)) for design in designs), key=lambda pair: -pair[1])
