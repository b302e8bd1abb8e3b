"""What each option does to the score: results of one task, model and training size in, effects with intervals out.

    effects(results, "weighted_kappa")                 [Effect("format", "lines", "natural", 0.12, 0.08, 0.16, 72)]
    effects(results, "weighted_kappa", "dev_ood")      the same out-of-domain
    interactions(results, "weighted_kappa")            pairs of options that do more, or less, together than apart
    table(results, "weighted_kappa")                   in-domain and out-of-domain side by side, for CLI and MLflow

An effect is the difference to the axis' default, averaged over the options of the other axes (`surface.py` fits it).
Only finished trials count: a pruned trial was stopped because of its score, and its last score is not a final one.
An axis with a single option in the trials has no effects. `items` (see `items.py`) adds the noise of the dev items.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from sde_ray.axes import find_axis
from sde_ray.design import make
from sde_ray.errors import UserError, unknown
from sde_ray.items import Items, influence_of
from sde_ray.surface import Coding, Fit
from sde_ray.surface import fit as fit_surface
from sde_ray.types import Design, Effect, TrialResult

OUT_OF_DOMAIN = "_ood"


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


def groups(results: Sequence[TrialResult]) -> dict[Group, list[TrialResult]]:
    """Results by task, model and training size, in the order of their first trial."""
    found: dict[Group, list[TrialResult]] = {}
    for result in results:
        found.setdefault(group_of(result), []).append(result)
    return found


def design_of(result: TrialResult) -> Design:
    """The design of a result, its axes in the order of the table `AXES` (JSON may have sorted them)."""
    return make(**result.config["design"])


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


def fit(
    results: Sequence[TrialResult], objective: str, split: str = "dev", items: Mapping[str, Items] | None = None
) -> Fit:
    """The fitted surface of one task, model and training size."""
    found = groups(results)
    if len(found) > 1:
        names = "; ".join(str(group) for group in found)
        raise UserError(f"Trials of {len(found)} groups cannot be compared: {names}. Choose one task, model and size.")
    scored = usable(results, objective, split)
    if not scored:
        counts = {status: sum(r.status == status for r in results) for status in ("finished", "pruned", "failed")}
        said = ", ".join(f"{count} {status}" for status, count in counts.items())
        raise UserError(f'No finished trial has a "{objective}" on the split "{split}" ({said}). Run the sweep first.')
    designs = [design_of(result) for result in scored]
    orders = {axis: tuple(find_axis(axis).options) for design in designs[:1] for axis, _ in design.options}
    influence = influence_of([(items or {}).get(result.key) for result in scored])
    scores = [result.scores[split][objective] for result in scored]
    return fit_surface(designs, scores, orders, influence)


def effects(
    results: Sequence[TrialResult], objective: str, split: str = "dev", items: Mapping[str, Items] | None = None
) -> list[Effect]:
    """Every option against the default of its axis; axis by axis, no row for the default itself."""
    if not usable(results, objective, split):
        return []
    fitted = fit(results, objective, split, items)
    designs = [design_of(result) for result in usable(results, objective, split)]
    return effects_of(fitted, designs)


def effects_of(fitted: Fit, designs: Sequence[Design]) -> list[Effect]:
    """The effects of a fitted surface; `designs` are those of the trials, to count the replicates of an option."""
    found = []
    for axis, options in fitted.coding.axes:
        reference = reference_of(axis, options)
        for option in options:
            if option == reference:
                continue
            row = fitted.coding.option_row(axis, option) - fitted.coding.option_row(axis, reference)
            estimate = fitted.contrast(row)
            count = sum(design[axis] == option for design in designs)
            found.append(Effect(axis, option, reference, estimate.value, estimate.low, estimate.high, count))
    return found


def interactions(
    results: Sequence[TrialResult], objective: str, split: str = "dev", items: Mapping[str, Items] | None = None
) -> list[Interaction]:
    """Pairs of options against both defaults, strongest first; none where the trials cannot show any."""
    if not usable(results, objective, split):
        return []
    return interactions_of(fit(results, objective, split, items))


def interactions_of(fitted: Fit) -> list[Interaction]:
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
    fitted: Fit, axes: tuple[str, str], options: tuple[str, str], references: tuple[str, str]
) -> Interaction:
    coding: Coding = fitted.coding
    row = sum(
        sign * coding.pair_row((axes[0], a), (axes[1], b))
        for a, b, sign in (
            (options[0], options[1], 1.0),
            (options[0], references[1], -1.0),
            (references[0], options[1], -1.0),
            (references[0], references[1], 1.0),
        )
    )
    estimate = fitted.contrast(row)  # type: ignore[arg-type]
    return Interaction(axes, options, references, estimate.value, estimate.low, estimate.high)


def table(
    results: Sequence[TrialResult], objective: str, items: Mapping[str, Mapping[str, Items]] | None = None
) -> list[dict[str, Any]]:
    """One row an option: the effect in-domain and, where the trials have it, out-of-domain; `items` by split."""
    by_split = items or {}
    home = effects(results, objective, "dev", by_split.get("dev"))
    away = effects(results, objective, "dev" + OUT_OF_DOMAIN, by_split.get("dev" + OUT_OF_DOMAIN))
    abroad = {(effect.axis, effect.option): effect for effect in away}
    rows = []
    for effect in home:
        other = abroad.get((effect.axis, effect.option))
        same = other is not None and other.reference == effect.reference
        found = asdict(other) if other is not None and same else {}
        rows.append(asdict(effect) | {f"{name}_ood": found.get(name) for name in ("difference", "low", "high")})
    return rows


def predict_table(results: Sequence[TrialResult], objective: str, split: str = "dev") -> list[tuple[Design, float]]:
    """Every design tried, with the score that the fitted surface expects of it, best first."""
    fitted = fit(results, objective, split)
    designs = dict.fromkeys(design_of(result) for result in usable(results, objective, split))
    return sorted(((design, fitted.predict(design)) for design in designs), key=lambda pair: -pair[1])
