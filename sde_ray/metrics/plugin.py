"""Metrics of the user's own, functions named by import path in a task's `metrics` or `objective`.

    from sde_ray.metrics import bounded

    @bounded(0.0, 1.0)
    def score(task: Task, example: Example, parsed: Parsed) -> float:
        "Share of the slots that gold has and the answer names."
        return sum(slot in parsed.answer for slot in example.answer) / max(len(example.answer), 1)

It is called once for each item and gives a finite number, the better the higher; the metric is the mean over items, so
that it has bootstrap intervals like any other. `bounded` declares the lowest and the highest value: effects are then
fitted on a scale that keeps to them, and intervals do not leave them. Without it the metric may take any value.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from numbers import Real
from types import FunctionType
from typing import TypeVar

from sde_ray.errors import UserError
from sde_ray.plugins import load_object
from sde_ray.types import Example, Parsed, Task

Score = Callable[[Task, Example, Parsed], float]
Function = TypeVar("Function", bound=Callable[..., float])
BOUNDS = "metric_bounds"


def bounded(low: float, high: float) -> Callable[[Function], Function]:
    """Declare the lowest and the highest value of a metric of one's own. Raises UserError unless low < high."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"A metric cannot be bounded by {low} and {high}. Give its lowest and its highest value.")

    def declare(function: Function) -> Function:
        setattr(function, BOUNDS, (float(low), float(high)))
        return function

    return declare


def load_metric(name: str) -> Score:
    """Load a metric by import path.

    Raises UserError: when it cannot be imported, is not trusted, is no function, or does not take three arguments.
    """
    function = load_object(name, FunctionType, "a metric")
    try:
        inspect.signature(function).bind("task", "example", "parsed")
    except TypeError:
        raise UserError(
            f'Metric "{name}" takes {inspect.signature(function)}. Expected a function of three arguments: '
            "task, example, parsed."
        ) from None
    return function


def plugin_bounds(name: str) -> tuple[float, float] | None:
    """Bounds that a metric declares; None where it declares none, or where it is not the user's to import."""
    try:
        return getattr(load_object(name, FunctionType, "a metric"), BOUNDS, None)
    except UserError:
        return None


def call_metric(name: str, metric: Score, task: Task, example: Example, parsed: Parsed) -> float:
    """Value of one item. Raises UserError when the metric fails, or gives no finite number within its bounds."""
    try:
        value = metric(task, example, parsed)
    except Exception as error:  # the metric's own
        raise UserError(
            f'Metric "{name}" fails on the item "{example.id}" with {type(error).__name__}: {error}. It has to take '
            "any answer, an empty one (parsed.answer == {}) and one with faults too."
        ) from error
    if not isinstance(value, Real) or not math.isfinite(value):
        raise UserError(f'Metric "{name}" returned {value!r}. Expected a finite number for every item.')
    low, high = getattr(metric, BOUNDS, (-math.inf, math.inf))
    if not low <= value <= high:
        raise UserError(
            f'Metric "{name}" returned {value} for the item "{example.id}", but is declared as '
            f"@bounded({low}, {high}). Correct one of the two."
        )
    return float(value)
