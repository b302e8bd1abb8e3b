"""The designs of a recorded table: mean over seeds, and the difference to a reference design with its interval.

    score_designs(load("mams_smollm2_300"))
    -> [DesignScore(design, mean=0.385, seeds=(0.38, 0.40, 0.37), difference=Estimate(0.17, 0.09, 0.26)), ...]

The difference is that of the response surface, whose interval holds the noise of training, as all designs of the table
tell it together: between two designs of one lucky seed each it is smaller than that of their means.
All trials are scored on the same items, and a table keeps no scores of single ones: what other items would say is not
in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.response_surface import SurfaceFit, fit_response_surface
from sde_ray.bench.tables.table import RecordedTable
from sde_ray.design.axes import AXES
from sde_ray.design.designs import NAMED
from sde_ray.metrics import metric_bounds
from sde_ray.types import Design


@dataclass(frozen=True)
class DesignScore:
    """A design of a table. `seeds`: its scores in the order of the seeds. `difference`: to the reference design, in
    units of the metric; None of the reference itself, and where the table does not hold it."""

    design: Design
    mean: float
    seeds: tuple[float, ...]
    difference: Estimate | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        gap = self.difference
        interval = None if gap is None else {"value": gap.value, "low": gap.low, "high": gap.high}
        return {
            "design": dict(self.design.options),
            "mean": self.mean,
            "seeds": list(self.seeds),
            "difference": interval,
        }


def score_designs(table: RecordedTable, reference: Design = NAMED["baseline"]) -> list[DesignScore]:
    """Every design of a table, the highest mean first."""
    scores = table.scores()
    surface = _fit(table)
    means = {design: fmean(by_seed.values()) for design, by_seed in scores.items()}

    def difference(design: Design) -> Estimate | None:
        if design == reference or reference not in scores:
            return None
        return surface.difference(design, reference)

    ranked = sorted(scores, key=lambda design: -means[design])
    by_seed = {design: tuple(scores[design][seed] for seed in sorted(scores[design])) for design in ranked}
    return [DesignScore(design, means[design], by_seed[design], difference(design)) for design in ranked]


def _fit(table: RecordedTable) -> SurfaceFit:
    trials = [(design, seed, score) for design, by_seed in table.scores().items() for seed, score in by_seed.items()]
    designs, seeds, scores = (list(column) for column in zip(*trials, strict=True))
    orders = {name: tuple(axis.options) for name, axis in AXES.items()}
    return fit_response_surface(designs, scores, orders, seeds=seeds, bounds=metric_bounds(table.objective))
