"""The plan of a sweep: which trials it consists of, what was left out and why, what it will cost.

    config ──designs × seeds × train sizes × models × tasks──▶ contests ──search method──▶ trials

A *contest* is one task on one model: the designs in it compete with each other, each trained at every value of the
nuisance axes. Methods that do not look at scores
have their trials in the plan one by one; for the others the plan holds every trial that may run, and how many will.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sde_ray.config.load import definition_of, open_tasks
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design import designs
from sde_ray.design.designs import SIZE
from sde_ray.design.space import DesignSpace, design_space, why_not, without_doublets
from sde_ray.errors import FaultList, UserError
from sde_ray.evaluation.general_set import general_set_name
from sde_ray.metrics import try_plugins
from sde_ray.safe_json import stream_hash
from sde_ray.search import METHODS
from sde_ray.sweep.blocks import blocks, check_blocks, num_values, without_nuisance_axes
from sde_ray.sweep.budget import budget, describe_budget, repeats
from sde_ray.sweep.contest import Contest
from sde_ray.sweep.cost_estimate import Estimate, estimate
from sde_ray.sweep.curation import carried_out, check_methods, describe, home_option, located
from sde_ray.sweep.decoding_check import check_asking, check_decoding
from sde_ray.sweep.points_to_evaluate import (
    describe_points,
    fit_design,
    points_to_evaluate,
    repeated_design,
    second_seeds,
    seeds_of,
)
from sde_ray.sweep.train_size import check_sizes, sized, sized_axes, sizes_of
from sde_ray.tasks import fingerprint, resolve_task
from sde_ray.types import Design, Split, Task, TrialResult

Dropped = tuple[str, str]
TRIED = 8  # items that a metric of the user's own is tried on


@dataclass(frozen=True)
class Plan:
    """What will run. `pinned` says why an axis stands still, `dropped` why something does not run.

    `first` says which designs are tried first, `curation` what is to be known of data and training axes.

    `count` is in trials; for a method that stops and repeats trials, in full trainings. `search` says in words what
    such a method will do.
    """

    config: SweepConfig
    contests: tuple[Contest, ...]
    trials: tuple[TrialConfig, ...]
    count: int
    pinned: Mapping[str, str]
    dropped: tuple[Dropped, ...]
    counts: Mapping[str, int]
    search: str
    first: str
    estimate: Estimate
    curation: tuple[str, ...] = ()


def plan(config: SweepConfig, results: Mapping[str, TrialResult] | None = None) -> Plan:
    """Expand a configuration. `results` is what the ledger has. `UserError` for no trial, or for far too many."""
    tasks = list(open_tasks(config).values())
    for task in tasks:
        try_plugins(task, task.load("dev")[:TRIED])
    if config.general.score != "none":
        general_set_name(config.general.path)  # the final comparison would be late to find a fault
    dropped: dict[Dropped, None] = {}
    pinned: dict[str, str] = {}
    spaces = [_space(config, task, pinned, dropped) for task in tasks]
    counts = _counts(config, spaces)
    check_blocks(config, spaces)
    check_sizes(config, spaces)
    _refuse_too_many(config, counts, spaces)
    eval_sizes = [_eval_size(config, task, space) for task, space in zip(tasks, spaces, strict=True)]
    contests = tuple(
        _contest(config, task, model, space, eval_size)
        for model in config.model
        for task, space, eval_size in zip(tasks, spaces, eval_sizes, strict=True)
    )
    contests = tuple(_fix_order(config, contest) for contest in contests)
    check_decoding(config, {one.task: one.trials for one in contests}, {task.name: task for task in tasks})
    trials = [trial for contest in contests for group in contest.trials.values() for trial in group]
    check_asking(trials)
    check_methods(trials)
    tries = METHODS[config.search.method].trials
    sizes = [len(contest.trials) if tries else budget(config, tuple(contest.trials)) for contest in contests]
    counts["designs"] = max(sizes)
    if not any(contest.trials for contest in contests):
        raise UserError(f'The sweep "{config.name}" has no trial. {_why_none(dropped)}')
    return assemble_plan(config, contests, pinned, tuple(dropped), counts, results or {})


def assemble_plan(
    config: SweepConfig,
    contests: tuple[Contest, ...],
    pinned: Mapping[str, str],
    dropped: tuple[Dropped, ...],
    counts: Mapping[str, int],
    results: Mapping[str, TrialResult],
) -> Plan:
    """The plan of these contests: their trials, the budget, and what it costs."""
    trials = tuple(trial for contest in contests for group in contest.trials.values() for trial in group)
    count = sum(budget(config, tuple(contest.trials)) * contest.num_values for contest in contests) * repeats(config)
    count += sum(len(second_seeds(config, contest)) for contest in contests)
    words = describe_budget(config, tuple(contests[0].trials), contests[0].num_values)
    costs = estimate(config, contests, count, results)
    first = describe_points(config, contests[0])
    axes = dict.fromkeys(axis for contest in contests for axis in contest.axes)
    return Plan(config, contests, trials, count, pinned, dropped, counts, words, first, costs, describe(axes, trials))


def make_trial(
    config: SweepConfig,
    task: Task,
    model: str,
    design: Design,
    seed: int,
    train_size: int,
    eval_size: int,
    data: str,
    splits: tuple[str, ...] = ("dev",),
    rungs: tuple[float, ...] | None = None,
) -> TrialConfig:
    """One trial with a sweep's settings; the same values give the same key in every sweep."""
    siblings = out_of_domain(config, task)
    trial = TrialConfig(
        task=task.name,
        design=design,
        model=model,
        seed=seed,
        train_size=train_size,
        eval_size=eval_size,
        splits=splits,
        out_of_domain=siblings,
        instruction_variant=config.instruction_variant,
        chat_template=config.chat_template,
        trust_remote_code=config.trust_remote_code,
        lora=config.lora,
        train=config.train,
        generation=config.generation,
        deepspeed=config.deepspeed,
        num_workers=config.resources.num_workers,
        rungs=rungs or config.rungs(),
        interim_looks=config.search.racing if rungs is None else (),  # a final comparison reports every item
        data=data,
        general=_general_set(config, splits),
        curation=located(config, design, task.name, model),
        definition=definition_of(config, task.name),
    )
    return carried_out(trial)


def _general_set(config: SweepConfig, splits: tuple[str, ...]) -> str:
    """The set on which a trial's forgetting is measured; empty: it is not."""
    wanted = config.general.score == "all" or (config.general.score == "validation" and "test" in splits)
    return general_set_name(config.general.path) if wanted else ""


def out_of_domain(config: SweepConfig, task: Task) -> tuple[str, ...]:
    """The tasks scored beside `task`."""
    return task.domains if config.out_of_domain == "auto" else tuple(n for n in config.out_of_domain if n != task.name)


def fingerprint_all(config: SweepConfig, task: Task) -> str:
    """What the trials of a task carry as `data`: the definition and examples of the task and of those beside it."""
    prints = [fingerprint(task), *(fingerprint(resolve_task(name)) for name in out_of_domain(config, task))]
    return prints[0] if len(prints) == 1 else stream_hash([" ".join(prints)])


# ---- the designs of a task -----------------------------------------------------------------------------------------


def _space(config: SweepConfig, task: Task, pinned: dict[str, str], dropped: dict[Dropped, None]) -> DesignSpace:
    rationales = task.has_rationales
    space = design_space(task, rationales, axes=sized_axes(config, task))
    pinned.update(space.pinned)
    dropped.update({(f"{option} on {task.name}", why): None for option, why in space.dropped.items()})
    if config.designs:
        space = _with_listed_axes(config, task, space)
        space = replace(space, designs=_listed(config, task, space, dropped))
    if config.objective.split == "dev_ood":
        space = replace(space, designs=_answerable(config, task, space, dropped))
    elif out_of_domain(config, task) and any(design["instruction"] == "none" for design in space.designs):
        dropped[("out-of-domain score of instruction=none", _NOT_ASKED)] = None
    return space


_NOT_ASKED = "not applicable: without an instruction a model cannot be asked for other slots than it was trained on"


def _with_listed_axes(config: SweepConfig, task: Task, space: DesignSpace) -> DesignSpace:
    """The space with the data and training axes that the listed designs have: each of them has all."""
    listed: dict[str, dict[str, None]] = {}
    for given in config.designs:
        for axis, option in sized(designs.parse_design(given), task).options:
            if axis not in space.axes:
                listed.setdefault(axis, {home_option(config, axis, ()): None})[option] = None
    return replace(space, axes={**space.axes, **{axis: tuple(options) for axis, options in listed.items()}})


def _listed(config: SweepConfig, task: Task, space: DesignSpace, dropped: dict[Dropped, None]) -> tuple[Design, ...]:
    """The designs that the configuration lists, with pinned axes at their option, each once."""
    kept: dict[Design, str] = {}
    for given in config.designs:
        design = designs.parse_design(given)
        if reasons := [why for axis, option in design.options if (why := why_not(axis, option, task))]:
            if len(config.task) == 1:
                raise UserError(f"designs: {given} is nothing for {task.name}: {reasons[0]}. Leave it out.")
            dropped[(f"design {given} on {task.name}", reasons[0])] = None
            continue
        fitted = without_doublets(fit_design(config, sized(design, task), space))
        if fitted in kept:
            dropped[(f"design {given} on {task.name}", f"makes the same samples as {kept[fitted]}")] = None
        kept.setdefault(fitted, str(given))
    return tuple(kept)


def _answerable(
    config: SweepConfig, task: Task, space: DesignSpace, dropped: dict[Dropped, None]
) -> tuple[Design, ...]:
    """The designs that have an out-of-domain score, where that is the objective."""
    if not out_of_domain(config, task):
        raise UserError(
            f'objective.split is dev_ood, but the task "{task.name}" has no out-of-domain task. '
            "List some in out_of_domain, or set objective.split: dev."
        )
    kept = tuple(design for design in space.designs if design["instruction"] != "none")
    if len(kept) < len(space.designs):
        dropped[(f"{len(space.designs) - len(kept)} designs with instruction=none on {task.name}", _NOT_ASKED)] = None
    return kept


def _reference_design(config: SweepConfig, space: DesignSpace) -> Design:
    """`search.reference_design` within the space: where an axis has not the wanted option, its default or first one."""
    wanted = dict(designs.parse_design(config.search.reference_design).options)

    def nearest(axis: str, options: tuple[str, ...]) -> str:
        return next(one for one in (wanted.get(axis), home_option(config, axis, options)) if one in options)

    return Design(tuple((axis, nearest(axis, options)) for axis, options in space.axes.items()))


# ---- trials --------------------------------------------------------------------------------------------------------


def _contest(config: SweepConfig, task: Task, model: str, space: DesignSpace, eval_size: int) -> Contest:
    data = fingerprint_all(config, task)
    searched = without_nuisance_axes(space)
    reference_design = _reference_design(config, searched)
    if reference_design not in searched.designs and searched.designs:
        reference_design = searched.designs[0]
    points = points_to_evaluate(config, searched)
    repeated = repeated_design(config, points, reference_design)
    trials = {
        design: tuple(
            make_trial(config, task, model, whole, seed, size, eval_size, data)
            for size in config.train_sizes
            for seed in seeds_of(config, design, repeated)
            for whole in block
        )
        for design, block in blocks(space.designs).items()
    }
    return Contest(task.name, model, trials, reference_design, space.axes, points, repeated)


def _fix_order(config: SweepConfig, contest: Contest) -> Contest:
    """Keep the designs that the method will propose, in its order, where that is known beforehand."""
    if METHODS[config.search.method].adaptive or not contest.trials:
        return contest
    searcher = contest.searcher(config)
    order = iter(searcher.suggest, None)
    return replace(contest, trials={design: contest.trials[design] for design in order})


def _counts(config: SweepConfig, spaces: Sequence[DesignSpace]) -> dict[str, int]:
    values = max(map(num_values, spaces))
    return {
        "designs": max(len(blocks(space.designs)) for space in spaces),
        **({"nuisance_values": values} if values > 1 else {}),
        "seeds": len(config.seeds),
        **({} if any(SIZE in space.axes for space in spaces) else {"train_sizes": len(config.train_sizes)}),
        "models": len(config.model),
        "tasks": len(spaces),
    }


def _refuse_too_many(config: SweepConfig, counts: Mapping[str, int], spaces: Sequence[DesignSpace]) -> None:
    if config.search.method == "one_at_a_time":
        searched = [without_nuisance_axes(space) for space in spaces]
        each = [1 + sum(len(options) - 1 for options in space.axes.values()) for space in searched]
        each = [n if config.search.n_trials is None else min(n, config.search.n_trials) for n in each]
    else:
        each = [budget(config, tuple(blocks(space.designs))) for space in spaces]
    trials = sum(designs * num_values(space) for designs, space in zip(each, spaces, strict=True))
    total = trials * repeats(config) * len(config.model)
    if total > config.search.max_trials:
        product = " × ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items())
        raise UserError(
            f'The sweep "{config.name}" has {total:,} trials ({product}); at most {config.search.max_trials:,} are '
            "allowed. Set search.method: adaptive, random or optuna with search.n_trials, list fewer seeds or sizes, "
            "or raise search.max_trials."
        )


def _eval_size(config: SweepConfig, task: Task, space: DesignSpace) -> int:
    """The number of items a trial is scored on; `UserError` where a split has too few examples."""
    faults = FaultList(f"Task {task.name}")
    available = len(task.load("train"))
    for size, key in sizes_of(config, space.designs).items():
        if size > available:
            faults.add(f"{key} has {size}, but the train split has {available} examples. Lower it or add data.")
    held: list[int] = []
    split: Split = "dev"
    for other in (task, *(resolve_task(name) for name in out_of_domain(config, task))):
        held.append(len(other.load(split)))
        if not held[-1]:
            faults.add(f"the dev split of {other.name} is empty. Selection needs dev items: add some.")
    faults.raise_if_any()
    return min(config.eval_size, *held)


def _why_none(dropped: Mapping[Dropped, None]) -> str:
    reasons = "; ".join(f"{what}: {why}" for what, why in dropped)
    return f"Everything was dropped: {reasons}." if reasons else "Give at least one seed, training size and option."
