"""Which trials the final comparison runs: the assembled design and its controls, on fresh seeds and the test split.

    trials = validation_trials(strategy, config, results)       {"assembled": [TrialConfig, ...], "baseline": ...}

    repeated_trials(strategy, config, trials)                   {"learning_rate=0.002": {"assembled": [...], ...}}

What they show is said in `analysis/validation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sde_ray.analysis.effects import fit_results, group_results, scored_results
from sde_ray.analysis.leaderboard import rank_designs
from sde_ray.analysis.nuisance import average_over_nuisance, results_without_nuisance
from sde_ray.analysis.strategy import Strategy
from sde_ray.analysis.verdict import ASSEMBLED, BEST_SEEN
from sde_ray.config.load import open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import at_amounts_of, essential, parse_design, without_amounts
from sde_ray.design.space import design_for
from sde_ray.errors import UserError
from sde_ray.sweep.curation import carried_out, configured_value
from sde_ray.sweep.plan import fingerprint_all, make_trial
from sde_ray.types import Design, Task, TrialResult


def contenders(
    strategy: Strategy, config: SweepConfig, results: Sequence[TrialResult], task: Task
) -> dict[str, Design]:
    """The contenders by name: the assembled design, the best one seen (by its shrunken mean) and the controls.

    Args:
        results: Those of the sweep; only the strategy's task and model count.
        task: The strategy's.
    """
    contest = (strategy.task, strategy.model)
    groups = group_results([r for r in _selecting(results) if (r.config["task"], r.config["model"]) == contest])
    largest = groups[max(groups, key=lambda group: group.train_size)] if groups else []
    split = config.objective.split
    scored = scored_results(largest, strategy.objective, split)
    fitted = fit_results(largest, strategy.objective, split) if scored else None
    averaged = average_over_nuisance(fitted) if fitted else None
    ranked = rank_designs(results_without_nuisance(largest), strategy.objective, split, averaged)
    best_seen = {BEST_SEEN: essential(ranked[0].design)} if ranked else {}
    designs = {ASSEMBLED: essential(strategy.design), **best_seen}
    for control in config.validation.controls:
        name = control if isinstance(control, str) else parse_design(control).slug
        designs[name] = design_for(task, parse_design(control))
    # A control sees as many samples as the assembled design, whose size was chosen, or as the configuration lists.
    listed = bool(config.validation.train_sizes)
    return {
        name: without_amounts(design) if listed else at_amounts_of(design, designs[ASSEMBLED])
        for name, design in designs.items()
    }


def _selecting(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The sweep's own results: those of an earlier final comparison stand in the same ledger and choose nothing."""
    return [result for result in results if "test" not in result.config["splits"]]


def validation_trials(
    strategy: Strategy, config: SweepConfig, results: Sequence[TrialResult]
) -> dict[str, list[TrialConfig]]:
    """The trials of each contender. One design under two names has the same trials (equal keys): run each key once."""
    used = sorted({int(r.config["seed"]) for r in _selecting(results)} & set(config.validation.seeds))
    if used:
        raise UserError(f"validation.seeds {used} were used by the sweep. The final comparison needs fresh ones.")
    if not config.validation.seeds:
        raise UserError("validation.seeds is empty. Give at least one seed that the sweep has not used; three or more.")
    task = open_tasks(config)[strategy.task]
    sizes = config.validation.train_sizes or config.train_sizes
    data = fingerprint_all(config, task)
    return {
        name: [
            make_trial(
                config, task, strategy.model, design, seed, size, config.validation.test_size, data, ("test",), (1.0,)
            )
            for size in sizes
            for seed in config.validation.seeds
        ]
        for name, design in contenders(strategy, config, results, task).items()
    }


def repeated_trials(
    strategy: Strategy, config: SweepConfig, trials: Mapping[str, Sequence[TrialConfig]]
) -> dict[str, dict[str, list[TrialConfig]]]:
    """The same comparison at each further value of the sweep's nuisance axes, by the value; none without such an axis.

    One axis at a time: the others stay as they are configured.
    """
    values = dict.fromkeys((check.axis, check.option) for check in strategy.robustness)
    return {
        f"{axis}={option}": {
            name: [
                carried_out(replace(trial, design=Design((*trial.design.options, (axis, option)))))
                for trial in contender
            ]
            for name, contender in trials.items()
        }
        for axis, option in values
        if option not in (find_axis(axis).default, configured_value(config, axis))
    }
