"""Designs of a sweep, each compared with one of them: paired on the seeds and items that the two share.

    for row in compare_designs(study, parse_design("format=json_object")): row.design, row.paired, row.claim

For designs that are listed one by one: where two axes always change together no effect of an option can be told apart,
but designs can be compared as they are. All comparisons with the reference are one family (Holm). The items are those
that the sweep has chosen on, so a design that leads here has been chosen by luck in part: the final comparison has
items of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from sde_ray.analysis.comparison import comparison_claim
from sde_ray.analysis.paired import Key, PairedDifference, tabulate
from sde_ray.analysis.study import Study
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import completed, design_of, essential, paper_label
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts
from sde_ray.metrics import metric_bounds
from sde_ray.search.scale import candidate_scales
from sde_ray.types import Design, TrialResult

ITEM_DRAWS = 2000


@dataclass(frozen=True)
class ComparedDesign:
    """A design against the reference: means over the seeds that both have, and the paired difference of these.

    `paired` is None of the reference itself and of a design that shares no seed with it. `adherence` and `tokens`: the
    share of completions without a fault and output tokens an item, means over the design's trials.
    """

    design: Design
    score: float
    paired: PairedDifference | None
    claim: str
    adherence: float
    tokens: float
    trials: int

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        paired = self.paired
        estimate = {name: getattr(paired, name, None) for name in ("difference", "low", "high", "adjusted_p_value")}
        return {
            "design": dict(self.design.options),
            "label": paper_label(self.design),
            "score": self.score,
            **estimate,
            "seeds": paired.seeds if paired else None,
            "claim": self.claim,
            "format_adherence": self.adherence,
            "output_tokens": self.tokens,
            "trials": self.trials,
        }


def compare_designs(study: Study, reference: Design) -> list[ComparedDesign]:
    """Every design of a study against the reference, the highest mean first.

    Raises UserError: when the reference has no finished trial in it.
    """
    scored = completed(study.scored)
    by_design: dict[Design, list[TrialResult]] = {}
    for result in scored:
        by_design.setdefault(essential(design_of(result)), []).append(result)
    wanted = essential(reference)
    if wanted not in by_design:
        raise UserError(
            f"No trial of {reference.slug} has finished on {study.group}. Compare with one of: "
            f"{'; '.join(design.slug for design in by_design) or 'none has yet'}."
        )
    differences = _differences(study, scored, by_design, wanted)
    rows = [_row(study, design, results, differences.get(design.slug)) for design, results in by_design.items()]
    return sorted(rows, key=lambda row: -row.score)


def _differences(
    study: Study, scored: Sequence[TrialResult], by_design: dict[Design, list[TrialResult]], reference: Design
) -> dict[str, PairedDifference]:
    """Paired differences to the reference, by the slug of the other design."""
    values: dict[Key, float] = {}
    items: dict[Key, ItemCounts] = {}
    counts = study.items[study.split]
    for result in scored:
        whole = design_of(result)
        nuisance = tuple((axis, option) for axis, option in whole.options if find_axis(axis).nuisance)
        key = essential(whole).slug, int(result.config["seed"]), nuisance
        values[key] = result.scores[study.split][study.objective]
        if result.key in counts:
            items[key] = counts[result.key]
    names = {design.slug: design for design in by_design}
    scale = candidate_scales(metric_bounds(study.objective))[-1]
    table = tabulate(values, items, names, reference.slug, ITEM_DRAWS, None, scale)
    compared = table.compare([name for name in names if name in table.scores]) if table.scores else {}
    return {name: _turned(paired) for name, paired in compared.items()}


def _turned(paired: PairedDifference) -> PairedDifference:
    """The other contender minus the first, in place of the first minus the other."""
    low, high = (None if bound is None else -bound for bound in (paired.high, paired.low))
    return replace(paired, difference=-paired.difference, low=low, high=high)


def _row(
    study: Study, design: Design, results: Sequence[TrialResult], paired: PairedDifference | None
) -> ComparedDesign:
    scores = [result.scores[study.split] for result in results]
    return ComparedDesign(
        design=design,
        score=fmean(one[study.objective] for one in scores),
        paired=paired,
        claim=comparison_claim(paired) if paired else "",
        adherence=fmean(one["format_adherence"] for one in scores),
        tokens=fmean(result.tokens.get("output", 0.0) for result in results),
        trials=len(results),
    )
