"""Points to evaluate: the designs that every search tries first, and the second seed of the first of them.

"Better than the baseline" is measured where the sweep has trials of the baseline, and only predicted where it has none.
Two seeds of one design at least tell how noisy training is; without them a sweep with one seed knows its noise only by
how badly a surface fits.
"""

from __future__ import annotations

from collections.abc import Sequence

from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design import designs
from sde_ray.design.space import DesignSpace
from sde_ray.search import METHODS
from sde_ray.sweep.contest import Contest
from sde_ray.sweep.curation import home_option
from sde_ray.types import Design


def fit_design(config: SweepConfig, design: Design, space: DesignSpace) -> Design:
    """The design with the axes of a space: those that stand still at their option, those it lacks at their default."""
    options = dict(design.options)
    fitted = {
        axis: names[0] if axis in space.pinned else options.get(axis, home_option(config, axis, names))
        for axis, names in space.axes.items()
    }
    return Design((*fitted.items(), *((axis, option) for axis, option in options.items() if axis not in fitted)))


def points_to_evaluate(config: SweepConfig, space: DesignSpace) -> tuple[Design, ...]:
    """The designs of `search.points_to_evaluate` that the space has, each once.

    None for `one_at_a_time`, whose designs are those around its reference design.
    """
    if config.search.method == "one_at_a_time":
        return ()
    wanted = [designs.without_nuisance(designs.parse_design(name)) for name in config.search.points_to_evaluate]
    fitted = [fit_design(config, design, space) for design in wanted]
    return tuple(design for design in dict.fromkeys(fitted) if design in space.designs)


def repeated_design(config: SweepConfig, points: Sequence[Design], reference_design: Design) -> Design | None:
    """The design that gets a second seed; None where nothing is to be tried first, or where the designs
    are listed one by one."""
    if not config.search.points_to_evaluate or config.designs:
        return None
    if config.search.method == "one_at_a_time":
        return reference_design
    return points[0] if points else None


def seeds_of(config: SweepConfig, design: Design, repeated: Design | None) -> tuple[int, ...]:
    """The seeds that a design is trained with: the configuration's, and for the repeated one at least two."""
    if design != repeated or len(config.seeds) > 1:
        return config.seeds
    return *config.seeds, config.seeds[0] + 1


def describe_points(config: SweepConfig, contest: Contest) -> str:
    """What is tried first and with which seeds, in words; empty where nothing is."""
    labels = [designs.paper_label(design) for design in contest.points_to_evaluate]
    again = contest.repeated
    if again is not None and again in contest.trials:
        seeds = seeds_of(config, again, again)[:2]
        label = designs.paper_label(again)
        labels = [f"{label} with seeds {seeds[0]} and {seeds[1]}", *(one for one in labels if one != label)]
    return f"first: {'; then '.join(labels)}" if labels else ""


def second_seeds(config: SweepConfig, contest: Contest) -> tuple[TrialConfig, ...]:
    """The trials beyond the configuration's seeds, which come on top of a method's budget of designs.

    None for a method that asks for single trials: there they are a part of its budget.
    """
    if METHODS[config.search.method].trials:
        return ()
    return tuple(trial for trials in contest.trials.values() for trial in trials if trial.seed not in config.seeds)
