"""A plan in words: how many trials and why so many, which axes are pinned, what was dropped, what it will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from sde_ray.cli.console import err, out, table

if TYPE_CHECKING:
    from sde_ray.sweep.plan import Plan

SHOWN_DESIGNS = 12


def show(plan: Plan) -> None:
    """Print a plan for a person."""
    from sde_ray.design.designs import paper_label

    out().print("\n".join(summary(plan)), highlight=False)
    trials = Counter((trial.task, trial.model, trial.design) for trial in plan.trials)
    title = f"\nThe first {min(SHOWN_DESIGNS, len(trials))} of {len(trials)} designs"
    designs = table(title, "task", "model", "design", "trials", right=("trials",))
    for (task, model, design), count in list(trials.items())[:SHOWN_DESIGNS]:
        designs.add_row(task, model, paper_label(design), str(count))
    out().print(designs)
    out().print("\nRead its samples: sde-ray show SWEEP · run it: sde-ray run SWEEP")


def print_notes(notes: Sequence[str]) -> None:
    """Print on stderr what the run's folder has that does not fit the plan: changed data, missing trial folders."""
    for note in notes:
        err().print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)


def summary(plan: Plan) -> list[str]:
    """Lines in rich markup: how many trials and why so many, which axes are pinned, what was dropped and why."""

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
    lines += [f"data     {escape(line)}" for line in _data(plan)]
    lines += [f"pinned   {axis}: {escape(reason)}" for axis, reason in plan.pinned.items()]
    return lines + [f"dropped  {escape(what)}: {escape(reason)}" for what, reason in plan.dropped]


def _data(plan: Plan) -> list[str]:
    """What was read of each task's own data: items per split, and the format."""
    from sde_ray.config.load import open_tasks
    from sde_ray.data.source import DatasetSource

    sources = {name: getattr(task.load, "load", task.load) for name, task in open_tasks(plan.config).items()}
    return [f"{name}: {load.summary()}" for name, load in sources.items() if isinstance(load, DatasetSource)]


def to_dict(plan: Plan) -> dict[str, Any]:
    """A plan as JSON types, for a program."""
    return {
        "name": plan.config.name,
        "trials": plan.count,
        "counts": dict(plan.counts),
        "search": plan.search,
        "first": plan.first,
        "pinned": dict(plan.pinned),
        "dropped": [{"what": what, "reason": reason} for what, reason in plan.dropped],
        "estimate": _estimate(plan),
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
