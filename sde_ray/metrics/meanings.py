"""Meanings of metrics, half a sentence each, for whoever meets a name in a plan or a report.

metric_meaning("weighted_kappa")     "agreement beyond chance, near misses in part; 1 = perfect, 0 = chance"
metric_meaning("f1_strict")          "...; a faulty completion is all wrong"
"""

from __future__ import annotations

from collections.abc import Mapping

from sde_ray.metrics import ADHERENCE, STRICT, metric_bounds
from sde_ray.plugins import is_path

MEANINGS: Mapping[str, str] = {
    "weighted_kappa": "agreement beyond chance, near misses count in part; 1 = perfect, 0 = chance",
    "kappa": "agreement beyond chance; 1 = perfect, 0 = chance",
    "quadratic_weighted_kappa": "agreement beyond chance, by the distance of the labels; 1 = perfect, 0 = chance",
    "macro_kappa": "agreement beyond chance, every slot with the same weight; 1 = perfect, 0 = chance",
    "accuracy": "share of slots that are right; 1 = all",
    "sentence_accuracy": "share of items with every slot right; 1 = all",
    "macro_f1": "mean F1 of the labels, rare ones count as much; 1 = perfect, 0 = nothing right",
    "micro_f1": "F1 of all labels together; 1 = perfect, 0 = nothing right",
    "exact_match": "share of answers that are exactly right; 1 = all",
    "substring": "share of answers that hold the letters of an accepted value, also within a word; 1 = all",
    "precision": "share of what was found that is right; 1 = all",
    "recall": "share of what there is that was found; 1 = all",
    "f1": "found and right, matched exactly; 1 = perfect, 0 = nothing right",
    "precision_soft": "share of what was found that is right, near spans count; 1 = all",
    "recall_soft": "share of what there is that was found, near spans count; 1 = all",
    "f1_soft": "found and right, near spans count; 1 = perfect, 0 = nothing right",
    "record_f1": "records found and right in every field; 1 = perfect, 0 = nothing right",
    "field_f1": "fields found and right, parts of a record count; 1 = perfect, 0 = nothing right",
    "neg_mae": "mean absolute error with a minus; 0 = perfect",
    "neg_nmae": "mean absolute error as a share of the range, with a minus; 0 = perfect, -1 = worst",
    "parsable": "share of answers that are numbers of the range; 1 = all",
    ADHERENCE: "share of completions without a fault of form; 1 = all",
}


def metric_meaning(name: str) -> str:
    """What a metric says, in half a sentence; for one of the user's own, its bounds where it declares them."""
    if is_path(name):
        bounds = metric_bounds(name)
        return "a function of your own" + (f", from {bounds[0]:g} to {bounds[1]:g}" if bounds else "")
    pooled, _, slot = name.partition("/")
    strict = pooled != ADHERENCE and pooled.endswith(STRICT)
    meaning = MEANINGS.get(pooled.removesuffix(STRICT) if strict else pooled, "")
    extra = ["a faulty completion is all wrong"] if strict else []
    extra += [f"of {slot} alone"] if slot else []
    return "; ".join(part for part in (meaning, *extra) if part)
