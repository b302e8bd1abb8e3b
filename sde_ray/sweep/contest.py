"""A contest: one task on one model, with the designs that compete on it and their trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.search import METHODS, Searcher
from sde_ray.types import Design


@dataclass(frozen=True)
class Contest:
    """The designs that compete on a task and a model, each with its trials (seeds × training sizes × nuisance values).

    A design here is one without nuisance axes: it stands for its trials at every combination of their values, its
    *block*, so that whatever a search method compares has seen the same values.

    `points_to_evaluate` are tried first; `repeated` is the design that has a second seed also where others have one.
    """

    task: str
    model: str
    trials: Mapping[Design, tuple[TrialConfig, ...]]
    reference_design: Design
    axes: Mapping[str, tuple[str, ...]]
    points_to_evaluate: tuple[Design, ...] = ()
    repeated: Design | None = None

    @property
    def num_values(self) -> int:
        """How many combinations of nuisance values each design is trained at; 1 without a nuisance axis."""
        return max((len({trial.design for trial in trials}) for trials in self.trials.values()), default=1)

    def searcher(self, config: SweepConfig) -> Searcher:
        """The search method over this contest's designs."""
        search, method = config.search, METHODS[config.search.method]
        assert not method.trials, "asks for trials of all contests (see adaptive_queue.py)"
        options = {name: getattr(search, name) for name in method.options}
        searcher: Searcher = method.build(
            tuple(self.trials),
            budget=search.n_trials,
            seed=search.seed,
            reference_design=self.reference_design,
            points_to_evaluate=self.points_to_evaluate,
            **options,
        )
        return searcher
