"""Degenerate results: scores that cannot tell designs apart, whatever a fit would make of them.

    degenerate_scores([0.0, 0.0, 0.0], (-1.0, 1.0))      "Every score is 0: nothing was learned. Raise ..."
    degenerate_gold(task)                                "Every dev item has the same answer, ..."

Assembly then keeps the default of every axis, and terminal and page say why.
"""

from __future__ import annotations

from collections.abc import Sequence

from sde_ray.types import Task

CEILING = 0.005  # of a metric's range: scores nearer to its upper bound than that are at the ceiling
ROUNDING = 1e-9
REMEDY = (
    "Raise train.num_train_epochs, train.learning_rate or train_sizes, and look at the answers in predictions.jsonl "
    "and with `sde-ray show`."
)
TOO_EASY = (
    "These items cannot tell designs apart: take harder or more of them, or fewer training samples (train_sizes)."
)


def degenerate_scores(scores: Sequence[float], bounds: tuple[float, float] | None) -> str:
    """Why the scores of a study's trials cannot tell designs apart; empty where they may.

    Args:
        scores: one a finished trial, each finite.
        bounds: of the metric; None where it has none.
    """
    if not scores:
        return ""
    lowest, highest = min(scores), max(scores)
    zero_is_nothing = bounds is not None and bounds[0] <= 0 < bounds[1]  # chance or nothing right, not perfect
    if zero_is_nothing and highest <= ROUNDING:
        what = "is 0" if lowest >= -ROUNDING else "is 0 or below, as by chance"
        return f"Every score {what}: nothing was learned. {REMEDY}"
    if len(scores) < 2:
        return ""
    if highest - lowest <= ROUNDING:
        return f"Every trial has the same score, {highest:.3f}. {TOO_EASY}"
    if bounds is not None and lowest >= bounds[1] - CEILING * (bounds[1] - bounds[0]):
        return f"Every score is at the ceiling, {lowest:.3f} to {highest:.3f} of at most {bounds[1]:g}. {TOO_EASY}"
    return ""


def degenerate_gold(task: Task) -> str:
    """Why a task's dev items cannot tell designs apart: all have the same answer; empty where they may."""
    examples = task.load("dev")
    answers = {tuple(sorted((slot, values) for slot, values in example.answer.items())) for example in examples}
    if task.kind != "label" or len(examples) < 2 or len(answers) > 1:
        return ""
    shown = ", ".join(f"{slot}: {' and '.join(values)}" for slot, values in next(iter(answers))) or task.placeholder
    return (
        f"Every dev item has the same answer ({shown}), so a design is right by always giving it. Add dev items with "
        "other labels."
    )
