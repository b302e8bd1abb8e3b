"""Studies of a sweep: the comparable trials of one task, model and training size, with all that they show.

    for study in studies(config, results): study.ranked, study.effects, study.interactions

A study reads the ledger's results and the completions that trials kept; it loads no model. Each training size and each
model is a study of its own: an effect at 500 samples need not be one at 5,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sde_ray.analysis.effects import (
    OUT_OF_DOMAIN,
    Effect,
    Group,
    Interaction,
    effect_scope,
    effect_table,
    fit_results,
    group_results,
    scored_results,
    surface_effects,
    surface_interactions,
)
from sde_ray.analysis.leaderboard import BestVsBaseline, RankedDesign, compare_best, rank_designs
from sde_ray.analysis.pareto import ParetoPoint, pareto_front
from sde_ray.analysis.response_surface import SurfaceFit
from sde_ray.config.load import open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.design.designs import design_of
from sde_ray.evaluation.per_item import ItemCounts, read_items_by_trial
from sde_ray.storage.run_directory import RunDirectory
from sde_ray.types import TrialResult

Results = tuple[TrialResult, ...]


@dataclass(frozen=True)
class Study:
    """Comparable trials, and the metric and split on which they are compared.

    Everything is computed when it is first needed, then kept.
    """

    group: Group
    objective: str
    split: str
    results: Results
    folder: Path

    @cached_property
    def ranked(self) -> list[RankedDesign]:
        """The leaderboard, best first."""
        return rank_designs(self.results, self.objective, self.split, self.fitted)

    @cached_property
    def items(self) -> dict[str, dict[str, ItemCounts]]:
        """Counts by item of every trial that kept its completions: split -> trial key -> counts."""
        return {
            split: read_items_by_trial(self.results, RunDirectory.at(self.folder).trials, split, self.objective)
            for split in ("dev", "dev" + OUT_OF_DOMAIN)
        }

    @cached_property
    def fitted(self) -> SurfaceFit | None:
        """The fitted response surface on the objective's split; None where nothing has a score."""
        if not scored_results(self.results, self.objective, self.split):
            return None
        return fit_results(self.results, self.objective, self.split, self.items[self.split])

    @cached_property
    def best_vs_baseline(self) -> BestVsBaseline | None:
        """Is the best design shown to be better than the baseline, given how many were compared?"""
        return compare_best(self.ranked, self.fitted) if self.fitted else None

    @cached_property
    def pareto_front(self) -> list[ParetoPoint]:
        """The Pareto front of score against output tokens."""
        return pareto_front(self.ranked, self.fitted)

    @cached_property
    def main_effects(self) -> list[Effect]:
        """Main effects on the objective's split."""
        return surface_effects(self.fitted, [design_of(result) for result in self.scored]) if self.fitted else []

    @cached_property
    def scored(self) -> list[TrialResult]:
        """The finished trials with a finite score."""
        return scored_results(self.results, self.objective, self.split)

    @cached_property
    def scope(self) -> str:
        """What an effect of this study is, and what noise its interval covers, in words."""
        return effect_scope(self.fitted) if self.fitted else ""

    @cached_property
    def effects(self) -> list[dict[str, Any]]:
        """Main effects as rows, in-domain and out-of-domain side by side, with claims (`effect_table`)."""
        return effect_table(self.results, self.objective, self.items)

    @cached_property
    def interactions(self) -> list[Interaction]:
        """Interactions of two options, strongest first."""
        return surface_interactions(self.fitted) if self.fitted else []

    def to_dict(self) -> dict[str, Any]:
        """For a program."""
        return {
            **asdict(self.group),
            "objective": self.objective,
            "split": self.split,
            "leaderboard": [row.to_dict() for row in self.ranked],
            "effects": self.effects,
            "interactions": [asdict(row) for row in self.interactions],
            "scope": self.scope,
            "scale": self.fitted and {"name": self.fitted.scale.name, "reason": self.fitted.scale_reason},
            "best_vs_baseline": self.best_vs_baseline and self.best_vs_baseline.to_dict(),
            "pareto_front": [point.to_dict() for point in self.pareto_front],
        }


def studies(config: SweepConfig, results: Sequence[TrialResult]) -> list[Study]:
    """The studies of a sweep, in the order of their first trial, without the trials of a final comparison."""
    tasks = open_tasks(config)
    selecting = [result for result in results if result.config["task"] in tasks and "dev" in result.config["splits"]]
    return [
        Study(
            group=group,
            objective=config.metric_for(tasks[group.task]),
            split=config.objective.split,
            results=tuple(grouped),
            folder=config.run_dir.path,
        )
        for group, grouped in group_results(selecting).items()
    ]
