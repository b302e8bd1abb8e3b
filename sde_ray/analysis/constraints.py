"""Feasibility of designs: which ones meet `constraints.min_format_adherence` and `constraints.max_output_tokens`.

    check = ConstraintCheck(results, Constraints(min_format_adherence=0.95))
    check.violations(design)     {"min_format_adherence": "format adherence 0.912 is below 0.95"}; empty: it is feasible

A design that ran is judged by the mean of its trials, any other by the prediction of a response surface. What is no
finite number breaks its constraint: nobody knows whether such a design meets it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sde_ray.analysis.effects import fit_results
from sde_ray.config.constraints import Constraints
from sde_ray.design.designs import design_of, paper_label
from sde_ray.errors import UserError
from sde_ray.types import Design, TrialResult

TOLERANCE = 1e-9
_QUANTITY = "quantity"  # the name under which a cost is fitted, as if it were a metric


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
        """The constraints that a design breaks, in words; empty: it is feasible."""
        lowest, highest = self.constraints.min_format_adherence, self.constraints.max_output_tokens
        broken = {}
        if lowest is not None and not (value := self.costs["format_adherence"](design)) >= lowest - TOLERANCE:
            known = f"format adherence {value:.3f} is below {lowest:g}"
            broken["min_format_adherence"] = known if math.isfinite(value) else _unknown("format adherence", value)
        if highest is not None and not (value := self.costs["output_tokens"](design)) <= highest + TOLERANCE:
            known = f"{value:.1f} output tokens are above {highest:g}"
            broken["max_output_tokens"] = known if math.isfinite(value) else _unknown("output tokens", value)
        return broken

    def feasible(self, designs: Iterable[Design]) -> list[Design]:
        """The designs that meet the constraints. Raises UserError, with the nearest one, when none does."""
        candidates = list(designs)
        feasible = [design for design in candidates if not self.violations(design)]
        if feasible:
            return feasible
        nearest = min(candidates, key=self._distance)
        raise UserError(
            f"No design meets the constraints. The nearest is {paper_label(nearest)}: "
            f"{', '.join(self.violations(nearest).values())}. Loosen them, or train longer."
        )

    def _distance(self, design: Design) -> float:
        lowest, highest = self.constraints.min_format_adherence, self.constraints.max_output_tokens
        missing = max(0.0, lowest - self.costs["format_adherence"](design)) if lowest is not None else 0.0
        excess = max(0.0, self.costs["output_tokens"](design) / highest - 1) if highest else 0.0
        return missing + excess if math.isfinite(missing + excess) else math.inf


def _unknown(quantity: str, value: float) -> str:
    return f"{quantity} {value} is no finite number, so whether it meets the constraint is not known"


class _Cost:
    """A quantity of designs: the mean of a design's trials, else the prediction of a response surface."""

    def __init__(self, results: Sequence[TrialResult], quantity: Callable[[TrialResult], float | None]) -> None:
        finished = [(result, quantity(result)) for result in results if result.status == "finished"]
        values = [(result, float(value)) for result, value in finished if value is not None]
        finite = [(result, value) for result, value in values if math.isfinite(value)]
        if not finite:
            raise UserError(
                "No finished trial has a finite number for what the constraint is about. "
                "Run trials of this version, or leave the constraint out."
            )
        self.fitted = fit_results([replace(one, scores={"dev": {_QUANTITY: v}}) for one, v in finite], _QUANTITY)
        self.bounds = min(value for _, value in finite), max(value for _, value in finite)
        self.by_design: dict[Design, list[float]] = {}
        for result, value in values:
            self.by_design.setdefault(design_of(result), []).append(value)

    def __call__(self, design: Design) -> float:
        if design in self.by_design:
            return sum(self.by_design[design]) / len(self.by_design[design])
        if not self.fitted.covers(design):
            return math.nan
        return min(max(self.fitted.predict(design), self.bounds[0]), self.bounds[1])
