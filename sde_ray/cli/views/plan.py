"""A plan in words: how many trials and why so many, which axes are pinned, what was dropped, what it will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from sde_ray.cli.console import err, out, table

if TYPE_CHECKING:
    from sde_ray.models.availability import ModelCheck
    from sde_ray.sweep.data_summary import DataSummary
    from sde_ray.sweep.device_memory import TrialMemory
    from sde_ray.sweep.plan import Plan

SHOWN_DESIGNS = 12


def show(
    plan: Plan,
    data: Sequence[DataSummary],
    models: Sequence[ModelCheck] = (),
    memory: Sequence[TrialMemory] = (),
) -> None:
    """Print a plan for a person."""
    from sde_ray.analysis.legend import legend
    from sde_ray.design.designs import paper_label
    from sde_ray.tasks.titles import task_title

    lines = [*summary(plan, data), *_models(models), *(f"memory   {escape(each.line)}" for each in memory)]
    out().print("\n".join(dict.fromkeys(lines)), highlight=False)
    trials = Counter((trial.task, trial.model, trial.design) for trial in plan.trials)
    title = f"\nThe first {min(SHOWN_DESIGNS, len(trials))} of {len(trials)} designs"
    designs = table(title, "task", "model", "design", "trials", right=("trials",))
    for (task, model, design), count in list(trials.items())[:SHOWN_DESIGNS]:
        designs.add_row(task_title(task), model, paper_label(design), str(count))
    out().print(designs)
    out().print(f"[dim]{legend(trial.design for trial in plan.trials)}[/]", highlight=False)
    out().print("\nRead its samples: sde-ray show SWEEP · run it: sde-ray run SWEEP")


def print_notes(notes: Sequence[str]) -> None:
    """Print on stderr what the run's folder has that does not fit the plan: changed data, missing trial folders."""
    for note in notes:
        err().print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)


def summary(plan: Plan, data: Sequence[DataSummary] = ()) -> list[str]:
    """Lines in rich markup: trials and why so many, metric and items of each task, what was pinned or dropped."""
    product = " × ".join(f"{count} {_noun(what, count)}" for what, count in plan.counts.items())
    method = plan.config.search.method
    what = "full trials' worth" if plan.search else "trials"
    if not plan.search and any(trial.seed not in plan.config.seeds for trial in plan.trials):
        product += ", and a second seed of the first design"
    lines = [f"[bold]{plan.config.name}[/]: {plan.count} {what} by {method}, of {product}"]
    lines.append(f"kept in {escape(plan.config.run_dir.uri())}; {_cost(plan)}")
    if plan.search:
        lines.append(escape(plan.search))
    if plan.first:
        lines.append(escape(plan.first))
    for each in data:
        metric, items = each.facts
        lines += [f"metric   {escape(f'{each.title}: {metric}')}", f"data     {escape(f'{each.title}: {items}')}"]
    lines += [f"axis     {escape(line)}" for line in plan.curation]
    lines += [f"pinned   {axis}: {escape(reason)}" for axis, reason in plan.pinned.items()]
    return lines + [f"dropped  {escape(what)}: {escape(reason)}" for what, reason in plan.dropped]


def _models(models: Sequence[ModelCheck]) -> list[str]:
    """What is known of each model without its weights."""
    return [
        f"model    {escape(model.name)}: "
        + (
            "configuration and tokenizer load" + (f", context of {model.context} tokens" if model.context else "")
            if model.is_local
            else "not on this machine" + ("" if model.note else ", fetched from the hub when the sweep runs")
        )
        for model in models
    ]


def to_dict(plan: Plan, data: Sequence[DataSummary] = (), memory: Sequence[TrialMemory] = ()) -> dict[str, Any]:
    """A plan as JSON types, for a program."""
    return {
        "name": plan.config.name,
        "trials": plan.count,
        "counts": dict(plan.counts),
        "search": plan.search,
        "first": plan.first,
        "pinned": dict(plan.pinned),
        "curation": list(plan.curation),
        "dropped": [{"what": what, "reason": reason} for what, reason in plan.dropped],
        "estimate": _estimate(plan),
        "data": [asdict(each) for each in data],
        "memory": [each.to_dict() for each in memory],
        "planned": [_trial(trial.resolved(), trial.key) for trial in plan.trials],
    }


def _trial(resolved: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {"key": key, **{name: resolved[name] for name in ("task", "model", "design", "seed", "train_size")}}


def _estimate(plan: Plan) -> dict[str, Any]:
    estimate = plan.estimate
    return {name: getattr(estimate, name) for name in ("finished", "train_characters", "seconds", "gpu_hours")}


def _cost(plan: Plan) -> str:
    from sde_ray.sweep.progress import duration

    estimate = plan.estimate
    parts = [f"{estimate.finished} finished"] if estimate.finished else []
    parts.append(f"about {estimate.train_characters / 1e6:.1f} M characters to train on")
    parts.append(
        "time unknown until a trial has ended"
        if estimate.seconds is None
        else f"about {duration(estimate.seconds)} left"
    )
    if estimate.gpu_hours:
        parts.append(f"{estimate.gpu_hours:.1f} GPU hours")
    return ", ".join(parts)


def _noun(what: str, count: int) -> str:
    noun = what.replace("_", " ")
    return noun.removesuffix("s") if count == 1 else noun
